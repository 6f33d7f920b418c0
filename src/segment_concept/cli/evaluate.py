"""`segment-concept evaluate`: predict a dataset, score the masks, write a report."""

import logging
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from segment_concept.batch.shard import Shard
from segment_concept.cli.console import interrupting_signals, plain_errors, say
from segment_concept.cli.dataset_options import (
    INCOMPLETE,
    Kind,
    ProtocolOption,
    Split,
    Truth,
    Unseen,
    percent,
)
from segment_concept.cli.video_options import (
    Compile,
    EveryFrame,
    InputSize,
    NumberType,
    network_options,
)
from segment_concept.datasets.open import open_dataset, recognize_dataset
from segment_concept.datasets.types import Dataset, Source
from segment_concept.evaluate.fingerprint import dataset_fingerprint
from segment_concept.evaluate.first_masks import refuse_unpredictable
from segment_concept.evaluate.protocols.appearance import ScoringWindow
from segment_concept.evaluate.protocols.registry import (
    RuleOptions,
    ScoringProtocol,
    rules_for,
)
from segment_concept.evaluate.report.comparison import compare
from segment_concept.evaluate.report.comparison_pages import write_comparison
from segment_concept.evaluate.report.summary import Report
from segment_concept.evaluate.report.write import write_report
from segment_concept.evaluate.run_folder import Manifest, RunFolder
from segment_concept.evaluate.runner import (
    Executor,
    ProgressCallback,
    RunProgress,
    WorkerOptions,
    estimated_rate,
    predict_all,
    remaining_work,
)
from segment_concept.evaluate.scores import Scores, write_scores
from segment_concept.evaluate.scoring import Work, refuse_unscorable, score_dataset
from segment_concept.evaluate.submission import write_submission
from segment_concept.evaluate.tracker_source import TrackerSource
from segment_concept.evaluate.worker import PredictionWorker
from segment_concept.runtime.names import printable
from segment_concept.runtime.versions import versions
from segment_concept.types import InputError

if TYPE_CHECKING:  # recipes load torch, which `--help` does not need
    from segment_concept.recipes.network_options import NetworkOptions

log = logging.getLogger("segment_concept.evaluate")


@dataclass(frozen=True, slots=True)
class Assignment:
    """Options of the command that are the same for every recipe."""

    dataset: Dataset
    rules: ScoringProtocol
    options: WorkerOptions
    device: str
    alone: bool
    offline: bool
    command: str
    network: "NetworkOptions | None" = None

    def source(self, recipe: str) -> TrackerSource:
        """How the tracker of one recipe is loaded."""
        return TrackerSource(recipe, self.device, self.network)

    def check(self, recipe: str) -> None:
        """Refuse a recipe for which the options have no effect. Raises InputError."""
        if self.offline:
            self.source(recipe).check_offline()
        elif self.network is not None and self.network.given:
            self.source(recipe).resolve()

    def worker(self, recipe: str, folder: Path) -> PredictionWorker:
        """The prediction worker for one recipe and its run folder."""
        return PredictionWorker(
            self.source(recipe),
            self.dataset.named(set()),
            RunFolder(folder.absolute()),
            self.alone,
            self.options.threads(),
            self.offline,
        )


def evaluate(
    data: Annotated[Path, typer.Option("--data", "-d", help="Dataset folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to write or resume.")],
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe",
            "-r",
            help="Recipe name, or package.module:function that returns a recipe or a tracker. "
            "Repeat to compare several. Default: sec_compact.",
        ),
    ] = None,
    benchmark: Kind = None,
    split: Split = "val",
    truth: Truth = None,
    unseen: Unseen = None,
    protocol: ProtocolOption = None,
    window: Annotated[
        ScoringWindow, typer.Option(help="First scored frame of each object; see `score --help`.")
    ] = ScoringWindow.SIGHT,
    objects_alone: Annotated[
        bool,
        typer.Option(
            "--objects-alone", help="Track each object of a video in a session of its own."
        ),
    ] = False,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Track every video twice: the second time the concept encoder uses the keyframes "
            "of the whole video.",
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1, mps. Workers are spread over the GPUs.")
    ] = "auto",
    dtype: NumberType = None,
    size: InputSize = None,
    compiled: Compile = None,
    every: EveryFrame = None,
    workers: Annotated[
        int, typer.Option("--workers", "-w", min=1, help="Number of worker processes.")
    ] = 1,
    engine: Annotated[
        Executor, typer.Option(help="Local processes, or Ray (needs the extra `batch`).")
    ] = Executor.LOCAL,
    shard: Annotated[
        str,
        typer.Option(
            help="Process part i/n of the videos (job arrays): --shard "
            "$((SLURM_ARRAY_TASK_ID + 1))/$SLURM_ARRAY_TASK_COUNT (array from 0). All parts "
            "write to the same folder; the part that finishes last scores."
        ),
    ] = "1/1",
    retries: Annotated[
        int, typer.Option(min=0, help="How often to retry a video whose worker died.")
    ] = 2,
    submission: Annotated[
        Path | None,
        typer.Option(help="Also write a ZIP archive for the benchmark's server to this path."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the plan and the estimated time.")
    ] = False,
) -> None:
    """Run a recipe on a dataset, score the masks and write a report.

    \b
    segment-concept evaluate --data DAVIS --out RUN
    segment-concept evaluate --data DAVIS --out RUN --recipe sec_compact --recipe sam2_compact

    Run the same command again to resume an interrupted run. Ctrl-C, SIGTERM and SIGHUP stop it:
    finished videos are kept.

    Exit codes: 0 done, 1 some videos have no result, 2 invalid input, nothing was done, 130 stopped
    (run the same command again).
    """
    with plain_errors(), interrupting_signals():
        kind = benchmark or recognize_dataset(data)
        # Workers on other machines have another current folder.
        truth = None if truth is None else truth.absolute()
        dataset = open_dataset(kind, Source(data.absolute(), split, truth, unseen))
        refuse_unpredictable(dataset)
        recipes = recipe or ["sec_compact"]
        folders = _folders(recipes, out)
        _refuse_options(recipes, submission)
        rules = rules_for(kind, protocol, RuleOptions(window))
        refuse_unscorable(dataset, rules)
        options = WorkerOptions(engine, workers, retries, Shard.parse(shard))
        command = shlex.join(["segment-concept", *sys.argv[1:]])
        network = network_options(dtype, size, compiled, every)
        job = Assignment(dataset, rules, options, device, objects_alone, offline, command, network)
        for name in recipes:
            job.check(name)
        if dry_run:
            for name, folder in zip(recipes, folders, strict=True):
                _show_plan(job, job.worker(name, folder))
            return
        fingerprint = dataset_fingerprint(dataset)
        reports = [
            _run(job, job.worker(name, folder), fingerprint)
            for name, folder in zip(recipes, folders, strict=True)
        ]
        finished = [report for report in reports if report is not None]
        if len(finished) > 1:
            write_comparison(out, compare(folders))
            say(f"comparison: {out / 'comparison.md'}")
        if submission is not None and finished:
            write_submission(dataset, RunFolder(folders[0]).masks, submission)
            say(f"submission archive: {submission}")
    if any(not report.is_whole for report in finished):
        raise typer.Exit(INCOMPLETE)


def _folders(recipes: Sequence[str], out: Path) -> list[Path]:
    if len(set(recipes)) != len(recipes):
        raise InputError("a --recipe is given twice: give each recipe once")
    if len(recipes) == 1:
        return [out]
    return [out / name.replace(":", ".").replace(os.sep, "_") for name in recipes]


def _refuse_options(recipes: Sequence[str], submission: Path | None) -> None:
    if submission is not None and len(recipes) > 1:
        raise InputError("--submission needs exactly one --recipe: run the recipes separately")


def _show_plan(job: Assignment, worker: PredictionWorker) -> None:
    remaining = remaining_work(job.dataset, worker.run, job.options.shard)
    shard = job.options.shard
    part = "" if shard.is_all else f", shard {shard.index} of {shard.count}"
    say(
        f"{worker.source.name} on {job.dataset.benchmark.value} ({job.dataset.source.split}{part})"
        f" into {worker.run.path}: {len(remaining.pending)} videos with {remaining.frames} frames "
        f"to predict, {len(remaining.done)} done; {job.options.workers} workers "
        f"({job.options.executor.value})"
    )
    say(
        f"then scored with the protocol {job.rules.name}"
        if job.dataset.truth_is_complete
        else "not scored: the full annotations of this split are not available here"
    )
    rate = estimated_rate(job.dataset, worker, remaining)
    if rate is not None and remaining.pending:
        seconds = remaining.frames / rate / job.options.workers
        say(f"estimated time: {_duration(seconds)} ({rate:.2f} frames/s per worker, measured now)")


def _run(job: Assignment, worker: PredictionWorker, fingerprint: str) -> Report | None:
    """Predict; then score and report if no other shard is still running."""
    run = worker.run
    run.begin(_manifest(job, worker.source, fingerprint))
    with _progress(worker.source.name) as on_progress:
        failed = predict_all(job.dataset, worker, job.options, on_progress)
    for record in failed:
        say(f"error: skipped video {record.video}: {record.problem}", err=True)
    remaining = remaining_work(job.dataset, run, job.options.shard)
    waiting = [v for v in job.dataset.videos if run.record(v.name) is None]
    if waiting:
        say(f"{len(waiting)} videos remain for other shards; {len(remaining.done)} are done")
        if failed:
            raise typer.Exit(INCOMPLETE)
        return None
    scores = _scored(job, run)
    report = write_report(run, job.dataset, scores, job.command)
    _show(report, run)
    return report


def _manifest(job: Assignment, source: TrackerSource, fingerprint: str) -> Manifest:
    return Manifest(
        benchmark=job.dataset.benchmark.value,
        split=job.dataset.source.split,
        dataset=fingerprint,
        videos=tuple(video.name for video in job.dataset.videos),
        recipe=source.name,
        tracker=source.description(),
        alone=job.alone,
        offline=job.offline,
        versions={**versions(), "platform": f"{sys.platform} {platform.machine()}"},
    )


def _scored(job: Assignment, run: RunFolder) -> Scores | None:
    """Score the finished videos; None without full annotations or without predictions."""
    done = {video.name for video in job.dataset.videos if run.is_done(video.name)}
    if not job.dataset.truth_is_complete or not done:
        return None
    processes = job.options.workers if job.options.executor is Executor.LOCAL else os.cpu_count()
    work = Work(processes or 1, skip_broken=True)
    scores = score_dataset(job.dataset.named(done), run.masks, job.rules, work)
    write_scores(scores, run.path)
    return scores


def _show(report: Report, run: RunFolder) -> None:
    videos = len(report.manifest.videos)
    if report.headline:
        rules = report.protocol if report.official else f"{report.protocol} (not official)"
        row = "  ".join(f"{name} {percent(value)}" for name, value in report.headline.items())
        say(f"{report.manifest.recipe} on {report.manifest.benchmark} by {rules}: {row}")
    if not report.is_whole:
        say(
            f"{len(report.broken)} of {videos} videos have no result: the score does not cover the "
            "whole dataset",
            err=True,
        )
    say(f"report: {run.path / 'report.html'}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


@contextmanager
def _progress(what: str) -> Iterator[ProgressCallback]:
    """Show finished videos, frames per second and remaining time, on a terminal only."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("videos  {task.fields[rate]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        line = bar.add_task(escape(printable(what)), total=None, rate="")

        def on_progress(progress: RunProgress) -> None:
            left = (
                ""
                if progress.seconds_left is None
                else f", {_duration(progress.seconds_left)} left"
            )
            rate = f"{progress.rate:.1f} frames/s{left}"
            bar.update(line, completed=progress.videos, total=progress.total_videos, rate=rate)

        yield on_progress


def register(app: typer.Typer) -> None:
    """Add `evaluate` to the command line."""
    app.command("evaluate")(evaluate)
