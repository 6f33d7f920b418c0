"""`segment-concept train`: prepare the pictures, train, export what is shipped."""

from pathlib import Path
from typing import Annotated

import typer

from segment_concept.cli.console import plain_errors

app = typer.Typer(help="Train the compact model.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    """Add the group to the command line."""
    parent.add_typer(app, name="train")


@app.command("assets")
def assets(
    folder: Annotated[Path, typer.Argument(help="What tools/fetch_training_assets.sh unpacked.")],
    cache: Annotated[Path, typer.Argument(help="The file to write: DATA/assets.npz.")],
) -> None:
    """Turn unpacked picture packages into one cache file."""
    with plain_errors():
        from segment_concept.synthetic import prepare

        prepare(folder, cache)
    typer.echo(f"wrote {cache}")


@app.command("compact")
def compact(
    data: Annotated[Path, typer.Option(help="Folder with assets.npz and photos.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; continued if it exists.")],
    start: Annotated[
        Path | None,
        typer.Option("--from", help="An exported model; left out, the ImageNet trunk alone."),
    ] = None,
    stages: Annotated[
        str, typer.Option(help="Which of the stages; others stay as --from has them.")
    ] = "clips,concept,calibrate",
    steps: Annotated[
        str, typer.Option(help="Other numbers of steps, as clips=100,concept=50.")
    ] = "",
    films: Annotated[
        Path | None,
        typer.Option(help="Annotated real films, as DAVIS, by which masks are calibrated too."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1 ...; processes take turns among GPUs.")
    ] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads of each process.")] = 1,
) -> None:
    """Train the compact model, stage by stage. Under torchrun processes share every step."""
    with plain_errors():
        import logging

        import torch

        from segment_concept.checkpoints.load import find_device
        from segment_concept.evaluate.tracker_source import device_in_turn
        from segment_concept.train.curriculum import Plan, run
        from segment_concept.train.loop import Ranks

        logging.basicConfig(level=logging.INFO, format="%(message)s")
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = True  # what is learnt has no use for more digits
        own = find_device(device_in_turn(device, Ranks.from_environment().rank))
        plan = Plan(
            data=data,
            out=out,
            start=start,
            stages=tuple(stages.split(",")),
            steps=_numbers(steps),
            films=films,
            device=str(own),
        )
        made = run(plan)
    typer.echo(f"trained: {made}")


@app.command("export")
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run that was calibrated.")],
    out: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    history: Annotated[str, typer.Option(help="How it was trained, for the card.")] = "",
) -> None:
    """Write the float16 file that the package ships, with its card."""
    with plain_errors():
        from segment_concept.train.export import export_compact

        card = export_compact(run, out, history)
    typer.echo(f"wrote {out}: {card}")


def _numbers(steps: str) -> tuple[tuple[str, int], ...]:
    """Of `clips=100,concept=50` the pairs.

    Raises:
        InputError: something else than names and whole numbers.
    """
    from segment_concept.types import InputError

    found = []
    for pair in filter(None, steps.split(",")):
        name, equals, number = pair.partition("=")
        if not equals or not number.isdigit():
            raise InputError(f"{pair!r} says no number of steps: write it as clips=100")
        found.append((name, int(number)))
    return tuple(found)
