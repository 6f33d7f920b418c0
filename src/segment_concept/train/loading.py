"""Examples of every step, loaded ahead in worker processes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic

import torch
from torch.utils.data import DataLoader, Dataset

from segment_concept.train.task import Example, LoopOptions, Request, TrainingTask
from segment_concept.types import InputError, SegmentConceptError

_FEWEST = 100  # examples before the share of replaced ones is judged
_MOST_REPLACED = 0.01  # share of examples
_NAMED = 5  # videos in the message


def share_of(requests: Sequence[Request], rank: int, ranks: int) -> Sequence[Request]:
    """The examples of a process: neighbors stay together, because they may share a video.

    Raises:
        InputError: the examples cannot be dealt out evenly.
    """
    if len(requests) % ranks:
        raise InputError(
            f"a step has {len(requests)} examples, which {ranks} processes cannot share evenly: "
            "start another number of processes, or change --batch"
        )
    size = len(requests) // ranks
    return requests[rank * size : (rank + 1) * size]


def loaded_steps(
    task: TrainingTask[Any, Any], options: LoopOptions, steps: range, rank: int, ranks: int
) -> Iterator[list[Any]]:
    """The examples of one process for each step; one worker loads all of a step.

    Raises:
        InputError: see `share_of`; or what the task's loader raises.
    """
    loader = DataLoader(
        _Shares(task.loader()),
        batch_size=None,
        sampler=_Requests(task, steps, rank, ranks),
        num_workers=options.workers,
        prefetch_factor=options.prefetch if options.workers else None,
        # a fork inherits OpenCV's dead thread pool
        multiprocessing_context="spawn" if options.workers else None,
        collate_fn=_unchanged,
        worker_init_fn=_single_threaded,
    )
    for found in loader:
        if isinstance(found, SegmentConceptError):
            raise found
        yield found


class _Requests:
    """The shares of one process, step by step, as a sampler."""

    def __init__(self, task: TrainingTask[Any, Any], steps: range, rank: int, ranks: int) -> None:
        self._task, self._steps, self._rank, self._ranks = task, steps, rank, ranks

    def __iter__(self) -> Iterator[Any]:
        for step in self._steps:
            yield share_of(self._task.requests(step), self._rank, self._ranks)

    def __len__(self) -> int:
        return len(self._steps)


class _Shares(Dataset[Any], Generic[Request, Example]):
    """Requests -> examples; errors with a message for the user are returned, not raised.

    A DataLoader adds the worker's traceback to the message of what is raised.
    """

    def __init__(self, load: Callable[[Request], Example]) -> None:
        self._load = load

    def __getitem__(self, requests: Sequence[Request]) -> list[Example] | SegmentConceptError:
        try:
            return [self._load(request) for request in requests]
        except SegmentConceptError as error:
            return error


def _unchanged(examples: Any) -> Any:
    return examples


def _single_threaded(worker: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


class Refusals:
    """Counts the examples that were replaced because they could not be read."""

    def __init__(self) -> None:
        self._examples, self._replaced = 0, 0
        self._sentences: dict[str, str] = {}  # why, by the name of a video

    def add(self, examples: int, refused: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
        """Count the examples of a step. Returns the sentences that are new.

        Args:
            examples: their number.
            refused: for every example that was replaced, names of videos and what is wrong.

        Raises:
            InputError: more than 1 % of at least 100 examples were replaced.
        """
        self._examples += examples
        self._replaced += len(refused)
        found = dict(pair for pairs in refused for pair in pairs)
        new = {name: why for name, why in found.items() if name not in self._sentences}
        self._sentences |= new
        if self._examples >= _FEWEST and self._replaced > _MOST_REPLACED * self._examples:
            raise InputError(
                f"{self._replaced} of {self._examples} examples could not be read, which is more "
                f"than 1 %; the first reason: {next(iter(self._sentences.values()))}. "
                f"Repair or leave out {', '.join(list(self._sentences)[:_NAMED])}"
            )
        return list(new.values())
