"""Bounded queue between two threads, to read ahead and to write in the background.

`read_ahead` reads frames while earlier ones are tracked. `BackgroundWorker` writes results while
later frames are tracked. Neither keeps more than `depth` items.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from threading import Condition, Thread
from typing import Generic, TypeVar

T = TypeVar("T")

JOIN_SECONDS = 5.0  # seconds to wait for a reader that hangs in a dead stream


class BoundedQueue(Generic[T]):
    """A queue into which one thread puts and from which another gets; either can end it."""

    def __init__(self, depth: int, *, newest_only: bool = False) -> None:
        if depth < 1:
            raise ValueError(f"the queue needs room for at least 1 item, got {depth}")
        self._items: deque[T] = deque()
        self._depth = depth
        self._newest_only = newest_only
        self._changed = Condition()
        self._ended = False  # no more items will be put
        self._closed = False  # no more items will be taken
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Wait for room, or with `newest_only` drop the oldest item; False if nobody gets items."""
        with self._changed:
            if self._newest_only and len(self._items) >= self._depth:
                self._items.popleft()
            self._changed.wait_for(lambda: len(self._items) < self._depth or self._closed)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def end(self, error: BaseException | None = None) -> None:
        """End the queue; `error` is raised in the thread that gets items."""
        with self._changed:
            self._ended = True
            self._error = error
            self._changed.notify_all()

    def get(self) -> T:
        """Wait for an item.

        Raises:
            StopIteration: the queue has ended. If it was ended with an error, that error is raised.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            raise StopIteration

    def close(self) -> None:
        """Tell the other thread that no more items will be taken."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


def read_ahead(
    items: Iterable[T], depth: int = 4, *, newest_only: bool = False
) -> Generator[T, None, None]:
    """Iterate over `items` with another thread that reads ahead.

    `newest_only` is for live sources: if items come too fast, the oldest are dropped.
    Closing the iterator stops the thread.
    """
    pipe: BoundedQueue[T] = BoundedQueue(depth, newest_only=newest_only)

    def read() -> None:
        try:
            for item in items:
                if not pipe.put(item):
                    break
            if isinstance(items, Generator):
                items.close()  # closes the file in the thread that reads it
        except BaseException as error:
            pipe.end(error)
        else:
            pipe.end()

    thread = Thread(target=read, name="segment-concept-reader", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = pipe.get()
            except StopIteration:
                return
            yield item
    finally:
        pipe.close()
        thread.join(JOIN_SECONDS)


class BackgroundWorker(Generic[T]):
    """Calls `work` on items in order, in another thread. An error stops it and is raised here."""

    def __init__(self, work: Callable[[T], None], depth: int = 2) -> None:
        self._work = work
        self._pipe: BoundedQueue[T] = BoundedQueue(depth)
        self._done = Condition()
        self._pending = 0
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="segment-concept-writer", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Wait for room and pass the item on. Raises the error of an earlier item."""
        self._check()
        with self._done:
            self._pending += 1
        if not self._pipe.put(item):
            self._check()

    def drain(self) -> None:
        """Wait until all items are done. Raises the error of any of them."""
        with self._done:
            self._done.wait_for(lambda: self._pending == 0 or self._error is not None)
        self._check()

    def stop(self) -> None:
        """Finish the items that were put, then end the thread. Raises nothing."""
        self._pipe.end()
        self._thread.join()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with suppress(StopIteration):
                while True:
                    self._work(self._pipe.get())
                    with self._done:
                        self._pending -= 1
                        self._done.notify_all()
        except BaseException as error:
            with self._done:
                self._error = error
                self._done.notify_all()
            self._pipe.close()
