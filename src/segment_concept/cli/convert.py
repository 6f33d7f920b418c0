"""`segment-concept convert`: convert SeC's published weights to this package's format."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from segment_concept.cli.console import plain_errors, say


class DType(str, Enum):
    """Data types in which weights can be saved."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder in the published layout, one .safetensors file, or a Hugging Face "
            "repository (OpenIXCLab/SeC-4B).",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty output folder.")],
    dtype: Annotated[
        DType | None,
        typer.Option(help="Data type of the saved weights. Default: as in SOURCE."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder of the tokenizer, if it is not next to the weights."),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(help="Expected SHA-256 of a single weights file.")
    ] = None,
) -> None:
    """Convert SeC weights to one folder with weights, config.json, tokenizer and hashes.

    Each file is verified against its stated hash: --sha256, the hash recorded by the Hugging Face
    hub for downloaded files, or the config.json of a model that was converted before.

    Exit codes: 0 done, 2 invalid input.
    """
    with plain_errors():
        import torch

        from segment_concept.checkpoints.sec.convert import convert_sec

        chosen = None if dtype is None else getattr(torch, dtype.value)
        done = convert_sec(source, out, dtype=chosen, tokenizer=tokenizer, sha256=sha256)
    for file in done.read:
        verdict = "hash verified" if file.stated else "no stated hash to verify against"
        say(f"read  {file.sha256}  {file.path.name} ({verdict})")
    for file in done.written:
        say(f"wrote {file.sha256}  {file.path}")
    name = str(done.dtype).removeprefix("torch.")
    say(f"{out} contains SeC in {name}: use it with --weights {out}")


def register(app: typer.Typer) -> None:
    """Add `convert` to the command line."""
    app.command("convert")(convert)
