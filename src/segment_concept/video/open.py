"""Opening a video, whatever it is."""

import re
import sys
from fractions import Fraction
from pathlib import Path

from segment_concept.types import InputError
from segment_concept.video.image_files import OTHERS, conversion
from segment_concept.video.memory_frames import MemoryFrames, MemoryVideo
from segment_concept.video.source import VideoSource

_NUMBER = re.compile(r"\d{1,4}", re.ASCII)
_MOST_FRAMES = 1000  # a second
STREAM_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def open_video(
    address: str | Path | MemoryVideo, *, rate: Fraction | float | str | None = None
) -> VideoSource:
    """A video from a file, a folder of images, a webcam's number, a stream's address or memory.

    Frames in memory are a list, an array or a tensor; see `MemoryFrames`. `rate` is in frames/s
    (25, "23.976", "24000/1001"; default 24), for these and for folders of images, which do not
    have one.

    Raises:
        InputError: there is no such video, it has no frame, or it has a frame rate of its own.
    """
    from segment_concept.video.image_folder import AnimatedImage, ImageFolder
    from segment_concept.video.live import LiveVideo
    from segment_concept.video.video_file import VideoFile

    frame_rate = None if rate is None else parse_rate(rate)
    if not isinstance(address, str | Path):
        return MemoryFrames(address, frame_rate)
    text = str(address)
    path = Path(address)
    _check_name(text)
    if path.is_dir():
        return ImageFolder(path, rate=frame_rate or Fraction(24))
    if frame_rate is not None:
        raise InputError(
            f"{text} knows its own rate: a rate (--fps) is for folders of images; leave it out"
        )
    if STREAM_ADDRESS.match(text):
        live = LiveVideo(text)
        return live if live.endless else VideoFile(text)
    if _NUMBER.fullmatch(text) and not path.exists():
        return LiveVideo(*webcam(int(text)))
    if path.suffix.lower() in OTHERS:
        kind = path.suffix[1:].upper()
        raise InputError(f"{text} is a {kind} image, which is not read: {conversion(path)}")
    return AnimatedImage(path) if _is_animated_webp(path) else VideoFile(path)


def parse_rate(rate: Fraction | float | str) -> Fraction:
    """Frames a second as a fraction: 25, 23.976, "24000/1001".

    Raises:
        InputError: it is no number, or not more than 0 and at most 1000.
    """
    try:
        value = Fraction(rate.strip() if isinstance(rate, str) else rate)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError, ArithmeticError):
        value = Fraction(0)
    if isinstance(rate, bool) or not 0 < value <= _MOST_FRAMES:
        raise InputError(
            f"{str(rate)[:40]}: expected a number of frames a second, above 0 and up to "
            f"{_MOST_FRAMES}, such as 25, 23.976 or 24000/1001"
        )
    return value.limit_denominator(1001)


def _check_name(text: str) -> None:
    if not text or "\0" in text:
        raise InputError("a video's name is empty or holds a NUL: give a file, folder or address")


def _is_animated_webp(path: Path) -> bool:
    """Does the file's header announce an animation (the second bit of VP8X)?"""
    if path.suffix.lower() != ".webp" or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(32)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


def webcam(number: int, platform: str = sys.platform) -> tuple[str, str]:
    """Address and input format of the n-th camera for FFmpeg."""
    if platform.startswith("linux"):
        return f"/dev/video{number}", "v4l2"
    if platform == "darwin":
        return f"{number}:none", "avfoundation"
    if platform == "win32":
        return str(number), "vfwcap"
    raise InputError(f"no way to open a webcam on {platform} is known: give a stream's address")
