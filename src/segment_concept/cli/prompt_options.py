"""Prompt options. Their order matters: prompts after `--object 2` belong to object 2.

    --box 10,10,80,90                                 object 1, on frame 0
    --at 1.5s --point 40,50 --background-point 5,5    the same, at 1.5 seconds
    --mask first.png --mask-id 2                      object 2 of a mask image
    --object 1 --box ... --object 2 --at 12 --point ...

`--at` before the first `--object` applies to all objects without an `--at` of their own. After
`--object` it applies to the prompts that follow, so an object can be prompted on several frames.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from segment_concept.cli.console import say
from segment_concept.pipeline.mask_images import MaskChoice, parse_color, parse_ids
from segment_concept.pipeline.prompts import (
    PromptSpec,
    TimedPrompt,
    parse_box,
    parse_point,
    read_prompts,
)
from segment_concept.runtime.names import printable
from segment_concept.types import InputError
from segment_concept.video.timecode import TimePoint, parse_at

SHOWING = "Prompts (order matters: prompts after --object N belong to it)"
VideoAddress = Annotated[
    str,
    typer.Argument(
        metavar="VIDEO",
        help="A video file, an image folder, the number of a camera, or the URL of a stream.",
    ),
]
MaskFiles = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="A mask image: palette or gray label map with one id per object, or white on black.",
        rich_help_panel=SHOWING,
    ),
]
MaskIds = Annotated[
    list[str] | None,
    typer.Option(
        "--mask-id",
        metavar="N",
        help="Select an id of the preceding --mask; 1,2 selects two objects.",
        rich_help_panel=SHOWING,
    ),
]
MaskColors = Annotated[
    list[str] | None,
    typer.Option(
        "--mask-color",
        metavar="COLOR",
        help="Select a color of the preceding --mask: red, #ff0000 or 255,0,0.",
        rich_help_panel=SHOWING,
    ),
]
Inverted = Annotated[
    bool,
    typer.Option(
        "--invert",
        help="The preceding --mask is black on white.",
        rich_help_panel=SHOWING,
    ),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="x0,y0,x1,y1",
        help="A box, in pixels from the top left corner.",
        rich_help_panel=SHOWING,
    ),
]
PointsOn = Annotated[
    list[str] | None,
    typer.Option(metavar="x,y", help="A point on the object; repeatable.", rich_help_panel=SHOWING),
]
PointsOff = Annotated[
    list[str] | None,
    typer.Option(
        "--background-point",
        metavar="x,y",
        help="A background point; repeatable.",
        rich_help_panel=SHOWING,
    ),
]
ObjectNumbers = Annotated[
    list[str] | None,
    typer.Option(
        "--object",
        metavar="N",
        help="The prompts after this option belong to object N (1 to 255). Default: 1.",
        rich_help_panel=SHOWING,
    ),
]
Moments = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FRAME|TIME",
        help="Frame index (12), time (1.5s, 00:01:30) or timecode (00:01:30:12) of the prompts. "
        "Default: 0.",
        rich_help_panel=SHOWING,
    ),
]
PromptsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="JSON: a list of prompts with object, at, box, points, background_points, mask; or "
        "COCO run-length masks.",
        rich_help_panel=SHOWING,
    ),
]

FLAG = "--invert"
_SHOWS = ("--object", "--at", "--mask", "--box", "--point", "--background-point")
ORDERED = (*_SHOWS, "--mask-id", "--mask-color", FLAG)
_KEY = "segment_concept.prompt_options"

Given = tuple[str, str]  # an option and its value


class PromptCommand(TyperCommand):
    """A command that records the order of the prompt options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Record the order, then parse as usual."""
        ctx.meta[_KEY] = tuple(_ordered(args))
        rest: list[str] = super().parse_args(ctx, args)
        return rest


def given_prompts(ctx: Any, prompts_file: Path | None) -> tuple[TimedPrompt, ...]:
    """Read the prompts from the command line and the prompts file.

    Raises:
        InputError: an option cannot be read, or an object has no prompt.
    """
    from_file = read_prompts(prompts_file) if prompts_file is not None else []
    return (*from_file, *prompts_of_options(ctx.meta[_KEY]))


def tell_prompts(prompts: Sequence[TimedPrompt], *, quiet: bool) -> None:
    """Print on stderr how mask images were interpreted, before tracking starts."""
    for text in dict.fromkeys(prompt.interpretation for prompt in prompts if prompt.interpretation):
        if not quiet:
            say(printable(text), err=True)


def prompts_of_options(given: Sequence[Given]) -> list[TimedPrompt]:
    """Convert the prompt options, in their order, to prompts. Raises InputError."""
    groups = list(_groups(given))
    default = next((parse_at(value) for name, value in groups[0].given if name == "--at"), 0)
    return [prompt for group in groups for prompt in group.prompts(default)]


@dataclass(slots=True)
class _Group:
    """The options of one object; without an id before the first `--object`."""

    object_id: int | None = None
    given: list[Given] = field(default_factory=list)

    def prompts(self, default: TimePoint) -> list[TimedPrompt]:
        specs: dict[TimePoint, PromptSpec] = {}
        for at, name, value in self._timed(default):
            specs[at] = _with(specs.get(at, PromptSpec()), name, value)
        if not specs and self.object_id is not None:
            raise InputError(
                f"object {self.object_id} has no prompt: after --object {self.object_id} give "
                "--mask, --box or --point"
            )
        return [s for at, spec in specs.items() for s in spec.prompts(self.object_id, at)]

    def _timed(self, default: TimePoint) -> Iterator[tuple[TimePoint, str, str]]:
        """The prompts of the object, with their position in the video."""
        at = next((parse_at(value) for name, value in self.given if name == "--at"), default)
        for name, value in self.given:
            if name == "--at":
                at = parse_at(value)
            else:
                yield at, name, value


def _groups(given: Sequence[Given]) -> Iterator[_Group]:
    group = _Group()
    for name, value in given:
        if name == "--object":
            yield group
            group = _Group(_object_id(value))
        else:
            group.given.append((name, value))
    yield group


def _with(spec: PromptSpec, name: str, value: str) -> PromptSpec:
    if name == "--point":
        return replace(spec, on=(*spec.on, parse_point(value)))
    if name == "--background-point":
        return replace(spec, off=(*spec.off, parse_point(value)))
    if name in ("--mask-id", "--mask-color", FLAG):
        return replace(spec, choice=_chosen(spec, name, value))
    if (spec.box if name == "--box" else spec.mask) is not None:
        raise InputError(
            f"{name} is given twice for one object: use different object ids, as in "
            f"--object 1 {name} ... --object 2 {name} ..."
        )
    if name == "--box":
        return replace(spec, box=parse_box(value))
    return replace(spec, mask=Path(value))


def _chosen(spec: PromptSpec, name: str, value: str) -> MaskChoice:
    """Apply an option to the mask before it."""
    if spec.mask is None:
        raise InputError(f"{name} applies to a mask image: give it after --mask FILE")
    if name == "--mask-id":
        return replace(spec.choice, ids=parse_ids(value))
    if name == "--mask-color":
        return replace(spec.choice, color=parse_color(value))
    return replace(spec.choice, invert=True)


def _object_id(value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise InputError(f"--object {value[:20]}: expected a number from 1 to 255")
    return int(value)


def _ordered(args: Sequence[str]) -> Iterator[Given]:
    words = iter(args)
    for word in words:
        if word == "--":
            return
        name, equals, value = word.partition("=")
        if name == FLAG:
            yield name, ""
        elif name in ORDERED:
            yield name, value if equals else next(words, "")
