"""Events of a project: kept for a while, so that a page that was cut off misses none."""

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

KEPT = 20_000  # events
QUIET = 10.0  # seconds after which a comment shows that the connection lives


class EventLog:
    """Numbered events. An id is `EPOCH-N`; the epoch is another one in every server."""

    def __init__(self, kept: int = KEPT) -> None:
        self.epoch = secrets.token_hex(4)
        self.count = 0
        self.listeners = 0
        self._kept: deque[tuple[int, str, str]] = deque(maxlen=kept)
        self._changed = asyncio.Event()
        self._is_closed = False

    @property
    def newest(self) -> str:
        """The id of the newest event."""
        return f"{self.epoch}-{self.count}"

    def publish(self, name: str, data: Mapping[str, Any]) -> str:
        """Append an event; returns its id."""
        self.count += 1
        self._kept.append((self.count, name, json.dumps(data, separators=(",", ":"))))
        self._wake()
        return self.newest

    def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        self._wake()

    async def stream(self, after: str | None, on_end: Callable[[], None]) -> AsyncIterator[str]:
        """Events after the one of that id, for as long as the connection lasts.

        If they are not known any more, or are those of another server, the only event is `reset`.
        """
        self.listeners += 1
        try:
            at = self._position(after)
            if at is None:
                yield f"id: {self.newest}\nevent: reset\ndata: {{}}\n\n"
                return
            while not self._is_closed:
                new = [row for row in self._kept if row[0] > at] if at < self.count else []
                changed = self._changed
                if new:
                    at = new[-1][0]
                    yield "".join(
                        f"id: {self.epoch}-{n}\nevent: {name}\ndata: {data}\n\n"
                        for n, name, data in new
                    )
                    continue
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(changed.wait(), QUIET)
                    continue
                yield ": still here\n\n"
        finally:
            self.listeners -= 1
            on_end()

    def _position(self, after: str | None) -> int | None:
        if after is None:
            return self.count
        epoch, _, number = after.partition("-")
        if epoch != self.epoch or not number.isdecimal() or int(number) > self.count:
            return None
        oldest = self._kept[0][0] if self._kept else self.count + 1
        return int(number) if int(number) >= oldest - 1 else None

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
