"""Handing units of work to workers, and what to do when one is lost."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from segment_concept.types import SegmentConceptError

Unit = Any  # what a worker is given; it must survive pickling
Result = Any
Work = Callable[[Unit], Result]
WorkerFactory = Callable[
    [int], Work
]  # makes a worker ready, once; it is told the number of its place


class WorkerError(SegmentConceptError):
    """A worker cannot do its work at all, so that trying again is of no use."""


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """What became of the unit that the worker in `place` had.

    `lost` says how the worker died; else there is a `result`.
    """

    worker_index: int
    result: Result = None
    lost: str = ""


class WorkerPool(Protocol):
    """Workers, each in a numbered place, each with one unit at a time.

    Contract, held by one test suite over every crew: a lost worker is told of once, and its place
    can be given the next unit at once; an exception in a worker ends everything as WorkerError.
    """

    @property
    def size(self) -> int:
        """How many places there are."""
        ...

    def give(self, worker_index: int, unit: Unit) -> None:
        """Set the worker in an idle place to work; it is made ready first where there is none."""
        ...

    def wait(self) -> list[WorkerEvent]:
        """Sleep until some worker has finished or was lost.

        Raises:
            WorkerError: a worker raised an exception.
        """
        ...

    def close(self) -> None:
        """End all workers."""
        ...


@dataclass(frozen=True, slots=True)
class FailedUnit:
    """A unit that was given up, with the ways in which its workers died."""

    unit: Unit
    reasons: tuple[str, ...]


@dataclass(slots=True)
class _Try:
    unit: Unit
    reasons: tuple[str, ...] = ()


def distribute(
    units: Sequence[Unit], crew: WorkerPool, retries: int, done: Callable[[Unit, Result], None]
) -> list[FailedUnit]:
    """Work through the units in order; `done` is told of each result as it comes.

    The unit of a lost worker is tried again, last, at most `retries` times; units that were given
    up are returned.

    Raises:
        WorkerError: a worker raised an exception.
    """
    waiting = deque(_Try(unit) for unit in units)
    idle = list(range(crew.size))
    busy: dict[int, _Try] = {}
    given_up: list[FailedUnit] = []
    while waiting or busy:
        while waiting and idle:
            worker_index = idle.pop(0)
            busy[worker_index] = waiting.popleft()
            crew.give(worker_index, busy[worker_index].unit)
        for news in crew.wait():
            attempt = busy.pop(news.worker_index)
            idle.append(news.worker_index)
            if not news.lost:
                done(attempt.unit, news.result)
                continue
            attempt.reasons += (news.lost,)
            if len(attempt.reasons) > retries:
                given_up.append(FailedUnit(attempt.unit, attempt.reasons))
            else:
                waiting.append(attempt)
    return given_up


class InProcessPool:
    """A crew of one: this process."""

    size = 1

    def __init__(self, opener: WorkerFactory) -> None:
        self._opener = opener
        self._work: Work | None = None
        self._unit: Unit = None

    def give(self, worker_index: int, unit: Unit) -> None:
        """Keep the unit until `wait`."""
        self._unit = unit

    def wait(self) -> list[WorkerEvent]:
        """Do the work. Raises what it raises."""
        if self._work is None:
            self._work = self._opener(0)
        return [WorkerEvent(0, self._work(self._unit))]

    def close(self) -> None:
        """Nothing to end."""
