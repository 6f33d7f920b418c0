"""`segment-concept convert`: SeC's published weights into this package's own form."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from segment_concept.cli.console import plain_errors


class DType(str, Enum):
    """Number types in which weights are saved."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder as on the hub, one .safetensors file, or a hub name "
            "(OpenIXCLab/SeC-4B).",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to be made.")],
    dtype: Annotated[
        DType | None,
        typer.Option(help="Number type to save in; that of the source where left out."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="The tokenizer's folder, where it does not lie beside the weights."),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(help="Hash that a single file of weights must have.")
    ] = None,
) -> None:
    """Convert SeC weights: one folder with weights, config.json, tokenizer and hashes.

    Every file is checked against the hash that is stated for it: by --sha256, by the hub where it
    came from there, or by the config.json of a model that was converted before.
    """
    with plain_errors():
        import torch

        from segment_concept.checkpoints.sec.convert import convert_sec

        chosen = None if dtype is None else getattr(torch, dtype.value)
        done = convert_sec(source, out, dtype=chosen, tokenizer=tokenizer, sha256=sha256)
    for file in done.read:
        verdict = "as stated" if file.stated else "no hash is stated for it"
        typer.echo(f"read  {file.sha256}  {file.path.name} ({verdict})")
    for file in done.written:
        typer.echo(f"wrote {file.sha256}  {file.path}")
    name = str(done.dtype).removeprefix("torch.")
    typer.echo(f"{out} holds SeC in {name}: give it where weights are asked for")


def register(app: typer.Typer) -> None:
    """Add `convert` to the command line."""
    app.command("convert")(convert)
