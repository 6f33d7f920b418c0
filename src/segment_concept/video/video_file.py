"""Video files, by PyAV."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from segment_concept.types import Frame, InputError
from segment_concept.video.decode import (
    AnyPacket,
    Camera,
    announced,
    average_rate,
    is_timed,
    opened,
    packets_of,
    pictures_of,
    video_stream,
)
from segment_concept.video.frame_index import FrameCounter, FrameIndex
from segment_concept.video.open import STREAM_ADDRESS
from segment_concept.video.source import AudioTrack, VideoInfo, frame_at, frames_in_words

log = logging.getLogger(__name__)

CHUNK_BYTES = 96 << 20  # of RGB pixels held while a video is read backwards
CHUNK_FRAMES = (4, 64)  # at least, at most
ROUNDING = 0.001  # seconds


@dataclass(frozen=True, slots=True)
class _Probe:
    """What the first frame tells."""

    info: VideoInfo
    first_pts: int | None  # None where the packets bear no times


class VideoFile:
    """A video file, or a finite one behind an address."""

    def __init__(self, path: str | Path) -> None:
        """Look at the first frame.

        Raises:
            InputError: the file is missing, empty, not a video, or has no decodable picture.
        """
        self.address = str(path)
        self.name = self.address if STREAM_ADDRESS.match(self.address) else Path(path).name
        if not STREAM_ADDRESS.match(self.address):
            _check_file(Path(path))
        self._probe = _probe(self.address)

    @property
    def info(self) -> VideoInfo:
        """Size, rate and such."""
        return self._probe.info

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Frames `start`, `start + 1`, ... to the end; decoding begins at a keyframe near it."""
        camera = Camera()
        expected = start
        for index, picture in self._pictures(start):
            self._warn(expected, index)
            expected = index + 1
            yield self._frame(index, picture, camera)

    def backwards(self, start: int) -> Iterator[Frame]:
        """Frames `start`, `start - 1`, ... to 0, in chunks of bounded size."""
        camera = Camera()
        expected = start if self._probe.first_pts is None else min(start, len(self._table) - 1)
        while expected >= 0:
            first = self._chunk_start(expected)
            chunk = []
            for index, picture in self._pictures(first):
                if index > expected:
                    break
                chunk.append(self._frame(index, picture, camera))
            while chunk:
                frame = chunk.pop()
                self._warn(frame.index + 1, expected + 1)
                expected = frame.index - 1
                yield frame
            self._warn(first, expected + 1)
            expected = first - 1

    def index_at(self, seconds: float) -> int:
        """The frame that is on screen at that moment.

        Raises:
            InputError: the video is over by then.
        """
        rate, base = self.info.rate, self.info.time_base
        if self._probe.first_pts is None or seconds == 0:
            return frame_at(seconds, rate)
        table = self._table
        ends = float((int(table.pts[-1]) - self._probe.first_pts) * base + 1 / rate)
        if seconds >= ends:
            raise InputError(f"{self.name} is {ends:.2f} s long: there is no frame at {seconds:g}s")
        # 0.12 s is the fourth frame at 25 a second, although containers round times.
        ticks = int(seconds / float(base) + min(0.5, ROUNDING / float(base)))
        return max(0, table.index(self._probe.first_pts + ticks))

    def frame_name(self, index: int) -> str:
        """What files that belong to this frame are called: its number, as in DAVIS."""
        return f"{index:05d}"

    def _frame(self, index: int, picture: VideoFrame, camera: Camera) -> Frame:
        first = self._probe.first_pts
        if first is None or picture.pts is None:
            seconds = float(index / self.info.rate)
        else:
            seconds = float((picture.pts - first) * self.info.time_base)
        return Frame(index, camera.rgb(picture), seconds)

    def _warn(self, expected: int, index: int) -> None:
        """Name the frames from `expected` up to, not including, `index`."""
        if index > expected:
            near = float(expected / self.info.rate)
            lost = frames_in_words(expected, index - 1)
            log.warning("%s (near %.2f s) of %s: damaged and left out", lost, near, self.name)

    def _pictures(self, start: int) -> Iterator[tuple[int, VideoFrame]]:
        """Numbered pictures from `start` on."""
        if start == 0 or self._probe.first_pts is None:
            return ((i, p) for i, p in self._from_the_start() if i >= start)
        return self._from_near(start) if start < len(self._table) else iter(())

    def _from_the_start(self) -> Iterator[tuple[int, VideoFrame]]:
        tally = FrameCounter()
        timed = self._probe.first_pts is not None
        with opened(self.address) as container:
            stream = video_stream(container, self.name)
            for packet in packets_of(container, stream):
                if timed and (pts := announced(packet, stream)) is not None:
                    tally.announce(pts)
                for picture in pictures_of(packet):
                    yield tally.number(picture.pts if timed and picture.pts else 0), picture
        if tally.missing:
            self._warn(tally.next_index, tally.next_index + tally.missing)

    def _from_near(self, start: int) -> Iterator[tuple[int, VideoFrame]]:
        table = self._table
        wanted = int(table.pts[start])
        for key in [*table.seek_points(start), None]:
            with opened(self.address) as container:
                stream = video_stream(container, self.name)
                if key is not None:
                    container.seek(key, stream=stream, backward=True)
                pictures = _decoded(packets_of(container, stream))
                first = next(pictures, None)
                # A container's own index may lead past the frame: then from farther back.
                if first is None or (key is not None and (first.pts or 0) > wanted):
                    continue
                for picture in chain([first], pictures):
                    index = table.index(picture.pts or 0)
                    if index >= start:
                        yield index, picture
                return

    def _chunk_start(self, last: int) -> int:
        height, width = self.info.size
        at_least, at_most = CHUNK_FRAMES
        length = max(at_least, min(at_most, CHUNK_BYTES // (height * width * 3)))
        if self._probe.first_pts is None:
            return max(0, last - length + 1)
        return self._table.chunk_start(last, length)

    @cached_property
    def _table(self) -> FrameIndex:
        """Read from the packets alone: nothing is decoded."""
        first = self._probe.first_pts
        assert first is not None, "only asked for where packets bear times"
        with opened(self.address) as container:
            stream = video_stream(container, self.name)
            return FrameIndex.of(
                (
                    (pts, packet.is_keyframe)
                    for packet in packets_of(container, stream)
                    if (pts := announced(packet, stream)) is not None
                ),
                first,
            )


def _decoded(packets: Iterable[AnyPacket]) -> Iterator[VideoFrame]:
    for packet in packets:
        yield from pictures_of(packet)


def _check_file(path: Path) -> None:
    if not path.exists():
        raise InputError(f"there is no file {path}: check the name, or give a folder of images")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes): it was not copied or downloaded fully")


def _probe(address: str) -> _Probe:
    with opened(address) as container:
        stream = video_stream(container, address)
        packets = packets_of(container, stream)
        head = list(islice(packets, 1))
        pictures = _decoded(chain(head, packets))
        picture = next(pictures, None)
        if picture is None:
            raise InputError(f"no picture in {address} can be decoded: the file is damaged")
        timed = picture.pts is not None and is_timed(stream, head[0], chain([picture], pictures))
        return _probed(container, stream, picture, timed)


def _probed(
    container: InputContainer, stream: VideoStream, picture: VideoFrame, timed: bool
) -> _Probe:
    height, width = picture.height, picture.width
    if round(picture.rotation / 90) % 2:
        height, width = width, height
    rate = average_rate(stream)
    base = Fraction(stream.time_base or 1 / rate) if timed else 1 / rate
    starts = Fraction(0) if picture.pts is None or not timed else picture.pts * base
    frames = stream.frames or None
    if frames is None and container.duration:
        frames = max(1, round(Fraction(container.duration, 1_000_000) * rate))
    info = VideoInfo(
        size=(height, width),
        rate=rate,
        time_base=base,
        frames=frames,
        pixel_aspect=Fraction(stream.sample_aspect_ratio or 1),
        sound=AudioTrack(container.name, starts) if container.streams.audio else None,
    )
    return _Probe(info, picture.pts if timed else None)
