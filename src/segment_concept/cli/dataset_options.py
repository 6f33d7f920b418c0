"""Options that `score`, `evaluate` and `dataset` share, and how findings are printed."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from segment_concept.cli.console import say
from segment_concept.datasets.findings import Finding, Severity
from segment_concept.datasets.types import Benchmark
from segment_concept.evaluate.protocols.registry import ProtocolName

INCOMPLETE = 1  # exit code
DATASET = "Dataset"  # panel of the help
_SHOWN_WARNINGS = 20
ProtocolOption = Annotated[
    ProtocolName | None,
    typer.Option(
        "--protocol",
        metavar="NAME",
        help="Scoring protocol. Default: the dataset's own. One of "
        f"{', '.join(each.value for each in ProtocolName)}.",
    ),
]
DataFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.")]
Split = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Dataset split: val, test, train, test-dev, ...",
        rich_help_panel=DATASET,
    ),
]
Kind = Annotated[
    Benchmark | None,
    typer.Option(
        "--benchmark",
        "-b",
        metavar="NAME",
        help=f"Dataset type. Default: detected from the folder. One of "
        f"{', '.join(each.value for each in Benchmark)}.",
        rich_help_panel=DATASET,
    ),
]
Truth = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder with the full annotations, if they are not inside the dataset folder.",
        rich_help_panel=DATASET,
    ),
]
Unseen = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="List of the unseen videos (LVOS) or unseen categories (YouTube-VOS), one per line.",
        rich_help_panel=DATASET,
    ),
]


def _show_findings(findings: Sequence[Finding]) -> None:
    for severity in (Severity.ERROR, Severity.WARNING):
        of_kind = [finding for finding in findings if finding.severity is severity]
        for finding in of_kind[:_SHOWN_WARNINGS]:
            say(f"{severity.value}: {finding}", err=True)
        if len(of_kind) > _SHOWN_WARNINGS:
            say(f"{severity.value}: and {len(of_kind) - _SHOWN_WARNINGS} more", err=True)


def percent(value: float | None) -> str:
    """A score in [0, 1] as a percentage; "-" if there is none."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"
