"""Score a dataset: plan, score the videos on one or more processes, average."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2

from segment_concept.datasets.findings import Finding, error, errors_of
from segment_concept.datasets.masks import PngLayer
from segment_concept.datasets.types import Dataset
from segment_concept.evaluate.pairing import VideoTask
from segment_concept.evaluate.protocols.registry import ScoringProtocol
from segment_concept.evaluate.scores import Scores, VideoScores
from segment_concept.types import InputError

_SHOWN = 10

Progress = Callable[[int, int], None]  # videos done, videos in all


class ScoringError(InputError):
    """Some videos cannot be scored; `findings` has the reasons."""

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True)
class Work:
    """Options of scoring.

    `skip_broken` leaves out videos that cannot be scored; they stay in the findings.
    """

    processes: int = 1
    skip_broken: bool = False
    progress: Progress | None = None


def score_dataset(
    dataset: Dataset, predictions: Path, rules: ScoringProtocol, work: Work
) -> Scores:
    """Score predictions on disk against a dataset.

    Raises:
        ScoringError: some videos cannot be scored and `skip_broken` is off, or none can.
        InputError: nothing can be scored, for example predictions of another dataset.
    """
    plan = rules.plan(dataset, predictions)
    if not work.skip_broken:
        _refuse_broken(plan.findings)
    videos = score_tasks(plan.tasks, rules, work)
    findings = plan.findings + tuple(f for video in videos for f in video.findings)
    if not work.skip_broken or not any(video.objects for video in videos):
        _refuse_broken(findings)
    objects = tuple(scored for video in videos for scored in video.objects)
    return Scores(rules.name, rules.official, rules.headline(objects), objects, findings)


def refuse_unscorable(dataset: Dataset, rules: ScoringProtocol) -> None:
    """Check before predicting that the result can be scored, with the truth as predictions.

    Raises:
        InputError: it cannot be scored, for example because the list of unseen videos is missing.
    """
    video = dataset.videos[0]
    layer = video.layers[0] if video.layers else None
    if not dataset.truth_is_complete or not isinstance(layer, PngLayer):
        return
    masks = layer.folder if layer.folder.name == video.name else layer.folder.parent
    rules.plan(dataset, masks.parent)


def _refuse_broken(findings: Sequence[Finding]) -> None:
    broken = errors_of(findings)
    if not broken:
        return
    lines = [f"  - {finding}" for finding in broken[:_SHOWN]]
    if len(broken) > _SHOWN:
        lines.append(f"  - and {len(broken) - _SHOWN} more")
    count = len({finding.video for finding in broken})
    head = "1 video cannot be scored:" if count == 1 else f"{count} videos cannot be scored:"
    raise ScoringError("\n".join([head, *lines]), findings)


def score_tasks(
    tasks: Sequence[VideoTask], rules: ScoringProtocol, work: Work
) -> list[VideoScores]:
    """Score each video; a video that cannot be scored has the error as a finding.

    The results are in the order of the tasks, for any number of processes.
    """
    if work.processes <= 1 or len(tasks) <= 1:
        return list(_one_by_one(tasks, rules, work.progress))
    return _in_processes(tasks, rules, work)


def _one_by_one(
    tasks: Sequence[VideoTask], rules: ScoringProtocol, progress: Progress | None
) -> Iterator[VideoScores]:
    with _single_threaded_opencv():
        for done, task in enumerate(tasks, 1):
            yield score_task(task, rules)
            if progress is not None:
                progress(done, len(tasks))


def _in_processes(
    tasks: Sequence[VideoTask], rules: ScoringProtocol, work: Work
) -> list[VideoScores]:
    # Spawn, not fork: the caller may have threads and a GPU context.
    context = multiprocessing.get_context("spawn")
    results: dict[int, VideoScores] = {}
    count = min(work.processes, len(tasks))
    with ProcessPoolExecutor(count, context, cv2.setNumThreads, (1,)) as pool:
        futures = {pool.submit(score_task, t, rules): i for i, t in enumerate(tasks)}
        try:
            for done, future in enumerate(as_completed(futures), 1):
                results[futures[future]] = future.result()
                if work.progress is not None:
                    work.progress(done, len(tasks))
        except BrokenProcessPool as broken:
            raise ScoringError(
                "a scoring process died, possibly out of memory: use fewer --processes"
            ) from broken
    return [results[i] for i in range(len(tasks))]


def score_task(task: VideoTask, rules: ScoringProtocol) -> VideoScores:
    """Score one video; bad input becomes a finding instead of an exception."""
    try:
        return rules.score(task)
    except InputError as wrong:
        return VideoScores(task.video.name, (), (error(str(wrong), task.video.name),))


@contextmanager
def _single_threaded_opencv() -> Iterator[None]:
    """Disable OpenCV's threads, which slow down work on masks; restore the setting after."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
