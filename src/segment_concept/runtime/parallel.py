"""Share the cores of a machine between tasks that can run at the same time.

Several small tasks at once take less time than one after another on all cores: most operators of a
frame are too short to be worth splitting (measurements in docs/LOG.md).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")

SIDES = 2
_AT_ONCE = 2 * SIDES  # lets three tasks on two cores end at the same time

_POOL: ContextVar[Executor | None] = ContextVar("pool of side_by_side", default=None)


@contextmanager
def shared_cores() -> Iterator[None]:
    """Split torch's threads between two concurrent tasks, and let `side_by_side` use threads.

    No effect if torch uses one thread.
    """
    threads = torch.get_num_threads()
    if threads < SIDES:
        yield
        return
    torch.set_num_threads(threads // SIDES)
    with ThreadPoolExecutor(_AT_ONCE, "side") as pool:
        before = _POOL.set(pool)
        try:
            yield
        finally:
            _POOL.reset(before)
            torch.set_num_threads(threads)


def sharing() -> bool:
    """Whether `side_by_side` runs tasks at the same time."""
    return _POOL.get() is not None and torch.is_inference_mode_enabled()


def row_groups(count: int) -> list[slice]:
    """Groups of rows of a batch: single rows if these run at the same time, else all together."""
    return [slice(n, n + 1) for n in range(count)] if sharing() else [slice(0, count)]


def side_by_side(work: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """The results of `work(item)`, in the order of the items.

    At the same time inside `shared_cores` and torch's inference mode, otherwise one by one.
    """
    pool = _POOL.get()
    if pool is None or not sharing() or len(items) < 2:
        return [work(item) for item in items]

    def inferred(item: A) -> B:
        with torch.inference_mode():  # each thread has its own mode
            return work(item)

    return list(pool.map(inferred, items))
