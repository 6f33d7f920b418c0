"""`segment-concept train memory`, `train frames`, `train scenes`: stage 1 and SA-V."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segment_concept.cli.console import plain_errors, progress_bar, require_packages, say
from segment_concept.types import InputError

if TYPE_CHECKING:
    from segment_concept.train.memory_task import MemoryTask
    from segment_concept.train.sav_preparation import Failure
    from segment_concept.train.task import LoopOptions

_GIB = 2**30
_SHOWN = 10  # failures in words
Data = Annotated[Path, typer.Argument(help="Folder of SA-V's training videos, as downloaded.")]
Workers = Annotated[int, typer.Option(help="Processes.", min=1)]
Videos = Annotated[
    Path | None, typer.Option(help="File of names of videos, one a line. Default: all.")
]


def register(parent: typer.Typer) -> None:
    """Add the commands to the group `train`."""
    parent.command("memory")(memory)
    parent.command("frames")(frames)
    parent.command("scenes")(scenes)


def memory(
    data: Annotated[Path, typer.Option(help="Folder of SA-V's training videos, as downloaded.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; continued if it exists.")],
    weights: Annotated[
        str, typer.Option(help="SAM 2.1: a file, a folder or a repository of the hub.")
    ] = "facebook/sam2.1-hiera-large",
    frames: Annotated[
        Path | None, typer.Option(help="Frames extracted by `train frames`. Default: decode.")
    ] = None,
    videos: Videos = None,
    recipe: Annotated[
        str, typer.Option(help="memory (published), memory_ordered or memory_paper.")
    ] = "memory",
    steps: Annotated[int | None, typer.Option(help="Steps. Default: the recipe's.")] = None,
    batch: Annotated[int | None, typer.Option(help="Clips of a step, on all GPUs.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of data and dropout.")] = None,
    limit: Annotated[int, typer.Option(help="Use so many videos; 0 for all.")] = 0,
    all_videos: Annotated[
        bool, typer.Option("--all", help="Train on held-out videos too, without validation.")
    ] = False,
    validated: Annotated[int, typer.Option(help="Held-out videos of a validation.", min=1)] = 48,
    micro_batch: Annotated[
        int, typer.Option(help="Clips per forward pass of a GPU; 0 for its whole share.", min=0)
    ] = 0,
    recompute: Annotated[
        bool, typer.Option(help="Compute memory attention again: less memory, more time.")
    ] = False,
    precision: Annotated[str, typer.Option(help="bf16, no, or auto (bf16 on a GPU).")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    workers: Annotated[int, typer.Option(help="Loading processes per GPU.", min=0)] = 8,
    shard: Annotated[bool, typer.Option(help="Shard over the GPUs (FSDP2).")] = False,
    save_every: Annotated[int, typer.Option(help="Steps between saved states.", min=1)] = 250,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.", min=1)] = 1000,
    log_every: Annotated[int, typer.Option(help="Steps between lines of the log.", min=1)] = 10,
    wandb: Annotated[str | None, typer.Option(help="Project of Weights & Biases.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be trained; load a micro-batch.")
    ] = False,
) -> None:
    """Stage 1 of SeC: teach SAM 2.1's memory attention 22 memories on clips of SA-V.

    Processes of torchrun share every step. The same command continues an interrupted run.
    """
    with plain_errors():
        require_packages("train-full", "accelerate")
        import logging

        from segment_concept.train.memory_recipes import MemoryPlan, build_memory_task
        from segment_concept.train.task import LoopOptions

        logging.basicConfig(level=logging.INFO, format="%(message)s")
        options = LoopOptions(
            micro_batch=micro_batch,
            precision=_precision(precision, device),
            workers=workers,
            shard=shard,
            device=device,
            save_every=save_every,
            validate_every=validate_every,
            log_every=log_every,
            wandb=wandb,
        )
        plan = MemoryPlan(
            data=data,
            weights=weights,
            frames=frames,
            videos=videos,
            recipe=recipe,
            steps=steps,
            batch=batch,
            seed=seed,
            limit=limit,
            all_videos=all_videos,
            validated=validated,
            recompute=recompute,
        )
        task = build_memory_task(plan)
        if dry_run:
            _describe(task, options)
            return
        from segment_concept.train.loop import train

        report = train(task, out, options)
    say(f"trained: {out}, {_figures(report)}")


def _precision(name: str, device: str) -> str:
    """What accelerate calls it. Raises InputError."""
    from segment_concept.runtime.gpu import find_device

    if name not in ("auto", "bf16", "no"):
        raise InputError(f"there is no precision {name!r}: expected bf16, no or auto")
    if name != "auto":
        return name
    return "bf16" if find_device(device).type == "cuda" else "no"


def _describe(task: "MemoryTask", options: "LoopOptions") -> None:
    """Print recipe and estimates, and load a micro-batch."""
    import json

    from segment_concept.train.hardware import PEAKS, hours_on
    from segment_concept.train.processes import own_rank

    recipe = task.recipe()
    say(json.dumps(recipe, indent=1))
    _, ranks = own_rank()
    requests = task.requests(0)
    micro = options.micro_batch or len(requests) // ranks
    budget = task.budget()
    steps, clips = task.schedule.steps, len(requests) * task.schedule.steps
    say(f"parameters: {budget.trained:,} trained, {budget.frozen:,} frozen")
    say(f"steps: {steps:,} of {len(requests)} clips, {clips:,} in all")
    say(
        f"memory of a GPU: {budget.gpu_bytes(micro) / _GIB:.1f} GiB with micro-batches of {micro} "
        "(an estimate, not measured)"
    )
    for gpu in PEAKS:
        hours = hours_on(gpu, budget.flop * clips, ranks)
        say(f"time on {ranks} x {gpu}: {hours:.1f} hours (an estimate, not measured)")
    load = task.loader()
    examples = [load(request) for request in requests[:micro]]
    say(f"loaded {len(examples)} clips: {', '.join(example.name for example in examples)}")


def _figures(report: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in report.items())


def frames(
    data: Data,
    out: Annotated[Path, typer.Argument(help="Folder to write: one folder per video.")],
    videos: Videos = None,
    workers: Workers = 1,
) -> None:
    """Extract the annotated frames of SA-V's videos as JPEG files (every fourth, quality 95).

    Reading them is much quicker than decoding videos. Videos that are there are left as they are,
    so that the same command continues. 2,000 videos take about 55 GB, all about 1.4 TB.
    """
    with plain_errors():
        from segment_concept.train.sav_preparation import extract_all

        listed = _listed(data, videos)
        with progress_bar("extracting", quiet=False) as tell:
            failures = extract_all(listed, out, workers, tell)
    _tell_failures(failures, len(listed))
    say(f"wrote the frames of {len(listed) - len(failures)} videos to {out}")


def scenes(
    data: Data,
    out: Annotated[Path, typer.Option(help="File to write: names of videos, most cuts first.")],
    top: Annotated[int, typer.Option(help="Number of videos.", min=1)] = 2000,
    detector: Annotated[
        str, typer.Option(help="published (SeC's trigger), fast, scenedetect or transnet.")
    ] = "published",
    frames: Annotated[
        Path | None, typer.Option(help="Frames extracted by `train frames`. Default: decode.")
    ] = None,
    workers: Workers = 1,
) -> None:
    """List the videos of SA-V with the most cuts between annotated frames.

    Counts are kept in OUT.counts, so that the same command continues.
    """
    with plain_errors():
        from segment_concept.datasets.sav import find_videos
        from segment_concept.train.sav_preparation import list_scenes

        found = list(find_videos(data, frames).values())
        with progress_bar("counting cuts", quiet=False) as tell:
            failures = list_scenes(found, out, detector, top, workers, tell)
    _tell_failures(failures, len(found))
    say(f"wrote {out}: {min(top, len(found) - len(failures))} videos")


def _listed(data: Path, videos: Path | None) -> list[Any]:
    from segment_concept.datasets.sav import chosen, find_videos, read_video_list

    found = find_videos(data)
    if videos is None:
        return list(found.values())
    return chosen(found, read_video_list(videos), videos)


def _tell_failures(failures: "list[Failure]", videos: int) -> None:
    for failure in failures[:_SHOWN]:
        say(f"left out: {failure.why}", err=True)
    if failures:
        say(f"{len(failures)} of {videos} videos cannot be read", err=True)
