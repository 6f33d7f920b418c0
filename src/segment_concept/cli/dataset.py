"""`segment-concept dataset`: check a dataset, print statistics, make multi-shot clips."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from segment_concept.cli.app import COMMANDS
from segment_concept.cli.console import plain_errors, say
from segment_concept.cli.dataset_options import (
    INCOMPLETE,
    DataFolder,
    Kind,
    Split,
    Truth,
    Unseen,
    _show_findings,
    percent,
)
from segment_concept.cli.make_multishot import make_multishot_clips
from segment_concept.datasets.check import check_dataset, survey_dataset
from segment_concept.datasets.open import open_dataset, recognize_dataset
from segment_concept.datasets.stats import DatasetStats, dataset_stats, scenes_by_shots
from segment_concept.datasets.types import Benchmark, Source
from segment_concept.runtime.names import printable


def check(
    data: DataFolder,
    benchmark: Kind = None,
    split: Split = "val",
    truth: Truth = None,
    unseen: Unseen = None,
) -> None:
    """Check a dataset folder and list its contents and errors.

    Exit codes: 0 no errors, 1 errors found, 2 no dataset found.
    """
    with plain_errors():
        kind = benchmark or recognize_dataset(data)
        dataset = open_dataset(kind, Source(data, split, truth, unseen))
        report = check_dataset(dataset, survey_dataset(dataset))
    say(
        f"{kind.value}, split {split}: {len(dataset.videos)} videos, {report.pictures} images, "
        f"{report.masks} masks, {report.objects} objects ({report.late_objects} appear late)"
    )
    _show_findings(report.findings)
    say("no errors found" if report.is_sound else "errors found: see above")
    if not report.is_sound:
        raise typer.Exit(INCOMPLETE)


def stats(
    data: DataFolder,
    benchmark: Kind = None,
    split: Split = "val",
    truth: Truth = None,
    scenes: Annotated[
        bool, typer.Option(help="Count scenes with the shot detector; reads every image.")
    ] = True,
) -> None:
    """Print dataset statistics: videos, objects, disappearance and reappearance rates, scenes.

    Exit codes: 0 done, 2 no dataset found.
    """
    with plain_errors():
        kind = benchmark or recognize_dataset(data)
        dataset = open_dataset(kind, Source(data, split, truth))
        found = dataset_stats(dataset, survey_dataset(dataset), scenes_by_shots if scenes else None)
    Console().print(_stats_table(kind, split, found))


def _stats_table(kind: Benchmark, split: str, found: DatasetStats) -> Table:
    table = Table(title=escape(printable(f"{kind.value}, split {split}")))
    row = {
        "videos": f"{found.videos}",
        "objects": f"{found.objects}",
        "masks": f"{found.masks}",
        "seconds/video": _number(found.seconds),
        "disappear %": percent(found.disappear),
        "and reappear %": percent(found.reappear),
        "scenes/video": _number(found.scenes),
    }
    for column in row:
        table.add_column(column, justify="right")
    table.add_row(*row.values())
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def register(app: typer.Typer) -> None:
    """Add the group `dataset` to the command line."""
    group = typer.Typer(help=COMMANDS["dataset"][1], no_args_is_help=True)
    group.command("check")(check)
    group.command("stats")(stats)
    group.command("make-multishot")(make_multishot_clips)
    app.add_typer(group, name="dataset")
