"""`segment-concept score`: score masks on disk."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from segment_concept.cli.console import plain_errors, say
from segment_concept.cli.dataset_options import (
    INCOMPLETE,
    Kind,
    ProtocolOption,
    Split,
    Truth,
    Unseen,
    _show_findings,
    percent,
)
from segment_concept.datasets.open import open_dataset, recognize_dataset
from segment_concept.datasets.types import Benchmark, Dataset, Source
from segment_concept.evaluate.protocols.appearance import ScoringWindow
from segment_concept.evaluate.protocols.registry import (
    RuleOptions,
    ScoringProtocol,
    rules_for,
)
from segment_concept.evaluate.report.breakdowns import by_cuts_of_video
from segment_concept.evaluate.scores import Scores, write_scores
from segment_concept.evaluate.scoring import Work, score_dataset


def score(
    predictions: Annotated[
        Path,
        typer.Argument(metavar="PREDICTIONS", help="Folder with one subfolder of masks per video."),
    ],
    data: Annotated[Path, typer.Option("--data", "-d", help="Dataset folder.")],
    benchmark: Kind = None,
    split: Split = "val",
    protocol: ProtocolOption = None,
    window: Annotated[
        ScoringWindow,
        typer.Option(
            help="First scored frame of each object. sight (as published): the first frame where "
            "truth or prediction has a pixel; truth: the first annotated frame with the object; "
            "all: every scored frame. Only for protocols that score from first appearance."
        ),
    ] = ScoringWindow.SIGHT,
    truth: Truth = None,
    unseen: Unseen = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write scores.json and scores.csv to this folder."),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", "-p", min=1, help="Number of scoring processes.")
    ] = max(1, min(os.cpu_count() or 1, 8)),
    skip_broken: Annotated[
        bool,
        typer.Option(
            "--skip-broken", help="Leave out videos that cannot be scored instead of stopping."
        ),
    ] = False,
    drop_unseen: Annotated[
        bool,
        typer.Option(
            "--drop-unseen",
            help="Leave out objects that are absent from all scored frames (SA-V, SeCVOS).",
        ),
    ] = False,
    count_strays: Annotated[
        bool,
        typer.Option(
            "--count-strays", help="Count non-mask files as frames, as vos-benchmark does."
        ),
    ] = False,
) -> None:
    """Score masks on disk with a benchmark's own protocol.

    \b
    segment-concept score MASKS --data DAVIS
    MASKS has one folder per video, with PNG masks named like the annotations.

    Exit codes: 0 all videos scored, 1 some left out (--skip-broken), 2 invalid input, none scored.
    """
    with plain_errors():
        kind = benchmark or recognize_dataset(data)
        dataset = open_dataset(kind, Source(data, split, truth, unseen))
        rules = rules_for(kind, protocol, RuleOptions(window, drop_unseen, count_strays))
        scores = _with_progress(dataset, predictions, rules, Work(processes, skip_broken))
        if out is not None:
            write_scores(scores, out)
    _show_findings(scores.findings)
    _show_scores(scores, kind)
    if scores.broken_videos:
        say(
            f"{len(scores.broken_videos)} of {len(dataset.videos)} videos were left out: the score "
            "does not cover the whole dataset",
            err=True,
        )
        raise typer.Exit(INCOMPLETE)


def _with_progress(
    dataset: Dataset, predictions: Path, rules: ScoringProtocol, work: Work
) -> Scores:
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    silent = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=silent) as bar:
        line = bar.add_task("videos", total=len(dataset.videos))

        def show(done: int, total: int) -> None:
            bar.update(line, completed=done, total=total)

        shown = Work(work.processes, work.skip_broken, show)
        return score_dataset(dataset, predictions, rules, shown)


def _show_scores(scores: Scores, benchmark: Benchmark) -> None:
    videos = len({scored.video for scored in scores.objects})
    objects = len({(scored.video, scored.object_name) for scored in scores.objects})
    rules = scores.protocol if scores.official else f"{scores.protocol} (not official)"
    say(f"{benchmark.value}, protocol {rules}: {videos} videos, {objects} objects, in %")
    Console().print(_headline_table(scores.headline))
    for row in by_cuts_of_video(scores.objects):
        values = ", ".join(
            f"{name} {percent(value)}"
            for name, value in (("J&F", row.both), ("J", row.region), ("F", row.boundary))
        )
        say(f"{row.name}: {values} ({row.objects} objects)")


def _headline_table(headline: Mapping[str, float]) -> Table:
    """One row per statistic: "J recall" is in row "recall", column "J"."""
    places = {name: (name.partition(" ")[2], name.partition(" ")[0]) for name in headline}
    rows, columns = (list(dict.fromkeys(p[i] for p in places.values())) for i in (0, 1))
    values = {places[name]: percent(value) for name, value in headline.items()}
    table = Table(show_header=True)
    if len(rows) > 1:
        table.add_column("")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        label = [row] if len(rows) > 1 else []
        table.add_row(*label, *(values.get((row, column), "") for column in columns))
    return table


def register(app: typer.Typer) -> None:
    """Add `score` to the command line."""
    app.command("score")(score)
