"""Share the cores of a machine between tasks that can run at the same time.

Several small tasks at once take less time than one after another on all cores: most operators of a
frame are too short to be worth splitting (measurements in docs/LOG.md).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")

SIDES = 2
_AT_ONCE = 2 * SIDES  # lets three tasks on two cores end at the same time

_POOL: ContextVar[Executor | None] = ContextVar("pool of side_by_side", default=None)


class _ThreadShare:
    """Halves torch's threads for as long as anyone shares cores.

    Users are counted, because torch's setting belongs to the whole process and iterators that
    share cores can end in any order.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._before = 0

    def enter(self) -> bool:
        """False with a single thread, which cannot be shared."""
        with self._lock:
            if self._users == 0:
                self._before = torch.get_num_threads()
                if self._before < SIDES:
                    return False
                torch.set_num_threads(self._before // SIDES)
            self._users += 1
            return True

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                torch.set_num_threads(self._before)


_SHARE = _ThreadShare()


@contextmanager
def core_pool() -> Iterator[Executor | None]:
    """Inside, torch has half of its threads per operator, and there is a pool for the other half.

    Yields None, and changes nothing, where torch has a single thread.
    """
    if not _SHARE.enter():
        yield None
        return
    try:
        with ThreadPoolExecutor(_AT_ONCE, "side") as pool:
            yield pool
    finally:
        _SHARE.leave()


@contextmanager
def pool_in_use(pool: Executor | None) -> Iterator[None]:
    """Inside, `side_by_side` uses the pool. Without one nothing changes."""
    if pool is None:
        yield
        return
    token = _POOL.set(pool)
    try:
        yield
    finally:
        _POOL.reset(token)


@contextmanager
def shared_cores() -> Iterator[None]:
    """`core_pool` and `pool_in_use` together, for a piece of work that does not yield."""
    with core_pool() as pool, pool_in_use(pool):
        yield


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
