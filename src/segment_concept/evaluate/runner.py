"""Predicting a dataset: what is left to do, who does it, and how far it has come."""

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


class Engine(str, Enum):
    """Who works."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How many work, where, and how often a video is tried again when its worker is lost."""

    engine: Engine = Engine.LOCAL
    workers: int = 1
    retries: int = 2
    shard: Shard = field(default_factory=Shard)

    def crew(self, opener: WorkerFactory) -> WorkerPool:
        """The workers.

        Raises:
            InputError: Ray is wanted and not installed.
        """
        if self.engine is Engine.RAY:
            from segment_concept.batch.ray_pool import RayPool

            return RayPool(opener, self.workers)
        return InProcessPool(opener) if self.workers == 1 else ProcessPool(opener, self.workers)

    def threads(self) -> int:
        """With which each of several workers on this machine computes; 0 for no limit."""
        if self.engine is Engine.RAY or self.workers == 1:
            return 0
        return max(1, (os.cpu_count() or 1) // self.workers)


@dataclass(frozen=True, slots=True)
class RemainingWork:
    """What is left to do, largest videos first, and what was done before."""

    pending: tuple[VideoEntry, ...]
    done: tuple[VideoEntry, ...]
    others: int  # videos of other shards that are not done

    @property
    def frames(self) -> int:
        """In all pending videos; movies whose length is not known count as none."""
        return sum(map(frame_count, self.pending))


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run has come."""

    videos: int
    of_videos: int
    frames: int
    of_frames: int
    seconds: float

    @property
    def rate(self) -> float:
        """Frames a second, all workers together."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None before anything is done."""
        return (self.of_frames - self.frames) / self.rate if self.rate else None


ProgressCallback = Callable[[RunProgress], None]


def frame_count(video: VideoEntry) -> int:
    """About how many frames a video has."""
    if video.movie is not None:
        return open_video(video.movie).info.frames or 0
    return len(video.pictures)


def what_to_do(dataset: Dataset, run: RunFolder, shard: Shard) -> RemainingWork:
    """Sort a dataset's videos into what is ours to do, what is done and what is others'."""
    by_size = sorted(dataset.videos, key=lambda video: (-frame_count(video), video.name))
    ours = {video.name for video in shard.take(by_size)}
    done = {video.name for video in by_size if run.is_done(video.name)}
    return RemainingWork(
        tuple(video for video in by_size if video.name in ours - done),
        tuple(video for video in dataset.videos if video.name in done),
        len({video.name for video in by_size} - ours - done),
    )


def predict_all(
    dataset: Dataset, station: PredictionWorker, workforce: WorkerOptions, tell: ProgressCallback
) -> list[VideoRecord]:
    """Predict what is left to do; returns the records of videos that could not be predicted.

    Raises:
        InputError: another run is at the same work.
        WorkerError: a worker cannot work at all (no weights, say, or a full disk).
    """
    run = station.run
    with run_locked(run.path, workforce.shard), _logging(run):
        todo = what_to_do(dataset, run, workforce.shard)
        run.remove_partial([video.name for video in todo.pending])
        log.info("%d videos to predict, %d done before", len(todo.pending), len(todo.done))
        diary = _ProgressLog(run, todo, tell)
        crew = workforce.crew(station)
        try:
            lost = distribute(todo.pending, crew, workforce.retries, diary.write_record)
        finally:
            crew.close()
            run.remove_partial([video.name for video in todo.pending])  # of lost workers
        for unit in lost:
            tries = "; ".join(unit.reasons)
            problem = f"its worker was lost {len(unit.reasons)} times: {tries}"
            diary.write_record(unit.unit, Outcome(VideoRecord(unit.unit.name, None, problem)))
        return sorted(diary.broken, key=lambda record: record.video)


class _ProgressLog:
    """Keeps count, and writes down what workers cannot: that a video failed."""

    def __init__(self, run: RunFolder, todo: RemainingWork, tell: ProgressCallback) -> None:
        self.broken: list[VideoRecord] = []
        self._run, self._todo, self._tell = run, todo, tell
        self._started = time.perf_counter()
        self._videos = self._frames = 0

    def write_record(self, video: VideoEntry, outcome: Outcome) -> None:
        """Take down one video's outcome."""
        self._videos += 1
        self._frames += frame_count(video)
        record = outcome.record
        if record.prediction is None:
            self._run.write_record(record)
            self.broken.append(record)
            log.error("video %s is broken and skipped: %s", record.video, record.problem)
            if outcome.trace:
                log.info("%s", outcome.trace)
        elapsed = time.perf_counter() - self._started
        counts = (self._videos, len(self._todo.pending), self._frames, self._todo.frames)
        advance = RunProgress(*counts, elapsed)
        if outcome.cost is not None:
            rate = outcome.cost.frames / max(outcome.cost.seconds, 1e-9)
            log.info("video %s: %d frames, %.2f a second", video.name, outcome.cost.frames, rate)
        left = f"{advance.seconds_left:.0f} s" if advance.seconds_left is not None else "unknown"
        log.info("%d of %d videos, %.2f frames/s, left: %s", *counts[:2], advance.rate, left)
        self._tell(advance)


@contextmanager
def _logging(run: RunFolder) -> Iterator[None]:
    handler = log_to(run.path / LOG)
    try:
        yield
    finally:
        logging.getLogger("segment_concept").removeHandler(handler)
        handler.close()


def estimated_rate(
    dataset: Dataset, station: PredictionWorker, todo: RemainingWork
) -> float | None:
    """Frames a second of one worker: of what is done, or of a few frames tracked here and now."""
    costs = [cost for video in todo.done if (cost := station.run.cost(video.name))]
    if costs:
        return sum(cost.frames for cost in costs) / max(sum(cost.seconds for cost in costs), 1e-9)
    if not todo.pending:
        return None
    tracker = station.source.load(0)
    for video in todo.pending:
        try:
            job = video_job(dataset, video, alone=station.alone)
            with closing(track_video(tracker, job)) as steps:
                return _timed(islice(steps, _SAMPLE))
        except InputError:
            continue  # a broken video says nothing of the others
    return None


def _timed(steps: Iterator[object]) -> float | None:
    next(steps)  # the first frame is unlike the others
    started, count = time.perf_counter(), 0
    for _ in steps:
        count += 1
    return count / max(time.perf_counter() - started, 1e-9) if count else None
