"""What a person can change in a project, as values that are written to its journal."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from segment_concept.types import Box, InputError, Points

MOST_CLICKS = 4096  # of one prompt
MOST_OBJECTS = 255  # ids fit a palette image
LONGEST_NAME = 120  # characters
_COLOR = re.compile(r"#[0-9a-f]{6}")
_LAST_FRAME = 2**31 - 2
# Okabe and Ito, "Color Universal Design" (2008): distinguishable with any color vision.
COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")


@dataclass(frozen=True, slots=True)
class AddObject:
    """A new object; `name` and `color` may be chosen later."""

    object_id: int
    name: str
    color: str


@dataclass(frozen=True, slots=True)
class ChangeObject:
    """Another name or color; None leaves it."""

    object_id: int
    name: str | None
    color: str | None


@dataclass(frozen=True, slots=True)
class DeleteObject:
    """Remove an object with all of its masks."""

    object_id: int


@dataclass(frozen=True, slots=True)
class PromptObject:
    """All clicks and the box of an object on a frame."""

    object_id: int
    frame: int
    points: tuple[tuple[float, float, bool], ...]  # x, y, whether it is on the object
    box: tuple[float, float, float, float] | None

    @property
    def prompt(self) -> Points | Box:
        """As the tracker takes it."""
        box = None if self.box is None else Box(*self.box)
        if not self.points:
            assert box is not None, "edits without a click and a box are refused"
            return box
        return Points(
            tuple((x, y) for x, y, _ in self.points), tuple(on for *_, on in self.points), box
        )


@dataclass(frozen=True, slots=True)
class DrawMask:
    """A mask drawn by hand. Its runs are among the results of the project."""

    object_id: int
    frame: int


@dataclass(frozen=True, slots=True)
class ClearPrompt:
    """Take back the clicks, the box or the drawn mask of an object on a frame."""

    object_id: int
    frame: int


@dataclass(frozen=True, slots=True)
class Fix:
    """What a person says of an object on some frames (inclusive).

    `kind`: `lock` and `confirm` keep the masks as they are, `deny` says that the object is not
    there, `unlock` and `undecide` take these back.
    """

    kind: str
    object_id: int
    first: int
    last: int


Edit: TypeAlias = (
    AddObject | ChangeObject | DeleteObject | PromptObject | DrawMask | ClearPrompt | Fix
)
FIXES = ("lock", "unlock", "confirm", "deny", "undecide")
_OTHERS = ("object_add", "object_change", "object_delete", "prompt", "mask", "clear")
_KINDS = (*_OTHERS, *FIXES)


def color_of(object_id: int) -> str:
    """The color of an object for which none is chosen."""
    return COLORS[(object_id - 1) % len(COLORS)]


def edit_from_json(values: Mapping[str, Any], free_id: int = 1) -> Edit:
    """An edit from what the page sends or the journal holds.

    Args:
        values: see `edit_as_json`.
        free_id: id of a new object for which none is given.

    Raises:
        InputError: it is of another form.
    """
    kind = values.get("type")
    if kind not in _KINDS:
        raise InputError(f"there is no edit {str(kind)[:40]!r}: expected {', '.join(_KINDS)}")
    if kind == "object_add":
        object_id = free_id if values.get("object") is None else _object(values)
        color = _color(values) or color_of(object_id)
        return AddObject(object_id, _name(values) or f"Object {object_id}", color)
    object_id = _object(values)
    if kind == "object_change":
        return ChangeObject(object_id, _name(values), _color(values))
    if kind == "object_delete":
        return DeleteObject(object_id)
    if kind == "prompt":
        return _prompt(object_id, values)
    if kind == "mask":
        return DrawMask(object_id, _frame(values, "frame"))
    if kind == "clear":
        return ClearPrompt(object_id, _frame(values, "frame"))
    first, last = _frame(values, "from"), _frame(values, "to")
    if first > last:
        raise InputError(f"frames {first} to {last} are none: `from` is the smaller number")
    return Fix(str(kind), object_id, first, last)


def edit_as_json(edit: Edit) -> dict[str, Any]:
    """The edit as it stands in the journal; `edit_from_json` reads it."""
    if isinstance(edit, AddObject):
        names = {"name": edit.name, "color": edit.color}
        return {"type": "object_add", "object": edit.object_id} | names
    if isinstance(edit, ChangeObject):
        names = {k: v for k, v in (("name", edit.name), ("color", edit.color)) if v is not None}
        return {"type": "object_change", "object": edit.object_id} | names
    if isinstance(edit, DeleteObject):
        return {"type": "object_delete", "object": edit.object_id}
    if isinstance(edit, Fix):
        return {"type": edit.kind, "object": edit.object_id, "from": edit.first, "to": edit.last}
    kind = {PromptObject: "prompt", DrawMask: "mask", ClearPrompt: "clear"}[type(edit)]
    found = {"type": kind, "object": edit.object_id, "frame": edit.frame}
    return found | (prompt_as_json(edit) if isinstance(edit, PromptObject) else {})


def prompt_as_json(edit: PromptObject) -> dict[str, Any]:
    """Its clicks and box."""
    return {
        "points": [[x, y, int(on)] for x, y, on in edit.points],
        "box": None if edit.box is None else list(edit.box),
    }


def _prompt(object_id: int, values: Mapping[str, Any]) -> PromptObject:
    return prompt_of(object_id, _frame(values, "frame"), values.get("points"), values.get("box"))


def prompt_of(object_id: int, frame: int, points: Any, box: Any) -> PromptObject:
    """Clicks [[x, y, 1 or 0], ...] and a box [x0, y0, x1, y1] or None, checked.

    Raises:
        InputError: they are of another form, or there is neither.
    """
    points = [] if points is None else points
    form = "points are [[x, y, 1 on the object or 0 off it], ...]"
    if not isinstance(points, Sequence) or isinstance(points, str):
        raise InputError(form)
    if len(points) > MOST_CLICKS:
        raise InputError(f"{len(points)} clicks are too many: up to {MOST_CLICKS} on a frame")
    if not all(isinstance(p, Sequence) and len(p) == 3 for p in points):
        raise InputError(form)
    corners = None if box is None else Box.of(box)
    pairs: Any = [p[:2] for p in points]
    labels: Any = [p[2] for p in points]
    checked = Points(pairs, labels, corners)
    rows = zip(checked.xy, checked.foreground, strict=True)
    return PromptObject(
        object_id,
        frame,
        tuple((x, y, on) for (x, y), on in rows),
        None if corners is None else (corners.x0, corners.y0, corners.x1, corners.y1),
    )


def _object(values: Mapping[str, Any]) -> int:
    found = values.get("object")
    if type(found) is not int or not 1 <= found <= MOST_OBJECTS:
        raise InputError(f"an object is a number from 1 to {MOST_OBJECTS}, got {str(found)[:20]}")
    return found


def _frame(values: Mapping[str, Any], key: str) -> int:
    found = values.get(key)
    if type(found) is not int or not 0 <= found <= _LAST_FRAME:
        raise InputError(f"`{key}` is the number of a frame, from 0 on, got {str(found)[:20]}")
    return found


def _name(values: Mapping[str, Any]) -> str | None:
    found = values.get("name")
    if found is None:
        return None
    if not isinstance(found, str) or not found.strip():
        raise InputError("a name is text that is not empty")
    if len(found) > LONGEST_NAME or not found.isprintable():
        raise InputError(f"a name has up to {LONGEST_NAME} characters, all of them visible")
    return found.strip()


def _color(values: Mapping[str, Any]) -> str | None:
    found = values.get("color")
    if found is None:
        return None
    if not isinstance(found, str) or not _COLOR.fullmatch(found.lower()):
        raise InputError(f"a color is written #rrggbb, got {str(found)[:20]}")
    return found.lower()
