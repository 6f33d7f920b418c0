"""Prompts with the frame they are on, read from text, mask images or JSON.

A prompts file is a list, or {"prompts": [...]}, of entries such as

    {"object": 1, "at": 12, "box": [40, 30, 200, 180]}
    {"object": 2, "at": "1.5s", "points": [[320, 200]], "background_points": [[10, 10]]}
    {"mask": "first.png"}
    {"object": 3, "mask": "labels.png", "mask_id": 7}
    {"rle": {"size": [1080, 1920], "counts": "..."}}

`object` defaults to 1 (without it, a mask with several labels prompts several objects). `at` is a
frame or a time, 0 by default. A box can be combined with points. The path of a mask is relative to
the file. `mask_id`, `mask_color` ("#ff0000") and `invert` (true) select the object of an ambiguous
mask image. COCO files with run-length masks of one image can be used as well.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segment_concept.pipeline.annotation_files import mask_of_rle, read_annotations
from segment_concept.pipeline.mask_images import (
    HIGHEST_ID,
    MaskChoice,
    parse_color,
    read_mask_image,
)
from segment_concept.runtime.json_files import parse_json
from segment_concept.runtime.limits import read_text
from segment_concept.types import Box, InputError, Mask, ObjectId, Points, Prompt
from segment_concept.video.timecode import Seconds, TimePoint, parse_at

XY = tuple[float, float]
_MAX_BYTES = 1 << 28  # of a prompts file; masks of a thousand objects have less
_MAX_COORDINATE = 1e6  # pixels
_DEFAULT_CHOICE = MaskChoice()
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_KEYS = frozenset(
    {"object", "at", "box", "points", "background_points", "mask", "rle"}
    | {"mask_id", "mask_color", "invert"}
)


@dataclass(frozen=True, slots=True)
class TimedPrompt:
    """A prompt of an object on a frame."""

    object_id: ObjectId
    prompt: Prompt
    at: TimePoint = 0
    interpretation: str = field(default="", compare=False)  # how a mask image was interpreted

    def __post_init__(self) -> None:
        if not 1 <= self.object_id <= HIGHEST_ID:
            raise InputError(f"object {self.object_id}: expected a number from 1 to {HIGHEST_ID}")
        if isinstance(self.at, int) and self.at < 0:
            raise InputError(f"frame {self.at}: frames count from 0")


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """The parts of a prompt, as given by the user, of one object or of the objects of one mask."""

    box: Box | None = None
    on: tuple[XY, ...] = ()
    off: tuple[XY, ...] = ()
    mask: Path | None = None
    choice: MaskChoice = _DEFAULT_CHOICE
    bitmap: Mask | None = None

    def prompts(self, object_id: int | None, at: TimePoint) -> list[TimedPrompt]:
        """The prompts. Without an id, a mask with several labels gives several objects.

        Args:
            object_id: the object, or None.
            at: the frame.

        Raises:
            InputError: there is no part, or parts that cannot be combined.
        """
        number = ObjectId(1 if object_id is None else object_id)
        which = f"object {number}"
        if self.mask is not None and self.bitmap is None:
            self._check_alone(which)
            image = read_mask_image(self.mask, self.choice)
            masks = image.masks if object_id is None else {number: image.one(number)}
            return [TimedPrompt(i, m, at, image.interpretation) for i, m in masks.items()]
        if self.choice != _DEFAULT_CHOICE:
            raise InputError(f"{which}: mask_id, mask_color and invert need a mask image")
        if self.bitmap is not None:
            self._check_alone(which)
            return [TimedPrompt(number, self.bitmap, at)]
        if self.on or self.off:
            if not self.on and self.box is None:
                raise InputError(f"{which}: background points need a box or a point on the object")
            labels = (True,) * len(self.on) + (False,) * len(self.off)
            prompt: Prompt = Points((*self.on, *self.off), labels, self.box)
        elif self.box is not None:
            prompt = self.box
        else:
            raise InputError(f"{which} has no prompt: give a mask, a box or points")
        return [TimedPrompt(number, prompt, at)]

    def _check_alone(self, which: str) -> None:
        if self.box or self.on or self.off or (self.mask and self.bitmap):
            raise InputError(
                f"{which}: a mask cannot be combined with a box, points or another mask"
            )


def parse_numbers(text: str, count: int, form: str) -> tuple[float, ...]:
    """`count` comma-separated numbers. Raises InputError with the expected `form`."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InputError(f"{text!r}: expected {form}, in pixels, without spaces")
    return numbers


def parse_box(text: str) -> Box:
    """`x0,y0,x1,y1`. Raises InputError."""
    x0, y0, x1, y1 = parse_numbers(text, 4, "x0,y0,x1,y1")
    return Box(x0, y0, x1, y1)


def parse_point(text: str) -> XY:
    """`x,y`. Raises InputError."""
    x, y = parse_numbers(text, 2, "x,y")
    return x, y


def read_prompts(path: Path) -> list[TimedPrompt]:
    """The prompts of a file in the format described above.

    Raises:
        InputError: the file is missing or has another format; the message gives the entry.
    """
    text = read_text(path, "prompts file", _MAX_BYTES)
    if text.lstrip().startswith("<"):
        raise InputError(
            f"{path} is an XML file, as exported by CVAT, but prompts are JSON: export masks "
            'from CVAT ("Segmentation mask") and use --mask'
        )
    content = parse_json(text, str(path))
    try:
        foreign = read_annotations(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if foreign is not None:
        return [TimedPrompt(ObjectId(a.object_id), a.mask, a.frame) for a in foreign]
    entries = content.get("prompts") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries:
        raise InputError(f'{path}: expected a list of prompts, or {{"prompts": [...]}}')
    prompts = []
    for number, entry in enumerate(entries):
        try:
            prompts += _entry(entry, path.parent)
        except InputError as error:
            raise InputError(f"{path}, prompt {number}: {error}") from error
    return prompts


def _entry(entry: Any, folder: Path) -> list[TimedPrompt]:
    if not isinstance(entry, Mapping):
        raise InputError('expected an object such as {"object": 1, "box": [x0, y0, x1, y1]}')
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise InputError(f"unknown key {unknown[0]!r}: expected one of {', '.join(sorted(_KEYS))}")
    mask, box, rle = entry.get("mask"), entry.get("box"), entry.get("rle")
    if mask is not None and not isinstance(mask, str):
        raise InputError("mask: expected the name of an image")
    spec = PromptSpec(
        box=None if box is None else Box(*_numbers(box, 4, "box", "[x0, y0, x1, y1]")),
        on=_points(entry, "points"),
        off=_points(entry, "background_points"),
        mask=None if mask is None else folder / mask,
        choice=_choice(entry),
        bitmap=None if rle is None else mask_of_rle(rle),
    )
    return spec.prompts(_object_id(entry.get("object")), _at(entry.get("at", 0)))


def _choice(entry: Mapping[str, Any]) -> MaskChoice:
    ids, color, invert = (entry.get(key) for key in ("mask_id", "mask_color", "invert"))
    ids = [ids] if type(ids) is int else ids or []
    if not isinstance(ids, list) or not all(type(i) is int for i in ids):
        raise InputError('mask_id: expected a number or a list of numbers, such as "mask_id": 2')
    if color is not None and not isinstance(color, str):
        raise InputError('mask_color: expected a color such as "red" or "#ff0000"')
    if invert not in (None, True, False):
        raise InputError("invert: expected true or false")
    return MaskChoice(
        ids=tuple(ids), color=None if color is None else parse_color(color), invert=bool(invert)
    )


def _object_id(value: Any) -> int | None:
    if value is None or type(value) is int:
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    raise InputError(f"object: expected a number from 1 to {HIGHEST_ID}, got {_as_json(value)}")


def _at(value: Any) -> TimePoint:
    if type(value) is int:
        return value
    if type(value) is float:
        return Seconds(value)
    if isinstance(value, str):
        return parse_at(value)
    raise InputError(f'at: expected a frame such as 12 or seconds such as "1.5s", not {value!r}')


def _points(entry: Mapping[str, Any], key: str) -> tuple[XY, ...]:
    points = entry.get(key, [])
    form = "[[x, y], [x, y]]"
    if not isinstance(points, list) or any(not isinstance(point, list) for point in points):
        raise InputError(f"{key}: expected points such as {form}, got {_as_json(points)}")
    found = []
    for point in points:
        x, y = _numbers(point, 2, "point", form)
        found.append((x, y))
    return tuple(found)


def _numbers(values: Any, count: int, what: str, form: str) -> list[float]:
    """`count` numbers from JSON. Raises InputError with the expected `form`."""
    if not isinstance(values, list):
        raise InputError(f"a {what} has {count} numbers, {form}, got {_as_json(values)}")
    if len(values) != count:
        raise InputError(f"a {what} has {count} numbers, got {len(values)}: expected {form}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"a {what} has {count} numbers, {form}, got {_as_json(values)}")
        if abs(value) > _MAX_COORDINATE:
            raise InputError(
                f"a {what} has a coordinate outside +-1,000,000 pixels: expected {form}"
            )
    return [float(value) for value in values]


def _as_json(value: Any) -> str:
    """A value as JSON, shortened for a message."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
