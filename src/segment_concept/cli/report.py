"""`segment-concept report`: print the report of a run, or compare runs."""

from pathlib import Path
from typing import Annotated

import typer

from segment_concept.cli.console import plain_errors, say
from segment_concept.evaluate.report.comparison import compare
from segment_concept.evaluate.report.comparison_pages import to_markdown, write_comparison
from segment_concept.types import InputError

REPORT = "report.md"


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders written by `evaluate`.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Also write comparison.md, .html and .json to this folder."
        ),
    ] = None,
) -> None:
    """Print the report of a run, or compare several runs with the first one.

    A comparison lists the difference of every video and a 95 % bootstrap interval of the mean
    difference.

    Exit codes: 0 done, 2 invalid input.
    """
    with plain_errors():
        if len(runs) == 1:
            say(_report_of(runs[0]))
            return
        found = compare(runs)
        if out is not None:
            write_comparison(out, found)
    say(to_markdown(found))


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
