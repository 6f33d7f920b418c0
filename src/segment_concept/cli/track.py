"""`segment-concept track`: follow objects through a video."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segment_concept.cli.console import STOPPED, plain_errors, progress_bar, stop_signals
from segment_concept.cli.prompt_options import PromptCommand, given_prompts, tell_prompts
from segment_concept.cli.trigger_options import (
    CutList,
    Rest,
    TriggerNames,
    check_answerable,
    trigger_spec_of,
    triggered,
)
from segment_concept.cli.video_options import VideoOptions, takes_video_options
from segment_concept.pipeline.schedule import Direction
from segment_concept.types import InputError

if TYPE_CHECKING:
    from segment_concept.pipeline.outputs import OutputFormat
    from segment_concept.pipeline.results import TrackSummary
    from segment_concept.pipeline.run_folder import IfExists
    from segment_concept.pipeline.track import TrackJob
    from segment_concept.pipeline.triggers import TriggerSpec
    from segment_concept.recipes import Recipe

DEFAULT_RECIPE = "sec_compact"
WRITING = "What is written"
OUTPUTS = "overlay, palette, objects, rle, matte, matte-png, explain"

RecipeName = Annotated[
    str, typer.Option("--recipe", "-r", help="One of `segment-concept recipes`.")
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Weights in place of the recipe's: a file, a folder or a hub name."
    ),
]


@takes_video_options
def track(
    ctx: typer.Context,
    direction: Annotated[
        Direction, typer.Option(help="Where to look, seen from there.")
    ] = Direction.BOTH,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Two passes over the whole video, both directions: a third of the speed.",
        ),
    ] = False,
    recipe: RecipeName = DEFAULT_RECIPE,
    weights: Weights = None,
    trigger: TriggerNames = None,
    cuts: CutList = None,
    refractory: Rest = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="The output folder; VIDEO's name and _tracked where left out.",
            rich_help_panel=WRITING,
        ),
    ] = None,
    save: Annotated[
        str,
        typer.Option(
            "--save",
            "-s",
            help=f"Between commas, some of: {OUTPUTS}.",
            rich_help_panel=WRITING,
        ),
    ] = "overlay,palette",
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Also explain.html, beside overlay.mp4: scores, cuts and keyframes over time.",
            rich_help_panel=WRITING,
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where a run was left off.", rich_help_panel=WRITING),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an earlier result.", rich_help_panel=WRITING),
    ] = False,
    *,
    given: VideoOptions,
) -> None:
    """Follow objects through a video, shown once by a mask, a box or points.

    Writes DIR/overlay.mp4, DIR/palette/*.png and DIR/result.json. Ctrl-C keeps what was done.

    Exit code 0: done. 2: something given cannot be used. 130: stopped; --resume goes on.
    """
    with plain_errors():
        from segment_concept.pipeline.track import TrackJob
        from segment_concept.recipes import find_recipe

        chosen = with_weights(find_recipe(recipe), weights)
        if offline:
            chosen = in_two_passes(chosen)
        job = TrackJob(
            shown=given_prompts(ctx, given.prompts),
            source=given.source(),
            out=out or Path(f"{Path(given.video).stem or 'video'}_tracked"),
            save=saved(f"{save},overlay,explain" if explain else save),
            direction=direction,
            if_exists=if_exists(resume=resume, overwrite=overwrite),
        )
        asking = trigger_spec_of(trigger, cuts, refractory)
        summary = run(
            job, chosen, given.device, given.language_device, quiet=given.quiet, asking=asking
        )
    if not given.quiet:
        tell(summary)
    if not summary.finished:
        raise typer.Exit(STOPPED)


def run(
    job: "TrackJob",
    recipe: "Recipe",
    device: str,
    language_device: str | None = None,
    *,
    quiet: bool,
    asking: "TriggerSpec | None" = None,
) -> "TrackSummary":
    """Load what is needed and do the job, with a progress bar.

    `asking` says when the concept encoder is asked, where that is not as the recipe has it.
    """
    from dataclasses import replace

    from segment_concept.checkpoints.load import find_device, load
    from segment_concept.pipeline.offline import TwoPasses, check_offline, run_offline
    from segment_concept.pipeline.track import RunMonitor, check_job, run_track
    from segment_concept.pipeline.triggers import check_trigger_spec
    from segment_concept.shots.adaptive import first_frames

    # Checked before the weights are loaded, or fetched.
    check_job(job) if recipe.offline is None else check_offline(job)
    tell_prompts(job.shown, quiet=quiet)
    if asking is not None:
        check_answerable(recipe, asking)
        check_trigger_spec(asking, job.source)
    tracker = load(replace(recipe, offline=None), device=device, language_device=language_device)
    found = str(find_device(device))
    if asking is not None:
        tracker, recipe = triggered(tracker, recipe, asking, job.source, found, quiet=quiet)
    traced = replace(job, provenance=provenance(recipe, found))
    with progress_bar(job.source.name, quiet=quiet) as on_frame, stop_signals() as should_stop:
        watch = RunMonitor(on_frame, should_stop)
        if recipe.offline is None:
            return run_track(traced, tracker, watch)
        return run_offline(traced, tracker, TwoPasses(first_frames, recipe.offline), watch)


def in_two_passes(recipe: "Recipe") -> "Recipe":
    """The recipe for offline mode, if it is not for that already."""
    from dataclasses import replace

    from segment_concept.tracking.offline import Offline

    return replace(recipe, offline=recipe.offline or Offline())


def with_weights(recipe: "Recipe", weights: str | None) -> "Recipe":
    """The recipe with other weights, where some were given."""
    from dataclasses import replace

    return recipe if weights is None else replace(recipe, weights=weights)


def provenance(recipe: "Recipe", device: str) -> Mapping[str, object]:
    """With what the masks were made."""
    from segment_concept.checkpoints.load import weights_hash
    from segment_concept.pipeline.results import as_json
    from segment_concept.runtime.versions import versions

    return {
        "recipe": as_json(recipe),
        "weights": {"source": recipe.weights, "sha256": weights_hash(recipe)},
        "device": device,
        "versions": versions(),
    }


def saved(text: str) -> frozenset["OutputFormat"]:
    """`overlay,palette` as what to write. Raises InputError that lists the names."""
    from segment_concept.pipeline.outputs import OutputFormat

    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {kind.value: kind for kind in OutputFormat}
    for name in names:
        if name not in known:
            raise InputError(f"--save {name}: expected some of {', '.join(known)}, between commas")
    return frozenset(known[name] for name in names)


def if_exists(*, resume: bool, overwrite: bool) -> "IfExists":
    """What to do with an output folder that is not empty. Raises InputError."""
    from segment_concept.pipeline.run_folder import IfExists

    if resume and overwrite:
        raise InputError("--resume goes on with a run and --overwrite begins again: give one")
    if resume:
        return IfExists.RESUME
    return IfExists.OVERWRITE if overwrite else IfExists.REFUSE


def tell(summary: "TrackSummary") -> None:
    """What came of a run."""
    if not summary.finished:
        kept = f"{summary.frames} frames are kept" if summary.frames else "what was done is kept"
        again = shlex.join(["segment-concept", *sys.argv[1:]])
        typer.echo(f"stopped: {kept} in {summary.out}")
        typer.echo(f"go on with: {again.replace(' --overwrite', '')} --resume")
        return
    if summary.stepped:
        typer.echo(
            f"{summary.stepped} frames in {summary.seconds:.1f} s "
            f"({summary.rate:.1f} frames/s): {summary.out}"
        )
    else:
        typer.echo(f"nothing left to do: {summary.out} holds all {summary.frames} frames")
    for object_id, found in summary.objects.items():
        typer.echo(f"object {object_id}: seen on {found.seen} of {found.frames} frames")


def register(app: typer.Typer) -> None:
    """Add `track` to the command line."""
    app.command("track", cls=PromptCommand)(track)
