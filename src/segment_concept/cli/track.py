"""`segment-concept track`: track objects through a video."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segment_concept.cli.console import STOPPED, plain_errors, progress_bar, say, stop_signals
from segment_concept.cli.prompt_options import PromptCommand, given_prompts, tell_prompts
from segment_concept.cli.trigger_options import (
    Cooldown,
    CutList,
    TriggerNames,
    trigger_spec_of,
)
from segment_concept.cli.video_options import VideoOptions, takes_video_options
from segment_concept.pipeline.schedule import Direction
from segment_concept.types import DeviceMemoryError, InputError

if TYPE_CHECKING:
    from segment_concept.pipeline.outputs import OutputFormat
    from segment_concept.pipeline.results import TrackSummary
    from segment_concept.pipeline.run_folder import IfExists
    from segment_concept.pipeline.track import TrackJob
    from segment_concept.pipeline.triggers import TriggerSpec
    from segment_concept.recipes import Recipe

DEFAULT_RECIPE = "sec_compact"
TRACKING = "Tracking"
WRITING = "Output"
OUTPUTS = "overlay, palette, objects, rle, matte, matte-png, explain"

# The outputs that a person looks at, best first, and how.
_LOOK = {
    "overlay.mp4": "watch the masks on the video",
    "explain.html": "open in a browser to see which frames to check",
    "palette": "masks as images",
    "matte.mp4": "matte for compositing",
}

RecipeName = Annotated[
    str, typer.Option("--recipe", "-r", help="The tracker: see `segment-concept recipes`.")
]


@takes_video_options
def track(
    ctx: typer.Context,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Output folder. Default: VIDEO_tracked."),
    ] = None,
    recipe: RecipeName = DEFAULT_RECIPE,
    *,
    given: VideoOptions,
    direction: Annotated[
        Direction,
        typer.Option(
            help="Track forward, backward or both ways from the prompted frame.",
            rich_help_panel=TRACKING,
        ),
    ] = Direction.BOTH,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Track the video twice: the second time the concept encoder uses the keyframes "
            "of the whole video. Takes twice as long.",
            rich_help_panel=TRACKING,
        ),
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Override the recipe's weights with a file, a folder or a Hugging Face "
            "repository.",
            rich_help_panel=TRACKING,
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of SeC's tokenizer, for a weights file that comes without one.",
            rich_help_panel=TRACKING,
        ),
    ] = None,
    trigger: TriggerNames = None,
    cuts: CutList = None,
    cooldown: Cooldown = 0,
    save: Annotated[
        str,
        typer.Option(
            "--save",
            "-s",
            help=f"Comma-separated list of outputs: {OUTPUTS}.",
            rich_help_panel=WRITING,
        ),
    ] = "overlay,palette",
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Also write explain.html: scores, cuts and keyframes on a timeline.",
            rich_help_panel=WRITING,
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an interrupted run.", rich_help_panel=WRITING),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an earlier result.", rich_help_panel=WRITING),
    ] = False,
) -> None:
    """Track objects through a video, from a mask, a box or points on one frame.

    \b
    segment-concept track film.mp4 --box 120,80,340,400
    segment-concept track film.mp4 --at 1.5s --point 320,200 --out result

    Writes DIR/overlay.mp4 (the video with the masks drawn on it), DIR/palette/*.png (object ids)
    and DIR/result.json (scores). Ctrl-C stops; what was done is kept.

    Exit codes: 0 done, also if frames of the video are damaged or its end is missing: warnings and
    result.json ("damaged_frames", "video_incomplete") say so; 2 invalid input; 130 interrupted
    (continue with --resume).
    """
    with plain_errors():
        from segment_concept.pipeline.track import TrackJob
        from segment_concept.recipes import find_recipe

        job = TrackJob(
            prompts=given_prompts(ctx, given.prompts),
            source=given.source(),
            out=out or Path(f"{Path(given.video).stem or 'video'}_tracked"),
            save=saved(f"{save},overlay,explain" if explain else save),
            direction=direction,
            offline=offline,
            if_exists=if_exists(resume=resume, overwrite=overwrite),
        )
        summary = run(
            job,
            given.network.apply(with_weights(find_recipe(recipe), weights, tokenizer)),
            given.device,
            given.language_device,
            quiet=given.quiet,
            trigger=trigger_spec_of(trigger, cuts, cooldown),
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
    trigger: "TriggerSpec | None" = None,
) -> "TrackSummary":
    """Load what is needed and do the job, with a progress bar.

    `trigger` replaces the recipe's. Whatever can be checked quickly is checked before weights are
    loaded or downloaded.
    """
    from dataclasses import replace

    from segment_concept.checkpoints.load import load
    from segment_concept.pipeline.track import RunMonitor, check_job, run_track
    from segment_concept.pipeline.triggers import prepare_trigger
    from segment_concept.runtime.gpu import find_device

    if trigger is not None and trigger.queries:
        recipe.check_queryable()
    elif job.offline:
        recipe.check_offline()
    plan = check_job(job)
    tell_prompts(job.prompts, quiet=quiet)
    found = str(find_device(device))
    if trigger is not None:
        prepared = prepare_trigger(trigger, job.source)
        silent = quiet or "transnet" not in trigger.names
        with progress_bar(f"{job.source.name}: shots", quiet=silent) as on_frame:
            recipe = replace(recipe, trigger=prepared.make(on_frame, found))
    tracker = load(recipe, device=device, language_device=language_device)
    traced = replace(job, provenance=provenance(recipe, found))
    with progress_bar(job.source.name, quiet=quiet) as on_frame, stop_signals() as should_stop:
        try:
            return run_track(traced, tracker, RunMonitor(on_frame, should_stop), plan)
        except DeviceMemoryError as error:
            raise DeviceMemoryError(
                f"{error}. With more memory continue by --resume; with other settings start again "
                "by --overwrite"
            ) from error


def with_weights(recipe: "Recipe", weights: str | None, tokenizer: Path | None = None) -> "Recipe":
    """Return the recipe with other weights and another tokenizer, if some are given.

    Raises:
        InputError: the recipe has no language model that needs a tokenizer.
    """
    from dataclasses import replace

    if tokenizer is not None:
        try:
            recipe = replace(recipe, tokenizer=str(tokenizer))
        except ValueError as error:
            raise InputError(f"--tokenizer: {error}; leave it out") from error
    return recipe if weights is None else replace(recipe, weights=weights)


def provenance(recipe: "Recipe", device: str) -> Mapping[str, object]:
    """What the masks are made with."""
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
    """The outputs that `overlay,palette` names. Raises InputError, which lists the names."""
    from segment_concept.pipeline.outputs import OutputFormat

    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {kind.value: kind for kind in OutputFormat}
    for name in names:
        if name not in known:
            raise InputError(
                f"--save {name}: expected a comma-separated list of {', '.join(known)}"
            )
    return frozenset(known[name] for name in names)


def if_exists(*, resume: bool, overwrite: bool) -> "IfExists":
    """What to do with an output folder that is not empty. Raises InputError."""
    from segment_concept.pipeline.run_folder import IfExists

    if resume and overwrite:
        raise InputError("--resume continues a run and --overwrite starts again: give one of them")
    if resume:
        return IfExists.RESUME
    return IfExists.OVERWRITE if overwrite else IfExists.REFUSE


def tell(summary: "TrackSummary") -> None:
    """Print what a run has done."""
    if not summary.finished:
        kept = f"{summary.frames} frames are kept" if summary.frames else "what was done is kept"
        again = shlex.join(["segment-concept", *sys.argv[1:]])
        say(f"stopped: {kept} in {summary.out}")
        say(f"continue with: {again.replace(' --overwrite', '')} --resume")
        return
    if summary.stepped:
        speed = f"{summary.seconds:.1f} s ({summary.rate:.1f} frames/s)"
        say(f"{summary.stepped} frames in {speed}: {summary.out}")
        if summary.carried:
            say(
                f"masks of {summary.carried} frames were carried from their neighbors by optical "
                "flow; --every 1 tracks every frame"
            )
    else:
        text = f"already complete: {summary.out} has all {summary.frames} frames"
        say(text)
    for object_id, found in summary.objects.items():
        say(f"object {object_id}: visible on {found.visible} of {found.frames} frames")
        if not found.visible:
            say(
                f"warning: object {object_id} was never found: check its prompt, or give another "
                "one on a frame that shows it well",
                err=True,
            )
    for name, how in _LOOK.items():
        if (summary.out / name).exists():
            say(f"{how}: {summary.out / name}")


def register(app: typer.Typer) -> None:
    """Add `track` to the command line."""
    app.command("track", cls=PromptCommand)(track)
