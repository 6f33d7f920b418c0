"""Options that `score`, `evaluate` and `dataset` share, and how findings are printed."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from segment_concept.datasets.findings import Finding, Severity
from segment_concept.datasets.types import Benchmark

INCOMPLETE = 1  # exit code
_SHOWN_WARNINGS = 20
DataFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.")]
Split = Annotated[str, typer.Option(help="Dataset split: val, test, train, test-dev, ...")]
Kind = Annotated[
    Benchmark | None,
    typer.Option("--benchmark", "-b", help="Dataset type. Default: detected from the folder."),
]
Truth = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the full annotations, if they are not inside the dataset folder."
    ),
]
Unseen = Annotated[
    Path | None,
    typer.Option(help="File listing unseen videos (LVOS) or unseen categories (YouTube-VOS)."),
]


def _show_findings(findings: Sequence[Finding]) -> None:
    for severity in (Severity.ERROR, Severity.WARNING):
        of_kind = [finding for finding in findings if finding.severity is severity]
        for finding in of_kind[:_SHOWN_WARNINGS]:
            typer.echo(f"{severity.value}: {finding}", err=True)
        if len(of_kind) > _SHOWN_WARNINGS:
            typer.echo(f"{severity.value}: and {len(of_kind) - _SHOWN_WARNINGS} more", err=True)


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"
