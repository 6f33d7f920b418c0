"""Webcams and endless streams: frames come once, and there is no going back."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain

from av.video.frame import VideoFrame

from segment_concept.types import Frame, InputError
from segment_concept.video.decode import (
    Camera,
    average_rate,
    opened,
    packets_of,
    pictures_of,
    video_stream,
)
from segment_concept.video.source import VideoInfo

TIME_BASE = Fraction(1, 90_000)  # that of MPEG transport streams


class LiveVideo:
    """A source that is read once, from its first frame on. Frames are numbered as they come."""

    def __init__(self, address: str, input_format: str | None = None) -> None:
        """Connect.

        Raises:
            InputError: there is no such camera or stream, or it shows no picture.
        """
        self.name = address
        self._open = ExitStack()
        container = self._open.enter_context(
            opened(address, input_format, network=input_format is None)
        )
        stream = video_stream(container, address)
        self.endless = not container.duration
        self._pictures = (
            picture for packet in packets_of(container, stream) for picture in pictures_of(packet)
        )
        first = next(self._pictures, None)
        if first is None:
            self.close()
            raise InputError(f"{address} shows no picture: is the camera in use elsewhere?")
        self._first: VideoFrame | None = first
        height, width = Camera().rgb(first).shape[:2]
        self._camera = Camera((height, width), address)
        self.info = VideoInfo(
            size=(height, width), rate=average_rate(stream), time_base=TIME_BASE, live=True
        )

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """All frames from now on.

        Raises:
            InputError: frames were asked for before, or not from the first on.
        """
        if start or self._first is None:
            raise InputError(f"{self.name} is live: there is no going back or forth in it")
        first, self._first = self._first, None
        began = time.monotonic()
        try:
            for index, picture in enumerate(chain([first], self._pictures)):
                yield Frame(index, self._camera.rgb(picture), self._seconds(picture, first, began))
        finally:
            self.close()

    def backwards(self, start: int) -> Iterator[Frame]:
        """There is no going back. Raises InputError."""
        raise InputError(f"{self.name} is live: it cannot be played backwards")

    def index_at(self, seconds: float) -> int:
        """Only the first frame can be named beforehand. Raises InputError for others."""
        if seconds:
            raise InputError(f"{self.name} is live: show the object on frame 0")
        return 0

    def frame_name(self, index: int) -> str:
        """Stem of the names of files of this frame."""
        return f"{index:05d}"

    def close(self) -> None:
        """Let go of the camera or stream."""
        self._open.close()

    def _seconds(self, picture: VideoFrame, first: VideoFrame, began: float) -> float:
        if picture.time is None or first.time is None:
            return time.monotonic() - began
        return float(picture.time - first.time)
