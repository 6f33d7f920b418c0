"""Video files, by PyAV."""

import logging
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from segment_concept.runtime.limits import check_regular_file
from segment_concept.types import Frame, InputError
from segment_concept.video.container_size import missing_part
from segment_concept.video.decode import (
    AnyPacket,
    Camera,
    announced,
    average_rate,
    is_timed,
    opened,
    packets_of,
    pictures_of,
    rate_of,
    video_stream,
)
from segment_concept.video.display import Orientation
from segment_concept.video.frame_index import FrameCounter, FrameIndex, PacketTimes
from segment_concept.video.open import STREAM_ADDRESS
from segment_concept.video.source import AudioTrack, VideoInfo, frame_at, frames_in_words

log = logging.getLogger(__name__)

CHUNK_BYTES = 96 << 20  # of RGB pixels held while a video is read backwards
CHUNK_FRAMES = (4, 64)  # at least, at most
JUMPING = frozenset({"mpegts", "mpeg"})  # broadcast streams, whose clocks may begin anew
LONGEST_STEP = 10  # seconds (FFmpeg's dts_delta_threshold)
ROUNDING = 0.001  # seconds
FIRST_PART = 512  # packets that are read before a video can be looked at; each part doubles them
HELD_BACK = 32  # packets whose order of presentation may still change where they have no dts


@dataclass(frozen=True, slots=True)
class _First:
    """Properties of the first frame that can be decoded."""

    picture: VideoFrame
    timed: bool  # do packets say when their frames are shown?


class VideoFile:
    """A video file, or a finite one behind an address.

    Its packets are read once when it is opened, without decoding: they say how many frames there
    are and when each is shown, and headers contradict them often. Coordinates are pixels of the
    picture as it is shown, turned or mirrored as the file says; pixels that are not square stay as
    they are.
    """

    def __init__(
        self, path: str | Path, threads: int = 0, *, whole: bool = True, trusted: bool = True
    ) -> None:
        """Look at the first frame and at the times of all.

        Args:
            path: a file, or the address of a finite stream.
            threads: of the decoder; 0 for as many as FFmpeg likes.
            whole: read the times of all frames now. If not, only those of the first ones are
                known: the video seems to end there until `read_on` has read the others.
            trusted: whether the file may refer to others and to the network, as playlists do.

        Raises:
            InputError: the file is missing, empty, not a video, or has no decodable picture.
        """
        self.address, self._threads, self._trusted = str(path), threads, trusted
        is_address = bool(STREAM_ADDRESS.match(self.address))
        self.name = self.address if is_address else Path(path).name
        self._missing = None if is_address else _check_file(Path(path))
        try:
            first = self._look()
        except InputError as error:
            if self._missing is None:
                raise
            raise InputError(f"{self.address} is incomplete: {self._missing}") from error
        self._index: FrameIndex | None = None
        self.about_frames = 0  # number of frames by the header, which may be wrong
        self._reading: Iterator[int] | None = self._measure(first, in_parts=not whole)
        next(self._reading)
        if whole:
            self._reading = None

    @property
    def is_whole(self) -> bool:
        """Whether the times of all frames are known."""
        return self._reading is None

    def read_on(self) -> Iterator[int]:
        """Read the times of further frames, in parts; yields how many are known after each.

        `frames` may be called in other threads meanwhile.
        """
        while self._reading is not None:
            known = next(self._reading, None)
            if known is None:
                self._reading = None
            else:
                yield known

    def so_far(self) -> "VideoFile":
        """The video as far as it is known, for another process."""
        found = copy(self)
        found._reading = None
        return found

    @property
    def seconds(self) -> NDArray[np.float64]:
        """(T,) when each known frame is shown."""
        if self._index is None:
            return np.arange(self.info.frames or 0) / float(self.info.rate)
        return np.asarray(self._index.ticks * float(self.info.time_base), np.float64)

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Frames `start`, `start + 1`, ... to the end; decoding begins at a keyframe near it."""
        camera = Camera(self.info.size, self.name)
        expected = start
        for index, picture in self._pictures(start):
            self._warn(expected, index)
            expected = index + 1
            yield self._frame(index, picture, camera)
        if self._index is not None:
            self._warn(expected, len(self._index))

    def pick(self, wanted: Iterable[int]) -> Iterator[Frame]:
        """The wanted frames, ascending; damaged ones are left out.

        Decoding goes on from one wanted frame to the next, and begins anew only where a keyframe
        lies between them. Only wanted frames become pixels.
        """
        camera = Camera(self.info.size, self.name)
        left = sorted({index for index in wanted if index >= 0}, reverse=True)
        while left:
            for index, picture in self._pictures(left[-1]):
                while left and left[-1] < index:
                    left.pop()  # damaged
                if left and left[-1] == index:
                    left.pop()
                    yield self._frame(index, picture, camera)
                if not left or self._key_between(index, left[-1]):
                    break
            else:
                return

    def _key_between(self, index: int, later: int) -> bool:
        """Whether decoding can begin after `index`, and not after `later`."""
        if self._index is None or later <= index + 1:
            return False
        return any(key > index + 1 for key in self._index.seek_points(later))

    def backwards(self, start: int) -> Iterator[Frame]:
        """Frames `start`, `start - 1`, ... to 0, in chunks of bounded size."""
        camera = Camera(self.info.size, self.name)
        expected = start if self.info.frames is None else min(start, self.info.frames - 1)
        while expected >= 0:
            first = min(self._chunk_start(expected), expected)  # every chunk is a step back
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

    def decoding_start(self, index: int, at_most: int) -> int:
        """The first of up to `at_most` frames that are decoded anyway on the way to a frame."""
        return index if self._index is None else self._index.chunk_start(index, at_most)

    def index_at(self, seconds: float) -> int:
        """The frame that is on screen at that moment.

        Raises:
            InputError: the video is over by then.
        """
        rate, base, index = self.info.rate, self.info.time_base, self._index
        if index is None:
            last = (self.info.frames or 1) / rate
        else:
            last = int(index.ticks[-1]) * base + 1 / rate
        if seconds and seconds >= float(last) and self.info.frames is not None:
            raise InputError(
                f"{self.name} is {float(last):.2f} s long: there is no frame at {seconds:g}s"
            )
        if index is None:
            return frame_at(seconds, rate)
        # 0.12 s is the fourth frame at 25 a second, although containers round times.
        return index.at(int(seconds / float(base) + min(0.5, ROUNDING / float(base))))

    def frame_name(self, index: int) -> str:
        """Stem of the names of files of this frame: its number, as in DAVIS."""
        return f"{index:05d}"

    def _frame(self, index: int, picture: VideoFrame, camera: Camera) -> Frame:
        if self._index is None:
            seconds = float(index / self.info.rate)
        else:
            seconds = float(int(self._index.ticks[index]) * self.info.time_base)
        return Frame(index, camera.rgb(picture), seconds)

    def _warn(self, expected: int, index: int) -> None:
        """Name the frames from `expected` up to, not including, `index`."""
        if index > expected:
            near = float(expected / self.info.rate)
            lost = frames_in_words(expected, index - 1)
            log.warning("%s (near %.2f s) of %s: damaged and left out", lost, near, self.name)

    def _pictures(self, start: int) -> Iterator[tuple[int, VideoFrame]]:
        """Numbered pictures from `start` on."""
        if self._index is None:
            return ((i, p) for i, p in enumerate(self._decoded()) if i >= start)
        if start >= len(self._index):
            return iter(())
        if start == 0:
            return self._numbered(self._decoded(), FrameCounter(self._index))
        return self._from_near(start, self._index)

    def _decoded(self) -> Iterator[VideoFrame]:
        with opened(self.address, trusted=self._trusted) as container:
            stream = video_stream(container, self.name, self._threads)
            yield from _pictures_in(packets_of(container, stream))

    def _numbered(
        self, pictures: Iterable[VideoFrame], counter: FrameCounter, start: int = 0
    ) -> Iterator[tuple[int, VideoFrame]]:
        for picture in pictures:
            index = counter.number(picture.pts)
            if index is not None and index >= start:
                yield index, picture

    def _from_near(self, start: int, index: FrameIndex) -> Iterator[tuple[int, VideoFrame]]:
        for key in [*index.seek_points(start), None]:
            with opened(self.address, trusted=self._trusted) as container:
                stream = video_stream(container, self.name, self._threads)
                if key is not None and not _sought(container, stream, int(index.pts[key])):
                    continue
                pictures = _pictures_in(packets_of(container, stream))
                first = next(pictures, None)
                number = 0 if key is None else _frame_number(first, key, index)
                # A container's own index may lead past the frame: then from farther back.
                if first is None or number is None or number > start:
                    continue
                counter = FrameCounter(index, number)
                yield from self._numbered(chain([first], pictures), counter, start)
                return

    def _chunk_start(self, last: int) -> int:
        height, width = self.info.size
        at_least, at_most = CHUNK_FRAMES
        length = max(at_least, min(at_most, CHUNK_BYTES // (height * width * 3)))
        if self._index is None:
            return max(0, last - length + 1)
        return self._index.chunk_start(last, length)

    def _look(self) -> _First:
        with opened(self.address, trusted=self._trusted) as container:
            stream = video_stream(container, self.address, self._threads)
            packets = packets_of(container, stream)
            head = list(islice(packets, 1))
            pictures = _pictures_in(chain(head, packets))
            picture = next(pictures, None)
            if picture is None:
                raise InputError(f"no picture in {self.address} can be decoded: it is damaged")
            timed = is_timed(stream, head[0], chain([picture], pictures))
            return _First(picture, timed and picture.pts is not None)

    def _measure(self, first: _First, *, in_parts: bool) -> Iterator[int]:
        """Set the times of all frames, and the properties of the video that follow from them."""
        with opened(self.address, trusted=self._trusted) as container:
            stream = video_stream(container, self.name, self._threads)
            packets = _Packets(stream)
            longest = _longest_step(container.format.name, stream)
            rows: list[PacketTimes] = []
            enough = FIRST_PART
            self.about_frames = _announced_frames(container, stream)

            def take(known: list[PacketTimes], missing: str | None) -> int:
                index = None
                if first.timed and known:
                    index = FrameIndex.of(known, first.picture.pts or 0, longest)
                index = index if index is not None and len(index) else None
                info = self._described(container, stream, first, packets, index)
                self.info, self._index = replace(info, incomplete=missing), index
                return info.frames or 0

            for times in packets.times(packets_of(container, stream)):
                rows.append(times)
                if in_parts and first.timed and len(rows) >= enough:
                    enough *= 2
                    known = take(_settled(rows), None)
                    if known:
                        yield known
            known = take(rows, self._missing or packets.missing())
            self.about_frames = known
            if self.info.incomplete is not None:
                log.warning("%s is incomplete: %s", self.name, self.info.incomplete)
            yield known

    def _described(
        self,
        container: InputContainer,
        stream: VideoStream,
        first: _First,
        packets: "_Packets",
        index: FrameIndex | None,
    ) -> VideoInfo:
        base = Fraction(stream.time_base or 1 / average_rate(stream))
        if index is None:
            rate = rate_of(packets.count, packets.span * base, average_rate(stream))
            base, starts, frames = 1 / rate, Fraction(0), packets.count or None
        else:
            frames, starts = len(index), int(index.pts[0]) * base
            base = base / index.scale
            rate = rate_of(frames, int(index.ticks[-1]) * base, average_rate(stream))
        shown = Orientation.of(first.picture)
        height, width = first.picture.height, first.picture.width
        size = shown.size(height, width)
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        return VideoInfo(
            size=size,
            rate=rate,
            time_base=base,
            frames=frames,
            pixel_aspect=shown.pixel_aspect(aspect) if aspect > 0 else Fraction(1),
            sound=AudioTrack(self.address, starts) if container.streams.audio else None,
            stored_size=None if size == (height, width) else (height, width),
        )


class _Packets:
    """Counts the packets of a stream on their way."""

    def __init__(self, stream: VideoStream) -> None:
        self._stream = stream
        self.count = 0  # of frames
        self.span = 0  # ticks from the first to the last time of decoding
        self._all = 0  # packets, those of hidden frames included

    def times(self, packets: Iterable[AnyPacket]) -> Iterator[PacketTimes]:
        first: int | None = None
        for packet in packets:
            self._all += bool(packet.size)
            self.count += bool(packet.size and not packet.is_discard)
            if packet.size and packet.dts is not None:
                first = packet.dts if first is None else first
                self.span = max(self.span, packet.dts - first)
            pts = announced(packet, self._stream)
            if pts is not None:
                yield PacketTimes(pts, packet.dts, packet.is_keyframe)

    def missing(self) -> str | None:
        """The packets that the header counts and the file lacks, in words."""
        if "mp4" not in self._stream.container.format.name.split(","):
            return None
        lost = self._stream.frames - self._all
        return f"{lost} of {self._stream.frames} frames are missing" if lost > 0 else None


def _settled(rows: list[PacketTimes]) -> list[PacketTimes]:
    """The first packets, without those before which later ones might still be shown.

    A frame is shown when it has been decoded or later, so no later packet precedes a time up to
    the last time of decoding.
    """
    now = rows[-1].dts
    if now is None:
        return rows[:-HELD_BACK]
    return [row for row in rows if row.pts <= now]


def _announced_frames(container: InputContainer, stream: VideoStream) -> int:
    """Number of frames by the header of the stream, or by the duration of the file."""
    if stream.frames:
        return int(stream.frames)
    seconds = (container.duration or 0) / av.time_base
    return max(0, round(seconds * float(average_rate(stream))))


def _longest_step(container: str, stream: VideoStream) -> int | None:
    """Ticks after which time has jumped, in containers whose times may jump; else None."""
    if container not in JUMPING or not stream.time_base:
        return None
    return round(LONGEST_STEP / stream.time_base)


def _sought(container: InputContainer, stream: VideoStream, pts: int) -> bool:
    """Seek to a time; False if the file is too damaged for it."""
    try:
        container.seek(pts, stream=stream, backward=True)
    except av.error.FFmpegError:
        return False
    return True


def _frame_number(first: VideoFrame | None, key: int, index: FrameIndex) -> int | None:
    """Number of the first frame after seeking to a keyframe; None if unknown."""
    if first is None or first.pts is None:
        return None
    if first.pts == index.pts[key]:
        return key
    number = index.find(first.pts, 0)
    return number if number is not None and index.find(first.pts, number + 1) is None else None


def _pictures_in(packets: Iterable[AnyPacket]) -> Iterator[VideoFrame]:
    for packet in packets:
        yield from pictures_of(packet)


def _check_file(path: Path) -> str | None:
    """The missing part of the file in words, if there is one. Raises InputError."""
    if not path.exists():
        raise InputError(f"there is no file {path}: check the name, or give a folder of images")
    if check_regular_file(path, "video file") == 0:
        raise InputError(f"{path} is empty (0 bytes): it was not copied or downloaded fully")
    return missing_part(path)
