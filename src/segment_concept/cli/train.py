"""`segment-concept train`: prepare images, train, and export weights."""

from pathlib import Path
from typing import Annotated

import typer

from segment_concept.cli import train_concept, train_memory
from segment_concept.cli.console import plain_errors, require_packages, say

app = typer.Typer(help="Train the compact model, or SeC on SA-V.", no_args_is_help=True)
train_memory.register(app)
train_concept.register(app)


def register(parent: typer.Typer) -> None:
    """Add the group to the command line."""
    parent.add_typer(app, name="train")


@app.command("assets")
def assets(
    folder: Annotated[Path, typer.Argument(help="Written by tools/fetch_training_assets.sh.")],
    cache: Annotated[Path, typer.Argument(help="The file to write: DATA/assets.npz.")],
) -> None:
    """Write the images of the unpacked packages to one cache file."""
    with plain_errors():
        from segment_concept.synthetic import prepare

        prepare(folder, cache)
    say(f"wrote {cache}")


@app.command("compact")
def compact(
    data: Annotated[Path, typer.Option(help="Folder with assets.npz, photos and subjects.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; continued if it exists.")],
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Exported model to start from. Default: ImageNet backbone."),
    ] = None,
    stages: Annotated[
        str, typer.Option(help="Stages to run; weights of the others stay as in --from.")
    ] = "clips,calibrate",
    steps: Annotated[
        str,
        typer.Option(
            help="Steps per stage, as in clips=100,calibrate=50 (clips to fit the verifier to)."
        ),
    ] = "",
    videos: Annotated[
        Path | None,
        typer.Option(help="Annotated videos (DAVIS layout) by which masks are calibrated too."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1 ...; processes take turns among GPUs.")
    ] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads of each process.")] = 1,
) -> None:
    """Train the compact model, stage by stage. Processes of torchrun share every step."""
    with plain_errors():
        require_packages("train", "accelerate")
        import logging

        import torch

        from segment_concept.evaluate.tracker_source import device_in_turn
        from segment_concept.runtime.gpu import find_device
        from segment_concept.train.curriculum import Plan, run
        from segment_concept.train.processes import own_rank

        logging.basicConfig(level=logging.INFO, format="%(message)s")
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = True  # enough precision for training
        own = find_device(device_in_turn(device, own_rank()[0]))
        plan = Plan(
            data=data,
            out=out,
            start=start,
            stages=tuple(stages.split(",")),
            steps=_numbers(steps),
            videos=videos,
            device=str(own),
        )
        made = run(plan)
    say(f"trained: {made}")


def _numbers(steps: str) -> tuple[tuple[str, int], ...]:
    """The pairs of `clips=100,calibrate=50`.

    Raises:
        InputError: not a list of names and whole numbers.
    """
    from segment_concept.types import InputError

    found = []
    for pair in filter(None, steps.split(",")):
        name, equals, number = pair.partition("=")
        if not equals or not number.isdigit():
            raise InputError(f"{pair!r} is not a number of steps: write it as clips=100")
        found.append((name, int(number)))
    return tuple(found)
