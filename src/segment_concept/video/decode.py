"""Opening media with PyAV and getting pictures out of it, whatever is damaged in it."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from segment_concept.runtime.limits import check_pixels
from segment_concept.types import Image, InputError
from segment_concept.video.display import Orientation
from segment_concept.video.open import STREAM_ADDRESS

if TYPE_CHECKING:
    AnyPacket: TypeAlias = Packet[Any]
else:
    AnyPacket = Packet  # not generic in every PyAV that will do

log = logging.getLogger(__name__)

NETWORK_TIMEOUT = (10.0, 30.0)  # seconds to open a stream, seconds to wait for its next packet
UNREADABLE_PACKETS = 64  # so many in a row, and the rest of the file is given up
# FFmpeg's EINVAL: PyAV 15 names it ValueError, later releases ArgumentError.
_NAMES = vars(av.error)
_INVALID_ARGUMENT: type[Exception] = _NAMES.get("ArgumentError") or _NAMES["ValueError"]
DAMAGE = (  # what reading a damaged file may raise
    *(av.error.InvalidDataError, av.error.MemoryError, _INVALID_ARGUMENT),
    *(av.error.PatchWelcomeError, av.error.UndefinedError, av.error.BugError),
)
# Demuxers (FFmpeg's names) that read one file, unlike hls, dash, concat and image2.
OWN_PICTURES = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "ivf", "mxf"),
    *("h264", "hevc", "m4v", "av1", "obu", "dv", "gif", "apng", "nut", "yuv4mpegpipe", "rm", "vc1"),
    *("jpeg_pipe", "png_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe"),
)
_CONFINED = {"protocol_whitelist": "file", "format_whitelist": ",".join(OWN_PICTURES)}
TEXT_FORMATS = frozenset({"tty"})  # FFmpeg would draw the letters of any text file
DEFAULT_RATE = Fraction(25)
_CONTRADICTS = 0.1  # a rate that is farther off than this is not the packets'
_SAME_RATE = 0.01
_USUAL_RATES = [Fraction(n) for n in (10, 12, 15, 24, 25, 30, 50, 60, 100, 120, 240)]
_USUAL_RATES += [Fraction(n * 1000, 1001) for n in (24, 30, 60, 120)]
_LOOK_AHEAD = 16  # pictures, as many as a decoder may hold back to reorder them
_RATES = (Fraction(1, 100), Fraction(1000))  # frame rates that a file can plausibly have


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (FileNotFoundError, "there is no such file or device"),
    (PermissionError, "permission is denied"),
    (av.error.ProtocolNotFoundError, "addresses of this kind cannot be read"),
    (ConnectionError, "the connection failed"),
    (TimeoutError, "nothing came in time"),
    (av.error.HTTPError, "the server refused it"),
    (av.error.InvalidDataError, "it is damaged, or no video"),
)


@contextmanager
def opened(
    address: str,
    input_format: str | None = None,
    *,
    network: bool = False,
    trusted: bool = True,
) -> Iterator[InputContainer]:
    """An open container, closed at the end.

    Args:
        address: a file or a stream.
        input_format: FFmpeg's name of the format, where it cannot be probed.
        network: whether to give up a stream from which nothing comes.
        trusted: if not, only formats that hold their own pictures are opened, and nothing that
            the file refers to.

    Raises:
        InputError: there is no such file or stream, or it is not a video.
    """
    timeout = NETWORK_TIMEOUT if network else None
    source = address if input_format else media_address(address)
    try:
        container = av.open(
            source, format=input_format, timeout=timeout, options={} if trusted else _CONFINED
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        log.debug("%s: %s", address, error)
        reason = next((words for kind, words in _REASONS if isinstance(error, kind)), "unreadable")
        raise InputError(
            f"{address} cannot be opened as a video ({reason}): expected a video file, "
            "a folder of images, a webcam's number or a stream's address"
        ) from error
    with container:
        yield container


def media_address(path: str) -> str:
    """Address of a file for FFmpeg, to which a name may look like a protocol (`12:30.mp4`)."""
    return path if STREAM_ADDRESS.match(path) else os.path.abspath(path)


def video_stream(container: InputContainer, address: str, threads: int = 0) -> VideoStream:
    """The video stream to play, set to decode on some threads, 0 for as many as FFmpeg likes.

    Covers are none; of others one that can be decoded, the default one, the largest one.

    Raises:
        InputError: there is none (sound only, or a cover picture), or it cannot be decoded.
    """
    covers = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & covers]
    if not streams or container.format.name in TEXT_FORMATS:
        found = ", ".join(s.type for s in container.streams) or "nothing"
        raise InputError(f"{address} has no video stream (it holds: {found}): give a video")
    readable = [s for s in streams if s.codec_context is not None]
    if not readable:
        raise InputError(
            f"the video in {address} is of a kind that cannot be decoded: convert it to H.264"
        )
    default = av.stream.Disposition.default
    best = max(readable, key=lambda s: (bool(s.disposition & default), s.width * s.height))
    check_pixels(best.width, best.height, address)
    best.thread_type = "AUTO"
    best.thread_count = threads
    return best


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[AnyPacket]:
    """The stream's packets; unreadable ones are passed over."""
    failed = 0
    while failed < UNREADABLE_PACKETS:
        try:
            for packet in container.demux(stream):
                yield packet
                failed = 0
            return
        except DAMAGE:
            failed += 1
    log.warning("%s is unreadable from here on: the rest is left out", container.name)


def pictures_of(packet: AnyPacket) -> Iterator[VideoFrame]:
    """The frames of a packet, without those that the decoder marks as damaged."""
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


def rate_of(frames: int, span: Fraction, claimed: Fraction) -> Fraction:
    """Average frames/s: the value in the file unless its packets contradict it.

    Args:
        frames: how many there are.
        span: seconds from the first to the last of them.
        claimed: the rate by the file's header.
    """
    if frames < 2 or span <= 0:
        return claimed
    measured = (frames - 1) / span
    if abs(measured / claimed - 1) < _CONTRADICTS:
        return claimed
    usual = min(_USUAL_RATES, key=lambda rate: abs(measured / rate - 1))
    if abs(measured / usual - 1) < _SAME_RATE:
        return usual
    return measured.limit_denominator(1001) or claimed


class Camera:
    """Turns decoded pictures into upright RGB pixels of one size.

    Args:
        size: (H, W) of the pixels; that of each picture where left out.
        name: the video, for the warning that a picture has another size.
    """

    def __init__(self, size: tuple[int, int] | None = None, name: str = "") -> None:
        self._reformatter = VideoReformatter()
        self._size, self._name = size, name
        self._warned = False

    def rgb(self, picture: VideoFrame) -> Image:
        """(H, W, 3) uint8, as the file's display matrix says."""
        converted = self._reformatter.reformat(picture, format="rgb24")
        pixels = Orientation.of(picture).upright(np.asarray(converted.to_ndarray(), np.uint8))
        if self._size is None or pixels.shape[:2] == self._size:
            return pixels
        return self._scaled(pixels, self._size)

    def _scaled(self, pixels: Image, size: tuple[int, int]) -> Image:
        height, width = size
        if not self._warned:
            self._warned = True
            log.warning(
                "%s changes its size from %dx%d to %dx%d: what has another size is scaled to the "
                "first one",
                *(self._name, width, height, pixels.shape[1], pixels.shape[0]),
            )
        return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))
