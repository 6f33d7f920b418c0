"""Options that say when the concept encoder is queried."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segment_concept.types import InputError

if TYPE_CHECKING:
    from segment_concept.pipeline.triggers import TriggerSpec

PANEL = "When the concept encoder is queried (sec_compact, sec_4b)"
TriggerNames = Annotated[
    str | None,
    typer.Option(
        "--trigger",
        metavar="NAMES",
        help="Comma-separated triggers that replace the recipe's: published, fast, adaptive, "
        "uncertain, transnet, cuts, never.",
        rich_help_panel=PANEL,
    ),
]
CutList = Annotated[
    Path | None,
    typer.Option(
        "--cuts",
        metavar="FILE",
        help="A list of the video's cuts: a CMX 3600 EDL, or frames (120) and times (4.8s).",
        rich_help_panel=PANEL,
    ),
]
Cooldown = Annotated[
    int,
    typer.Option(
        "--cooldown",
        metavar="N",
        help="Minimum number of frames between two concept queries.",
        rich_help_panel=PANEL,
    ),
]


def trigger_spec_of(names: str | None, cuts: Path | None, cooldown: int) -> "TriggerSpec | None":
    """The options as a specification; None if none was given. Raises InputError."""
    from segment_concept.pipeline.triggers import TriggerSpec

    listed = tuple(name.strip() for name in (names or "").split(",") if name.strip())
    if names is not None and not listed:
        raise InputError("--trigger names no trigger: see `segment-concept track --help`")
    spec = TriggerSpec(listed, cuts, cooldown)
    return spec if spec.all_names else None
