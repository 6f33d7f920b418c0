"""Encode video in parts, and join the parts into one file with the audio of the source.

A part has consecutive frames and starts with a keyframe, so that a run can be interrupted, or go
backwards chunk by chunk, without encoding anything twice. Parts are NUT files, which keep any time
base exactly and stay readable if they are cut off.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from heapq import merge
from itertools import count
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

from segment_concept.runtime.files import sync_file, sync_folder
from segment_concept.types import Frame
from segment_concept.video.audio import TimedPacket, audio_of
from segment_concept.video.decode import AnyPacket, media_address, opened, video_stream
from segment_concept.video.source import VideoInfo

log = logging.getLogger(__name__)

ENCODERS = ("libx264", "h264")
ENCODER_THREADS = 2
PRESET = "superfast"  # a third less work than veryfast, and not larger without B-frames
BACKWARDS_BYTES = 48 << 20  # bytes of planes in memory during backward playback
BACKWARDS_FRAMES = 48

Planes = NDArray[np.uint8]  # (H + H/2, W) planar 4:2:0


@dataclass(frozen=True, slots=True)
class Part:
    """A file of consecutive frames."""

    file: str  # file name in the folder of parts
    first: int
    last: int
    backwards: bool = False  # its frames came in descending order

    def meets(self, other: "Part") -> bool:
        """Whether they share a frame."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Still:
    """An image to encode."""

    index: int
    pts: int
    planes: Planes


class PartWriter:
    """Writes frames in ascending or descending order as parts in a folder."""

    def __init__(
        self, folder: Path, stem: str, info: VideoInfo, crf: int, parts: Sequence[Part] = ()
    ) -> None:
        self._folder, self._stem, self._info, self._crf = folder, stem, info, crf
        self.parts = list(parts)
        self._numbers = count(len(self.parts))
        self._open: _Encoder | None = None
        self._buffered: list[Still] = []
        self.backwards = False

    def write(self, frame: Frame, planes: Planes) -> None:
        """Add a frame. Raises OSError if the disk is full."""
        still = Still(frame.index, self._pts(frame), planes)
        if self.backwards:
            self._buffered.append(still)
            nbytes = len(self._buffered) * planes.nbytes
            if len(self._buffered) >= BACKWARDS_FRAMES or nbytes >= BACKWARDS_BYTES:
                self.cut()
            return
        self._encode(still)

    def cut(self) -> None:
        """Finish the current part; the next frame starts another."""
        buffered, self._buffered = self._buffered, []
        for still in reversed(buffered):
            self._encode(still)
        encoder, self._open = self._open, None
        if encoder is not None:
            encoder.close()
            self.parts.append(replace(encoder.part, backwards=self.backwards))

    def _encode(self, still: Still) -> None:
        if self._open is None:
            name = f"{self._stem}-{next(self._numbers):05d}.nut"
            self._open = _Encoder(self._folder / name, still, self._info, self._crf)
        self._open.encode(still)

    def _pts(self, frame: Frame) -> int:
        base, rate = self._info.time_base, self._info.rate
        if frame.seconds is None:
            return round(frame.index / rate / base)
        return round(frame.seconds / float(base))


class _Encoder:
    """Encodes one part."""

    def __init__(self, path: Path, first: Still, info: VideoInfo, crf: int) -> None:
        self._path = path
        self._first = self._last = first.index
        self._last_pts = first.pts - 1
        self._base = info.time_base
        self._container: OutputContainer = av.open(media_address(str(path)), "w", format="nut")
        encoder = next(name for name in ENCODERS if name in av.codecs_available)
        self._stream = cast(VideoStream, self._container.add_stream(encoder, rate=info.rate))
        height, width = first.planes.shape[0] * 2 // 3, first.planes.shape[1]
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.options = {"preset": PRESET, "crf": str(crf)}
        context = self._stream.codec_context
        context.time_base = self._base
        context.max_b_frames = (
            0  # decoding order is presentation order, so that parts can be joined
        )
        context.thread_count = ENCODER_THREADS
        context.flags |= Flags.global_header  # MP4 needs the parameters at the start
        context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU601
        context.sample_aspect_ratio = info.pixel_aspect

    @property
    def part(self) -> Part:
        return Part(self._path.name, self._first, self._last)

    def encode(self, still: Still) -> None:
        picture = VideoFrame.from_ndarray(still.planes, format="yuv420p")
        picture.pts = self._last_pts = max(still.pts, self._last_pts + 1)
        picture.time_base = self._base
        self._last = still.index
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


def joinable(parts: Sequence[Part]) -> list[Part]:
    """Parts in the order of their frames; the last written one of those that share frames."""
    kept: list[Part] = []
    for part in reversed(parts):
        if not any(part.meets(other) for other in kept):
            kept.append(part)
    return sorted(kept, key=lambda part: part.first)


def join(folder: Path, parts: Sequence[Part], info: VideoInfo, target: Path) -> None:
    """Join parts to an MP4 file with the audio of the same time span of the source.

    Presentation times are those of the source, relative to the first written frame. Where sound
    fails in any way, the file is silent, and a warning says so.

    Raises:
        OSError: the file cannot be written; `target` is then unchanged.
    """
    ordered = joinable(parts)
    if not ordered:
        return
    partial = target.with_name(f".{target.name}.partial")
    try:
        try:
            _mux(folder, ordered, info, partial)
        except Exception as error:  # whatever it is: sound is no reason to lose a video
            if info.sound is None:
                raise
            log.debug("%s", error, exc_info=True)
            _mux(folder, ordered, replace(info, sound=None), partial)
            log.warning("%s has no sound: that of the source cannot be joined to it", target.name)
        sync_file(partial)
        partial.replace(target)
        sync_folder(target.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _mux(folder: Path, parts: Sequence[Part], info: VideoInfo, target: Path) -> None:
    base = info.time_base
    start = next(_stored(folder, parts[:1], base))[0]
    *_, (last, _) = _stored(folder, parts[-1:], base)
    end = last + _ticks(info)
    with (
        opened(str(folder / parts[0].file)) as model,
        av.open(
            media_address(str(target)), "w", format="mp4", options={"movflags": "faststart"}
        ) as out,
    ):
        made = out.add_stream_from_template(video_stream(model, parts[0].file))
        made.time_base = base
        video = _renewed(_stored(folder, parts, base), made, info, start)
        with audio_of(info.sound, out, start * base, end * base) as sound:
            for _, packet in merge(video, sound, key=lambda timed: timed[0]):
                out.mux(packet)


def _stored(folder: Path, parts: Sequence[Part], base: Fraction) -> Iterator[tuple[int, AnyPacket]]:
    """All packets with times in units of `base`; NUT uses a fraction of it."""
    for part in parts:
        with opened(str(folder / part.file)) as container:
            stream = video_stream(container, part.file)
            for packet in container.demux(stream):
                if packet.pts is not None:
                    yield round(packet.pts * packet.time_base / base), packet


def _ticks(info: VideoInfo) -> int:
    """Duration of a frame in units of the time base."""
    return max(1, round(1 / info.rate / info.time_base))


def _renewed(
    stored: Iterator[tuple[int, AnyPacket]], made: VideoStream, info: VideoInfo, start: int
) -> Iterator[TimedPacket]:
    """The packets of several parts as one stream that starts at 0."""
    base, last = info.time_base, -1
    duration = _ticks(info)
    for pts, packet in stored:
        last = max(last + 1, pts - start)
        packet.stream = made
        packet.time_base = base
        packet.pts = packet.dts = last
        packet.duration = duration
        yield last * base, packet
