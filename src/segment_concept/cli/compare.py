"""`segment-concept compare`: several recipes on one video, side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from segment_concept.cli.console import STOPPED, plain_errors, progress_bar, say, stop_signals
from segment_concept.cli.prompt_options import PromptCommand, given_prompts, tell_prompts
from segment_concept.cli.track import with_weights
from segment_concept.cli.video_options import VideoOptions, takes_video_options
from segment_concept.types import InputError

if TYPE_CHECKING:
    from segment_concept.pipeline.compare import Comparison
    from segment_concept.recipes import Recipe

MEGABYTE = 1e6


@takes_video_options
def compare(
    ctx: typer.Context,
    recipe: Annotated[
        list[str],
        typer.Option(
            "--recipe",
            "-r",
            metavar="NAME[=WEIGHTS]",
            help="A recipe (see `segment-concept recipes`), optionally with other weights. "
            "Give two or more.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The video to write. Default: VIDEO_compared.mp4.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier video.")
    ] = False,
    *,
    given: VideoOptions,
) -> None:
    """Track objects with several recipes: one video that shows all results, and a table.

    \b
    segment-concept compare film.mp4 --box 120,80,340,400 -r sec_compact -r sam2_compact

    The table shows each recipe's speed, the size of its memory, and the mean IoU of its masks with
    those of the others. Note: agreement between trackers says nothing about accuracy.

    Exit codes: 0 done, 2 invalid input, 130 interrupted (what was done is kept).
    """
    with plain_errors():
        from segment_concept.checkpoints.load import load
        from segment_concept.pipeline.compare import CompareJob, check_comparison, run_compare
        from segment_concept.pipeline.track import RunMonitor

        chosen = given.network.apply_where_possible(chosen_recipes(recipe))
        if given.language_device and not any(one.network == "sec" for one in chosen.values()):
            raise InputError("--language-device is only for SeC recipes, and none is given")
        job = CompareJob(
            source=given.source(),
            prompts=given_prompts(ctx, given.prompts),
            out=out or Path(f"{Path(given.video).stem or 'video'}_compared.mp4"),
            overwrite=overwrite,
        )
        check_comparison(job)  # before weights are loaded, or fetched
        tell_prompts(job.prompts, quiet=given.quiet)
        trackers = {
            name: load(
                one,
                device=given.device,
                language_device=given.language_device if one.network == "sec" else None,
            )
            for name, one in chosen.items()
        }
        with progress_bar(job.source.name, quiet=given.quiet) as tell, stop_signals() as stop:
            found = run_compare(job, trackers, RunMonitor(tell, stop))
    if not given.quiet:
        Console().print(comparison_table(found))
        say(f"{found.frames} frames; watch {job.out}")
    if not found.finished:
        raise typer.Exit(STOPPED)


def chosen_recipes(given: list[str]) -> "dict[str, Recipe]":
    """Recipes by the word that names them, `NAME` or `NAME=WEIGHTS`. Raises InputError."""
    from segment_concept.recipes import find_recipe

    chosen: dict[str, Recipe] = {}
    for word in given:
        if word in chosen:
            raise InputError(f"--recipe {word} is given twice: compare it with another")
        name, _, weights = word.partition("=")
        chosen[word] = with_weights(find_recipe(name), weights or None)
    if len(chosen) < 2:
        raise InputError("give --recipe at least twice, as in --recipe sec_compact -r sam2_compact")
    return chosen


def comparison_table(found: "Comparison") -> Table:
    """A row for each tracker."""
    table = Table(box=None, pad_edge=False)
    table.add_column("recipe", overflow="fold")
    for column in ("frames/s", "memory", *(f"IoU with {escape(name)}" for name in found.names)):
        table.add_column(column, justify="right", overflow="fold")
    for row, name in enumerate(found.names):
        overlaps = (
            "" if other == row else f"{found.agreement[row, other]:.3f}"
            for other in range(len(found.names))
        )
        table.add_row(
            escape(name),
            f"{found.rate(row):.1f}",
            f"{found.memory_bytes[row] / MEGABYTE:.1f} MB",
            *overlaps,
        )
    return table


def register(app: typer.Typer) -> None:
    """Add `compare` to the command line."""
    app.command("compare", cls=PromptCommand)(compare)
