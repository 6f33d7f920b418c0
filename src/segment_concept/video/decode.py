"""Opening media with PyAV and getting pictures out of it, whatever is damaged in it."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from segment_concept.types import Image, InputError

if TYPE_CHECKING:
    AnyPacket: TypeAlias = Packet[Any]
else:
    AnyPacket = Packet  # not generic in every PyAV that will do

log = logging.getLogger(__name__)

NETWORK_TIMEOUT = (10.0, 30.0)  # seconds to open a stream, seconds to wait for its next packet
UNREADABLE_PACKETS = 64  # so many in a row, and the rest of the file is given up
TEXT_FORMATS = frozenset({"tty"})  # FFmpeg would draw the letters of any text file
DEFAULT_RATE = Fraction(25)
_LOOK_AHEAD = 16  # pictures, as many as a decoder may hold back to reorder them
_RATES = (Fraction(1, 100), Fraction(1000))  # what a file may claim and be believed


@contextmanager
def opened(
    address: str, input_format: str | None = None, *, network: bool = False
) -> Iterator[InputContainer]:
    """An open container, closed at the end.

    Raises:
        InputError: there is no such file or stream, or it is not a video.
    """
    timeout = NETWORK_TIMEOUT if network else None
    try:
        container = av.open(address, format=input_format, timeout=timeout)
    except av.error.FFmpegError as error:
        raise InputError(
            f"{address} cannot be opened as a video ({error.strerror}): expected a video file, "
            "a folder of images, a webcam's number or a stream's address"
        ) from error
    with container:
        yield container


def video_stream(container: InputContainer, address: str) -> VideoStream:
    """The first video stream, set to decode on several threads.

    Raises:
        InputError: there is none (sound only, or a cover picture).
    """
    covers = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & covers]
    if not streams or container.format.name in TEXT_FORMATS:
        found = ", ".join(s.type for s in container.streams) or "nothing"
        raise InputError(f"{address} has no video stream (it holds: {found}): give a video")
    streams[0].thread_type = "AUTO"
    return streams[0]


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[AnyPacket]:
    """The stream's packets; unreadable ones are passed over."""
    failed = 0
    while failed < UNREADABLE_PACKETS:
        try:
            for packet in container.demux(stream):
                yield packet
                failed = 0
            return
        except av.error.InvalidDataError:
            failed += 1
    log.warning("%s is unreadable from here on: the rest is left out", container.name)


def pictures_of(packet: AnyPacket) -> Iterator[VideoFrame]:
    """What the packet decodes to; pictures that the decoder had to guess at are left out."""
    try:
        for picture in packet.decode():
            if isinstance(picture, VideoFrame) and not picture.is_corrupt:
                yield picture
    except av.error.FFmpegError as error:
        log.debug("packet at %s: %s", packet.pts, error)


def announced(packet: AnyPacket, stream: VideoStream) -> int | None:
    """The presentation time of the frame that a packet will become, if it becomes one."""
    if packet.pts is None or packet.is_discard or not packet.size:
        return None
    if stream.codec_context.name == "vp8" and not bytes(packet)[0] & 0x10:
        return None  # RFC 6386, 9.1: `show_frame` is not set, the picture is only referred to
    return packet.pts


def is_timed(stream: VideoStream, first: AnyPacket, pictures: Iterable[VideoFrame]) -> bool:
    """Do the packets say when their frames are shown?

    Raw streams do not. AVI stores no presentation times; with reordered frames they are invented.
    So they are where whatever wrote another container gave every packet the time of its place in
    the file, and `pictures` (the first of the video), which come in the order in which they are
    shown, go back in time. A keyframe that is shown as soon as it is decoded makes that likely.
    """
    if first.pts is None:
        return False
    if not stream.codec_context.has_b_frames:
        return True
    if "avi" in stream.container.format.name.split(","):
        return False
    if first.pts != first.dts:
        return True
    times = [p.pts for p in islice(pictures, _LOOK_AHEAD) if p.pts is not None]
    return times == sorted(times)


def average_rate(stream: VideoStream) -> Fraction:
    """Frames a second."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and _RATES[0] <= rate <= _RATES[1]:
            return Fraction(rate)
    return DEFAULT_RATE


class Camera:
    """Turns decoded pictures into upright RGB pixels."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def rgb(self, picture: VideoFrame) -> Image:
        """(H, W, 3) uint8, turned as the file's display matrix says."""
        upright = self._reformatter.reformat(picture, format="rgb24")
        pixels = np.asarray(upright.to_ndarray(), np.uint8)
        turns = round(picture.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
