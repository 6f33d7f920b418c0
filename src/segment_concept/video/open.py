"""open."""

import re
import sys
from fractions import Fraction
from pathlib import Path

from segment_concept.types import InputError
from segment_concept.video.memory_frames import MemoryFrames, MemoryVideo
from segment_concept.video.source import VideoSource

STREAM_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def open_video(address: str | Path | MemoryVideo, *, rate: Fraction | None = None) -> VideoSource:
    """A video from a file, a folder of images, a webcam's number, a stream's address or memory.

    Frames in memory are a list, an array or a tensor; see `MemoryFrames`. `rate` is for these and
    for folders of images, which know none: frames a second, 24 where it is left out.

    Raises:
        InputError: there is no such thing, or it holds no picture.
    """
    from segment_concept.video.image_folder import ImageFolder
    from segment_concept.video.live import LiveVideo
    from segment_concept.video.video_file import VideoFile

    if not isinstance(address, str | Path):
        return MemoryFrames(address, rate)
    text = str(address)
    path = Path(address)
    if STREAM_ADDRESS.match(text):
        live = LiveVideo(text)
        return live if live.endless else VideoFile(text)
    if path.is_dir():
        return ImageFolder(path, rate=rate or Fraction(24))
    if text.isdigit() and not path.exists():
        return LiveVideo(*webcam(int(text)))
    return VideoFile(path)


def webcam(number: int, platform: str = sys.platform) -> tuple[str, str]:
    """What FFmpeg calls the n-th camera: its address and its input format."""
    if platform.startswith("linux"):
        return f"/dev/video{number}", "v4l2"
    if platform == "darwin":
        return f"{number}:none", "avfoundation"
    if platform == "win32":
        return str(number), "vfwcap"
    raise InputError(f"no way to open a webcam on {platform} is known: give a stream's address")
