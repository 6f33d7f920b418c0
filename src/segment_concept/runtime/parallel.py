"""How a machine's cores are shared between things that can be done at the same time.

Several cores do several small things in less time than they all take for one after another: most
operators of a frame are too short to be worth dividing (docs/LOG.md has the measurements).
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
_AT_ONCE = 2 * SIDES  # three things on two cores end together, and not one after two

_POOL: ContextVar[Executor | None] = ContextVar("pool of side_by_side", default=None)


@contextmanager
def shared_cores() -> Iterator[None]:
    """Inside, torch has half of its threads for every operator, and `side_by_side` is what it says.

    For a caller that has something to do beside what is inside. Changes nothing where torch has a
    single thread.
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
    """Would `side_by_side` do things at the same time?"""
    return _POOL.get() is not None and torch.is_inference_mode_enabled()


def row_groups(count: int) -> list[slice]:
    """Rows of a batch to be worked on together: one by one where that is at the same time."""
    return [slice(n, n + 1) for n in range(count)] if sharing() else [slice(0, count)]


def side_by_side(work: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """`work(item)` of every item, in their order.

    At the same time inside `shared_cores` and torch's inference mode, one after another elsewhere.
    """
    pool = _POOL.get()
    if pool is None or not sharing() or len(items) < 2:
        return [work(item) for item in items]

    def inferred(item: A) -> B:
        with torch.inference_mode():  # a mode is a thread's own
            return work(item)

    return list(pool.map(inferred, items))
