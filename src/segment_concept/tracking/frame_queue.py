"""Frames to come: read in one thread, and those that will be tracked encoded in another."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

import torch

from segment_concept.ops.flow import small_gray
from segment_concept.runtime.background import read_ahead
from segment_concept.tracking.segmenter import Features
from segment_concept.tracking.triggers.base import FrameDescriptor
from segment_concept.types import Frame, Image

Encode: TypeAlias = Callable[[Frame], Features[Any]]
Describe: TypeAlias = Callable[[Frame], FrameDescriptor]


@dataclass(slots=True, eq=False)
class QueuedFrame:
    """A frame with what is computed of it in advance."""

    frame: Frame
    descriptor: FrameDescriptor  # what the trigger keeps of it
    gray: Image  # see `small_gray`
    encoded: "Future[Features[Any]] | None" = None
    known: Features[Any] | None = None  # its features, if it was tracked in vain

    @property
    def features(self) -> Features[Any] | None:
        """Its features, once they are there; None if nobody encodes it."""
        if self.known is not None:
            return self.known
        return None if self.encoded is None else self.encoded.result()


class FrameQueue:
    """The frames of a video, of which the next ones can be looked at. A context manager.

    Args:
        frames: the video.
        encode: computes the features of a frame.
        describe: computes what the trigger keeps of a frame.
        prefetch: how many frames are encoded in advance. With 0 there is no other thread, and
            nothing is encoded.
    """

    def __init__(
        self, frames: Iterable[Frame], encode: Encode, describe: Describe, prefetch: int
    ) -> None:
        self.prefetch = prefetch
        self._encode, self._describe = encode, describe
        self._source = self._looked_at(frames)
        self._next: deque[QueuedFrame] = deque()
        self._error: BaseException | None = None
        self._ended = False
        self._encoder: Executor | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "FrameQueue":
        if self.prefetch:
            self._source = read_ahead(self._source, self.prefetch)
            encoder = ThreadPoolExecutor(1, "segment-concept-encoder")
            self._stack.callback(encoder.shutdown, cancel_futures=True)
            self._encoder = encoder
        self._stack.callback(self._source.close)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def pop(self) -> QueuedFrame | None:
        """The next frame; None at the end. Raises what the source raised in its place."""
        if self.peek(0) is not None:
            return self._next.popleft()
        if self._error is not None:
            raise self._error
        return None

    def peek(self, place: int) -> QueuedFrame | None:
        """A frame to come, 0 for the next; None if the source ends or fails before it."""
        while len(self._next) <= place and not self._ended:
            try:
                self._next.append(next(self._source))
            except StopIteration:
                self._ended = True
            except BaseException as error:  # raised once the frames before it are tracked
                self._error, self._ended = error, True
        return self._next[place] if place < len(self._next) else None

    def encode(self, places: Iterable[int]) -> None:
        """Begin to encode the frames at these places, if there is a thread for it."""
        if self._encoder is None:
            return
        for coming in map(self.peek, places):
            if coming is not None and coming.encoded is None:
                coming.encoded = self._encoder.submit(self._encoded, coming.frame)

    def _encoded(self, frame: Frame) -> Features[Any]:
        with torch.inference_mode():  # belongs to a thread
            return self._encode(frame)

    def _looked_at(self, frames: Iterable[Frame]) -> Generator[QueuedFrame, None, None]:
        try:
            for frame in frames:
                yield QueuedFrame(frame, self._describe(frame), small_gray(frame.rgb))
        finally:
            if isinstance(frames, Generator):
                frames.close()
