"""`segment-concept train`: prepare the pictures, train a stage, export what is shipped."""

from pathlib import Path
from typing import Annotated

import typer

from segment_concept.cli.console import plain_errors

app = typer.Typer(help="Train the compact model.", no_args_is_help=True)

Assets = Annotated[Path, typer.Option("--assets", help="Cache written by `train assets`.")]


def register(parent: typer.Typer) -> None:
    """Add the group to the command line."""
    parent.add_typer(app, name="train")


@app.command("assets")
def assets(
    folder: Annotated[Path, typer.Argument(help="What tools/fetch_training_assets.sh unpacked.")],
    cache: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Turn unpacked picture packages into one cache file."""
    with plain_errors():
        from segment_concept.synthetic import prepare

        prepare(folder, cache)
    typer.echo(f"wrote {cache}")


@app.command("run")
def run(
    stage: Annotated[str, typer.Argument(help="base, fine or another of train/stages.py.")],
    assets: Assets,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; continued if it exists.")],
    steps: Annotated[int | None, typer.Option(help="Other number of steps.")] = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="state.pt of the stage before, or an exported model."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Other clips than the stage's own: to run it once more.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1 ...; processes take turns among GPUs.")
    ] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads of each process.")] = 1,
) -> None:
    """Train a stage. Under torchrun every process takes its share of the clips."""
    with plain_errors():
        import logging

        import torch

        from segment_concept.checkpoints.load import find_device
        from segment_concept.evaluate.tracker_source import device_in_turn
        from segment_concept.train.loop import Ranks, train
        from segment_concept.train.stages import begun, find_stage

        logging.basicConfig(level=logging.INFO, format="%(message)s")
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = True  # what is learnt has no use for more digits
        chosen = find_stage(stage, steps, seed)
        own = find_device(device_in_turn(device, Ranks.from_environment().rank))
        model = begun(chosen, assets, start).to(own)
        report = train(model, chosen, assets, out)
    typer.echo(f"{chosen.name} is trained: {report}")


@app.command("export")
def export(
    checkpoint: Annotated[Path, typer.Argument(help="best.pt or state.pt of a run.")],
    out: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    history: Annotated[str, typer.Option(help="How it was trained, for the card.")] = "",
    concept: Annotated[
        Path | None, typer.Option(help="Another run, of which the concept path is taken.")
    ] = None,
) -> None:
    """Write the averaged weights as the float16 file that the package ships, with its card."""
    with plain_errors():
        from segment_concept.train.export import export_compact

        card = export_compact(checkpoint, out, history, concept)
    typer.echo(f"wrote {out}: {card}")


@app.command("mean")
def mean(
    out: Annotated[Path, typer.Argument(help="The checkpoint to write.")],
    checkpoints: Annotated[list[Path], typer.Argument(help="best.pt or state.pt of runs.")],
    stage: Annotated[str, typer.Option(help="As whose it is validated.")] = "finer",
    assets: Annotated[Path | None, typer.Option(help="Validate it on held-out clips.")] = None,
) -> None:
    """The mean of the weights of several runs that began at the same ones."""
    with plain_errors():
        from dataclasses import asdict

        import torch

        from segment_concept.train.export import mean_of, validated
        from segment_concept.train.stages import find_stage

        state = mean_of(checkpoints)
        if assets is not None:
            state["report"] = asdict(validated(state, find_stage(stage), assets))
        torch.save(state, out)
    typer.echo(f"wrote {out}: {state.get('report', 'not validated')}")


@app.command("verify")
def verify(
    weights: Annotated[Path, typer.Argument(help="An exported model with a concept path.")],
    assets: Assets,
    out: Annotated[Path, typer.Option("--out", help="The .safetensors file to write.")],
    clips: Annotated[int, typer.Option(min=1, help="Training clips to track.")] = 240,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    """Fit how a model tells from a proposal that it is the object, and write the model with it."""
    with plain_errors():
        import logging

        import torch

        from segment_concept.train.fit_verifier import fit_verification

        logging.basicConfig(level=logging.INFO, format="%(message)s")
        torch.set_num_threads(threads)
        found = fit_verification(weights, assets, out, clips)
    typer.echo(f"wrote {out}: {found}")
