"""Predict a dataset: the remaining videos, the workers, and progress."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice

from segment_concept.batch.folder_lock import run_locked
from segment_concept.batch.pool import InProcessPool, WorkerFactory, WorkerPool, distribute
from segment_concept.batch.process_pool import ProcessPool
from segment_concept.batch.shard import Shard
from segment_concept.datasets.types import Dataset, VideoEntry
from segment_concept.evaluate.predict import track_video, video_job
from segment_concept.evaluate.run_folder import RunFolder, VideoRecord
from segment_concept.evaluate.worker import LOG, Outcome, PredictionWorker, log_to
from segment_concept.types import InputError
from segment_concept.video.open import open_video

log = logging.getLogger("segment_concept.evaluate")

_SAMPLE = 5  # frames that are tracked to estimate a run


class Executor(str, Enum):
    """A pool of workers."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Number and place of workers, and how often a video is retried after its worker has died."""

    executor: Executor = Executor.LOCAL
    workers: int = 1
    retries: int = 2
    shard: Shard = field(default_factory=Shard)

    def make_pool(self, make_worker: WorkerFactory) -> WorkerPool:
        """Make the workers.

        Raises:
            InputError: Ray is not installed.
        """
        if self.executor is Executor.RAY:
            from segment_concept.batch.ray_pool import RayPool

            return RayPool(make_worker, self.workers)
        return (
            InProcessPool(make_worker)
            if self.workers == 1
            else ProcessPool(make_worker, self.workers)
        )

    def threads(self) -> int:
        """Threads of each of several workers on this machine; 0 for no limit."""
        if self.executor is Executor.RAY or self.workers == 1:
            return 0
        return max(1, (os.cpu_count() or 1) // self.workers)


@dataclass(frozen=True, slots=True)
class RemainingWork:
    """The videos that are not predicted yet, largest first, and those that are."""

    pending: tuple[VideoEntry, ...]
    done: tuple[VideoEntry, ...]
    others: int  # videos of other shards that are not done

    @property
    def frames(self) -> int:
        """Number of frames of the pending videos; 0 for video files of unknown length."""
        return sum(map(frame_count, self.pending))


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Progress of a run."""

    videos: int
    total_videos: int
    frames: int
    total_frames: int
    seconds: float

    @property
    def rate(self) -> float:
        """Frames per second, of all workers together."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Remaining time at this rate; None before the first result."""
        return (self.total_frames - self.frames) / self.rate if self.rate else None


ProgressCallback = Callable[[RunProgress], None]


def frame_count(video: VideoEntry) -> int:
    """Approximate number of frames of a video."""
    if video.movie is not None:
        return open_video(video.movie).info.frames or 0
    return len(video.pictures)


def remaining_work(dataset: Dataset, run: RunFolder, shard: Shard) -> RemainingWork:
    """Divide the videos of a dataset into pending (of this shard), done, and other shards'."""
    by_size = sorted(dataset.videos, key=lambda video: (-frame_count(video), video.name))
    ours = {video.name for video in shard.take(by_size)}
    done = {video.name for video in by_size if run.is_done(video.name)}
    return RemainingWork(
        tuple(video for video in by_size if video.name in ours - done),
        tuple(video for video in dataset.videos if video.name in done),
        len({video.name for video in by_size} - ours - done),
    )


def predict_all(
    dataset: Dataset,
    worker: PredictionWorker,
    options: WorkerOptions,
    on_progress: ProgressCallback,
) -> list[VideoRecord]:
    """Predict the pending videos. Returns the records of videos that could not be predicted.

    Raises:
        InputError: another run of the same shard is in progress.
        WorkerError: a worker cannot start, or the disk is full.
    """
    run = worker.run
    with run_locked(run.path, options.shard), _logging(run):
        remaining = remaining_work(dataset, run, options.shard)
        run.remove_partial([video.name for video in remaining.pending])
        log.info(
            "%d videos to predict, %d already done", len(remaining.pending), len(remaining.done)
        )
        progress = _ProgressLog(run, remaining, on_progress)
        pool = options.make_pool(worker)
        try:
            lost_units = distribute(remaining.pending, pool, options.retries, progress.write_record)
        finally:
            pool.close()
            run.remove_partial([video.name for video in remaining.pending])  # of lost workers
        for unit in lost_units:
            reasons = "; ".join(unit.reasons)
            problem = f"its worker died {len(unit.reasons)} times: {reasons}"
            progress.write_record(unit.unit, Outcome(VideoRecord(unit.unit.name, None, problem)))
        return sorted(progress.failed, key=lambda record: record.video)


class _ProgressLog:
    """Reports progress, and records failed videos."""

    def __init__(
        self, run: RunFolder, remaining: RemainingWork, on_progress: ProgressCallback
    ) -> None:
        self.failed: list[VideoRecord] = []
        self._run, self._remaining, self._on_progress = run, remaining, on_progress
        self._started = time.perf_counter()
        self._videos = self._frames = 0

    def write_record(self, video: VideoEntry, outcome: Outcome) -> None:
        """Record the outcome of one video."""
        self._videos += 1
        self._frames += frame_count(video)
        record = outcome.record
        if record.prediction is None:
            self._run.write_record(record)
            self.failed.append(record)
            log.error("video %s failed and is skipped: %s", record.video, record.problem)
            if outcome.trace:
                log.info("%s", outcome.trace)
        elapsed = time.perf_counter() - self._started
        counts = (self._videos, len(self._remaining.pending), self._frames, self._remaining.frames)
        progress = RunProgress(*counts, elapsed)
        if outcome.cost is not None:
            rate = outcome.cost.frames / max(outcome.cost.seconds, 1e-9)
            log.info("video %s: %d frames, %.2f frames/s", video.name, outcome.cost.frames, rate)
        seconds_left = (
            f"{progress.seconds_left:.0f} s" if progress.seconds_left is not None else "unknown"
        )
        log.info(
            "%d of %d videos, %.2f frames/s, left: %s", *counts[:2], progress.rate, seconds_left
        )
        self._on_progress(progress)


@contextmanager
def _logging(run: RunFolder) -> Iterator[None]:
    handler = log_to(run.path / LOG)
    try:
        yield
    finally:
        logging.getLogger("segment_concept").removeHandler(handler)
        handler.close()


def estimated_rate(
    dataset: Dataset, worker: PredictionWorker, remaining: RemainingWork
) -> float | None:
    """Frames per second of one worker, from finished videos or from tracking a few frames now."""
    costs = [cost for video in remaining.done if (cost := worker.run.cost(video.name))]
    if costs:
        return sum(cost.frames for cost in costs) / max(sum(cost.seconds for cost in costs), 1e-9)
    if not remaining.pending:
        return None
    tracker = worker.source.load(0)
    for video in remaining.pending:
        try:
            job = video_job(dataset, video, alone=worker.alone)
            with closing(track_video(tracker, job)) as steps:
                return _timed(islice(steps, _SAMPLE))
        except InputError:
            continue  # try another video
    return None


def _timed(steps: Iterator[object]) -> float | None:
    next(steps)  # the first frame takes longer
    started, count = time.perf_counter(), 0
    for _ in steps:
        count += 1
    return count / max(time.perf_counter() - started, 1e-9) if count else None
