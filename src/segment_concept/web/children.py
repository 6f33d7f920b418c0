"""A spawned process that answers requests, so that what crashes or hangs there does no harm here.

Messages are frozen dataclasses of this package. What comes from a child, which reads files that a
stranger may have made, is unpickled only where it is made of such values.
"""

import asyncio
import io
import logging
import multiprocessing
import os
import pickle
import queue
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from enum import Enum
from multiprocessing.connection import Connection, wait
from typing import Any, TypeAlias

from segment_concept.types import SegmentConceptError

log = logging.getLogger(__name__)

_NUMPY = {
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy": {"ndarray", "dtype"},
}
_OTHERS = frozenset(
    {("fractions", "Fraction"), ("pathlib", "PosixPath"), ("pathlib", "WindowsPath")}
)
_SOURCES = frozenset({"VideoFile", "ImageFolder", "AnimatedImage"})
_PATIENCE = 3.0  # seconds in which a child should exit by itself
Link: TypeAlias = "Connection[Any, Any]"


@dataclass(frozen=True, slots=True)
class Request:
    """A message that expects a reply with the same number."""

    number: int
    content: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request led to: content, or the sentence of an error."""

    number: int
    content: Any = None
    error: str = ""
    kind: str = ""  # of the error: input, output, other


class ChildError(SegmentConceptError):
    """The process has died, or never came up; the message is for the page."""


class RemoteError(SegmentConceptError):
    """A request was refused or failed in the child; the message is for the page."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Child:
    """The parent's end. Used from the event loop; two threads move the messages.

    Args:
        target: runs in the child with its end of the pipe and `args`.
        args: picklable.
        name: of the process.
        on_message: called in the event loop with messages that are no replies.
        on_death: called in the event loop with a sentence when the process has ended unasked.
    """

    def __init__(
        self,
        target: Callable[..., None],
        args: tuple[Any, ...],
        name: str,
        on_message: Callable[[Any], None],
        on_death: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message, self._on_death = on_message, on_death
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._closing = False
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._link, theirs = multiprocessing.Pipe()
        self.process = self._begin(theirs, target, args, name)
        for work in (self._send_all, self._receive_all):
            threading.Thread(target=work, name=name, daemon=True).start()

    def _begin(
        self, theirs: Link, target: Callable[..., None], args: tuple[Any, ...], name: str
    ) -> Any:
        context = multiprocessing.get_context("spawn")
        serve = (theirs, target, args)
        process = context.Process(target=_serve, args=serve, name=name, daemon=True)
        process.start()
        theirs.close()
        return process

    @property
    def is_alive(self) -> bool:
        """Whether the process runs and was not told to end."""
        return not self._closing and self.process.is_alive()

    def tell(self, content: Any) -> None:
        """Send a message that expects no reply."""
        self._outbox.put(pickle.dumps(content))

    def ask(self, content: Any) -> "asyncio.Future[Any]":
        """Send a request; the reply comes later.

        Raises (when awaited):
            RemoteError: the child has refused it.
            ChildError: the process has died.
        """
        self._number += 1
        found: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[self._number] = found
        if not self.process.is_alive():
            self._ended()
        else:
            self.tell(Request(self._number, content))
        return found

    def kill(self) -> None:
        """End the process at once; `on_death` is not called."""
        self._closing = True
        self.process.kill()
        self._outbox.put(None)

    async def close(self) -> None:
        """Let the process finish what it does, for a moment, then end it."""
        self._closing = True
        self._outbox.put(None)
        await asyncio.to_thread(self.process.join, _PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            await asyncio.to_thread(self.process.join)

    def _send_all(self) -> None:
        with suppress(OSError, ValueError):
            while (content := self._outbox.get()) is not None:
                self._link.send_bytes(content)
            self._link.send_bytes(pickle.dumps(None))

    def _receive_all(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                message = _loads(self._link.recv_bytes())
                self._later(self._hear, message)
        self.process.join()
        self._outbox.put(None)
        self._later(self._ended)

    def _later(self, work: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(work, *args)

    def _hear(self, message: Any) -> None:
        if not isinstance(message, Reply):
            self._on_message(message)
            return
        waiting = self._waiting.pop(message.number, None)
        if waiting is None or waiting.done():
            return
        if message.error:
            waiting.set_exception(RemoteError(message.error, message.kind))
        else:
            waiting.set_result(message.content)

    def _ended(self) -> None:
        reason = _cause(self.process.exitcode)
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            if not each.done():
                each.set_exception(ChildError(reason))
                each.exception()  # whoever waits no more needs no warning
        if not self._closing:
            self._closing = True
            self._on_death(reason)


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        memory = ", perhaps for lack of memory" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{memory}"
    return f"its process ended with exit code {exit_code}"


def _serve(link: Link, target: Callable[..., None], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    target(link, *args)


def _die_with_parent() -> None:
    """A killed server may be started again and must not be disturbed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class Inbox:
    """The child's end: messages arrive in another thread, so that newer ones can be seen."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._changed = threading.Condition()
        self._messages: list[Any] = []
        self._sending = threading.Lock()
        self.is_closed = False
        threading.Thread(target=self._receive, daemon=True).start()

    def take(self, choose: Callable[[list[Any]], int | None], timeout: float | None) -> Any:
        """Wait for messages, and take the one that `choose` names; None where there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self.is_closed, timeout)
            place = choose(self._messages) if self._messages else None
            return None if place is None else self._messages.pop(place)

    def drop(self, which: Callable[[Any], bool]) -> list[Any]:
        """Remove waiting messages, and return them."""
        with self._changed:
            found = [m for m in self._messages if which(m)]
            self._messages = [m for m in self._messages if not which(m)]
            return found

    def holds(self, which: Callable[[Any], bool]) -> bool:
        """Whether such a message waits."""
        with self._changed:
            return any(which(m) for m in self._messages)

    def send(self, message: Any) -> None:
        """Send a message; may be called by any thread."""
        with self._sending, suppress(OSError):
            self._link.send_bytes(pickle.dumps(message))

    def _receive(self) -> None:
        with suppress(EOFError, OSError):
            while (message := self._link.recv()) is not None:
                with self._changed:
                    self._messages.append(message)
                    self._changed.notify_all()
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()


class _Careful(pickle.Unpickler):
    """Refuses what is no value: a child that was taken over must not take over its parent."""

    def find_class(self, module: str, name: str) -> Any:
        """The class of that name, if it is known to be harmless."""
        if name in _NUMPY.get(module, ()) or (module, name) in _OTHERS:
            return super().find_class(module, name)
        if module.split(".")[0] == "segment_concept" and "." not in name:
            found = super().find_class(module, name)
            is_value = isinstance(found, type) and (is_dataclass(found) or issubclass(found, Enum))
            if is_value or name in _SOURCES:
                return found
        raise pickle.UnpicklingError(f"a message holds a {module}.{name}, which is no value")


def _loads(content: bytes) -> Any:
    return _Careful(io.BytesIO(content)).load()
