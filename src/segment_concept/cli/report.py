"""`segment-concept report`: what runs came to, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from segment_concept.cli.console import plain_errors
from segment_concept.evaluate.report.comparison import compare
from segment_concept.evaluate.report.comparison_pages import to_markdown, write_comparison
from segment_concept.types import InputError

REPORT = "report.md"


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders that `evaluate` wrote.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write comparison.md, .html and .json into this folder."),
    ] = None,
) -> None:
    """Print a run's report, or compare several runs with the first.

    A comparison has every video's difference and a bootstrap interval of the mean difference.
    """
    with plain_errors():
        if len(runs) == 1:
            typer.echo(_report_of(runs[0]))
            return
        found = compare(runs)
        if out is not None:
            write_comparison(out, found)
    typer.echo(to_markdown(found))


def _report_of(run: Path) -> str:
    try:
        return (run / REPORT).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"{run / REPORT} is missing: finish the run with `segment-concept evaluate`"
        ) from error


def register(app: typer.Typer) -> None:
    """Add `report` to the command line."""
    app.command("report")(report)
