"""How objects are shown: on which frame, and by what. Read from text, mask images or JSON.

A prompts file is a list, or {"prompts": [...]}, of entries such as

    {"object": 1, "at": 12, "box": [40, 30, 200, 180]}
    {"object": 2, "at": "1.5s", "points": [[320, 200]], "background_points": [[10, 10]]}
    {"mask": "first.png"}

`object` is 1 where it is left out (a mask with several labels then shows several objects), `at` is
a frame or seconds, 0 where it is left out; a box may go with points; a mask's path is relative to
the file.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from segment_concept.types import Box, InputError, Mask, ObjectId, Points, Prompt
from segment_concept.video.timecode import TimePoint, parse_at

XY = tuple[float, float]
HIGHEST_ID = 255  # palette images hold 8 bits a pixel
MANY_VALUES = 64  # more grays than that are soft edges, not labels
_KEYS = frozenset({"object", "at", "box", "points", "background_points", "mask"})


@dataclass(frozen=True, slots=True)
class TimedPrompt:
    """An object shown on a frame."""

    object_id: ObjectId
    prompt: Prompt
    at: TimePoint = 0

    def __post_init__(self) -> None:
        if not 1 <= self.object_id <= HIGHEST_ID:
            raise InputError(f"object {self.object_id}: expected a number from 1 to {HIGHEST_ID}")
        if isinstance(self.at, int) and self.at < 0:
            raise InputError(f"frame {self.at}: frames count from 0")


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """What a person gave to show one object, or the objects of one mask, on one frame."""

    box: Box | None = None
    on: tuple[XY, ...] = ()
    off: tuple[XY, ...] = ()
    mask: Path | None = None

    def shown(self, object_id: int | None, at: TimePoint) -> list[TimedPrompt]:
        """As prompts; without an id, a mask with several labels is several objects.

        Raises:
            InputError: nothing was given, or things that do not go together.
        """
        number = ObjectId(1 if object_id is None else object_id)
        which = f"object {number}"
        if self.mask is not None:
            if self.box or self.on or self.off:
                raise InputError(f"{which}: a mask says it all; give no box or points with it")
            if object_id is None:
                return [TimedPrompt(i, m, at) for i, m in read_masks(self.mask).items()]
            return [TimedPrompt(number, read_mask(self.mask, number), at)]
        if self.on or self.off:
            if not self.on and self.box is None:
                raise InputError(f"{which}: background points alone show nothing")
            labels = (True,) * len(self.on) + (False,) * len(self.off)
            prompt: Prompt = Points((*self.on, *self.off), labels, self.box)
        elif self.box is not None:
            prompt = self.box
        else:
            raise InputError(f"{which} is not shown by anything: give a mask, a box or points")
        return [TimedPrompt(number, prompt, at)]


def parse_numbers(text: str, count: int, form: str) -> tuple[float, ...]:
    """`count` numbers between commas. Raises InputError that shows the `form`."""
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


def read_mask(path: Path, object_id: int) -> Mask:
    """One object of a mask image: its only one, or of several that with this id.

    Raises:
        InputError: as `read_masks`, or none of several objects has this id.
    """
    masks = read_masks(path)
    if len(masks) == 1:
        return next(iter(masks.values()))
    if object_id not in masks:
        raise InputError(
            f"{path} shows the objects {', '.join(map(str, masks))} and not {object_id}: "
            "name one of them, or none to follow all"
        )
    return masks[ObjectId(object_id)]


def read_masks(path: Path) -> dict[ObjectId, Mask]:
    """The objects of a mask image, by id.

    A palette image holds an id a pixel (255 is DAVIS's "don't care", where there are others), and
    so does a gray one of few values below 255. Any other gray image is one object, white on black;
    where there is an alpha channel, the object is what is opaque.

    Raises:
        InputError: the file is missing, not an image, a color picture, or all background.
    """
    labels = _labels(path)
    ids = [int(i) for i in np.unique(labels) if i]
    if not ids:
        raise InputError(f"{path} has no foreground pixel (all is 0): paint the object into it")
    return {ObjectId(i): Mask(labels == i) for i in ids}


def _labels(path: Path) -> NDArray[np.uint8]:
    try:
        with Picture.open(path) as picture:
            picture.load()
    except FileNotFoundError:
        raise InputError(f"there is no mask {path}: check the name") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a mask image: {error}") from error
    if picture.mode == "P" and "transparency" not in picture.info:
        labels = np.asarray(picture)
        return np.where(labels == 255, _void_is(labels), labels).astype(np.uint8)
    gray = _gray(picture, path)
    if gray.max() >= 255 or len(np.unique(gray)) > MANY_VALUES:
        gray = gray > gray.max() // 2
    return gray.astype(np.uint8)


def _void_is(labels: NDArray[np.uint8]) -> int:
    """What 255 stands for: the only object, or nothing."""
    others = bool(((labels > 0) & (labels < 255)).any())
    return 0 if others else 1


def _gray(picture: Picture.Image, path: Path) -> NDArray[np.integer]:
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        pixels = np.asarray(picture.convert("RGBA"))
        if (pixels[..., 3] < 255).any():
            return np.where(pixels[..., 3] > 127, 255, 0)
        picture = Picture.fromarray(pixels[..., :3])
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"))
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.int64)
    pixels = np.asarray(picture.convert("RGB"))
    if (pixels != pixels[..., :1]).any():
        raise InputError(
            f"{path} is a color picture, and which color is which object cannot be known: "
            "save it as a palette PNG, or as white on black"
        )
    return pixels[..., 0]


def read_prompts(path: Path) -> list[TimedPrompt]:
    """The objects that a prompts file shows; the form of it is at the head of this module.

    Raises:
        InputError: the file is missing or not of this form; the entry is named.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no prompts file {path}: check the name") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable as JSON: {error}") from error
    entries = content.get("prompts") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries:
        raise InputError(f'{path}: expected a list of prompts, or {{"prompts": [...]}}')
    shown = []
    for number, entry in enumerate(entries):
        try:
            shown += _entry(entry, path.parent)
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}, prompt {number}: {error}") from error
    return shown


def _entry(entry: Any, folder: Path) -> list[TimedPrompt]:
    if not isinstance(entry, Mapping):
        raise InputError('expected an object such as {"object": 1, "box": [x0, y0, x1, y1]}')
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise InputError(f"unknown key {unknown[0]!r}: expected some of {', '.join(sorted(_KEYS))}")
    mask, box = entry.get("mask"), entry.get("box")
    sketch = PromptSpec(
        box=None if box is None else Box(*_numbers(box, 4, "box")),
        on=tuple(_points(entry.get("points", ()))),
        off=tuple(_points(entry.get("background_points", ()))),
        mask=None if mask is None else folder / str(mask),
    )
    at, object_id = entry.get("at", 0), entry.get("object")
    return sketch.shown(
        None if object_id is None else int(object_id), at if type(at) is int else parse_at(str(at))
    )


def _points(points: Iterable[Sequence[float]]) -> Iterable[XY]:
    for point in points:
        x, y = _numbers(point, 2, "point")
        yield x, y


def _numbers(values: Sequence[float], count: int, what: str) -> tuple[float, ...]:
    numbers = tuple(float(v) for v in values)
    if len(numbers) != count:
        raise InputError(f"a {what} has {count} numbers, got {len(numbers)}")
    return numbers
