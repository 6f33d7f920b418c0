"""Options that say when the concept encoder is asked."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segment_concept.cli.console import progress_bar
from segment_concept.types import InputError

if TYPE_CHECKING:
    from segment_concept.pipeline.triggers import TriggerSpec
    from segment_concept.recipes import Recipe
    from segment_concept.tracking.api import VideoTracker
    from segment_concept.video.source import VideoSource

ASKING = "When the concept encoder is asked (recipes that have one)"
TriggerNames = Annotated[
    str | None,
    typer.Option(
        "--trigger",
        metavar="NAMES",
        help="In place of the recipe's, any of, between commas: published, fast, adaptive, "
        "uncertain, transnet, cuts, never.",
        rich_help_panel=ASKING,
    ),
]
CutList = Annotated[
    Path | None,
    typer.Option(
        "--cuts",
        metavar="FILE",
        help="Cuts of the video: a CMX 3600 EDL, or frames (120) and moments (4.8s).",
        rich_help_panel=ASKING,
    ),
]
Rest = Annotated[
    int,
    typer.Option(
        "--refractory",
        metavar="N",
        help="Frames after a call on which none is made.",
        rich_help_panel=ASKING,
    ),
]


def trigger_spec_of(names: str | None, cuts: Path | None, refractory: int) -> "TriggerSpec | None":
    """What the options say; None where they say nothing. Raises InputError."""
    from segment_concept.pipeline.triggers import TriggerSpec

    listed = tuple(name.strip() for name in (names or "").split(",") if name.strip())
    if names is not None and not listed:
        raise InputError("--trigger names no trigger: see `segment-concept track --help`")
    asking = TriggerSpec(listed, cuts, refractory)
    return asking if asking.all_names else None


def check_answerable(recipe: "Recipe", asking: "TriggerSpec") -> None:
    """Before weights are looked for. Raises InputError: no weights of this family could answer."""
    if asking.all_names != ("never",) and recipe.network not in ("sec", "compact"):
        raise _unanswerable(recipe)


def triggered(
    tracker: "VideoTracker",
    recipe: "Recipe",
    asking: "TriggerSpec",
    source: "VideoSource",
    device: str,
    *,
    quiet: bool,
) -> "tuple[VideoTracker, Recipe]":
    """A tracker, and its recipe, with another trigger, made for this video.

    Raises:
        InputError: the tracker has no concept encoder, or the trigger cannot be made.
    """
    from segment_concept.pipeline.triggers import make_trigger
    from segment_concept.tracking.session import Tracker

    if asking.all_names != ("never",) and getattr(tracker, "concept", None) is None:
        raise _unanswerable(recipe)
    with progress_bar(
        f"{source.name}: shots", quiet=quiet or "transnet" not in asking.names
    ) as tell:
        trigger = make_trigger(asking, source, tell, device)
    if isinstance(tracker, Tracker):
        tracker = replace(tracker, trigger=trigger)
    return tracker, replace(recipe, trigger=trigger)


def _unanswerable(recipe: "Recipe") -> InputError:
    return InputError(
        f"recipe {recipe.name} has no concept encoder that a trigger could ask: leave out "
        "--trigger and --cuts, or choose a recipe that has one, such as sec_compact or sec_4b"
    )
