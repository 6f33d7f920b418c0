"""Distribute units of work over workers, and retry the units of lost workers."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from segment_concept.types import SegmentConceptError

Unit = Any  # a unit of work; it must be picklable
Result = Any
Work = Callable[[Unit], Result]
WorkerFactory = Callable[[int], Work]  # prepares a worker once, given its index


class WorkerError(SegmentConceptError):
    """A worker cannot work at all, so that another try is useless."""


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """Result of the unit that the worker `worker_index` had.

    `lost` says how the worker died; else there is a `result`.
    """

    worker_index: int
    result: Result = None
    lost: str = ""


class WorkerPool(Protocol):
    """Numbered workers with one unit each at a time.

    Contract, tested for every pool: a lost worker is reported once, and its index can be given the
    next unit immediately; an exception in a worker ends everything with a WorkerError.
    """

    @property
    def size(self) -> int:
        """Number of workers."""
        ...

    def give(self, worker_index: int, unit: Unit) -> None:
        """Give a unit to an idle worker; a missing worker is started first."""
        ...

    def wait(self) -> list[WorkerEvent]:
        """Wait until a worker has finished or was lost.

        Raises:
            WorkerError: a worker raised an exception.
        """
        ...

    def close(self) -> None:
        """Stop all workers."""
        ...


@dataclass(frozen=True, slots=True)
class FailedUnit:
    """A unit that was given up, with the reasons for which its workers died."""

    unit: Unit
    reasons: tuple[str, ...]


@dataclass(slots=True)
class _Try:
    unit: Unit
    reasons: tuple[str, ...] = ()


def distribute(
    units: Sequence[Unit], crew: WorkerPool, retries: int, done: Callable[[Unit, Result], None]
) -> list[FailedUnit]:
    """Distribute the units in order; `done` is called with each result.

    The unit of a lost worker is tried again at the end, at most `retries` times. Returns the units
    that were given up.

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
    """A single worker in this process."""

    size = 1

    def __init__(self, opener: WorkerFactory) -> None:
        self._opener = opener
        self._work: Work | None = None
        self._unit: Unit = None

    def give(self, worker_index: int, unit: Unit) -> None:
        """Keep the unit until `wait`."""
        self._unit = unit

    def wait(self) -> list[WorkerEvent]:
        """Do the work. Raises its errors."""
        if self._work is None:
            self._work = self._opener(0)
        return [WorkerEvent(0, self._work(self._unit))]

    def close(self) -> None:
        """Nothing to stop."""
