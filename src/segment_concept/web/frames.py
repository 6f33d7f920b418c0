"""Frames of videos by index: decoded, kept for a while, and encoded as stills.

They are decoded by the decoder that the tracker uses, so what is clicked is what is tracked.
"""

from collections import OrderedDict
from collections.abc import Generator, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.runtime.limits import check_pixels
from segment_concept.types import Frame, InputError
from segment_concept.video.decode import opened, video_stream
from segment_concept.video.image_folder import ImageFolder
from segment_concept.video.open import open_video
from segment_concept.video.source import VideoSource
from segment_concept.video.video_file import VideoFile

JPEG_QUALITY = 85
CACHE_BYTES = 256 << 20
CACHE_FRAMES = 64
STEP = 48  # frames that are decoded on the way to the next one rather than sought
MOST_SIDE = 8192  # pixels


class FrameCache:
    """Frames of one video by index. The most recently used are kept."""

    def __init__(
        self, source: VideoSource, most_bytes: int = CACHE_BYTES, most: int = CACHE_FRAMES
    ) -> None:
        self.source = source
        self._most_bytes, self._most = most_bytes, most
        self._kept: OrderedDict[int, Frame] = OrderedDict()
        self._bytes = 0
        self._reader: Iterator[Frame] | None = None
        self._next = 0  # index of the frame that the reader yields next
        self.decoded = 0  # frames, in total

    def __contains__(self, index: int) -> bool:
        return index in self._kept

    def frame(self, index: int) -> Frame:
        """The frame.

        Raises:
            InputError: the video is shorter, or the frame is damaged.
        """
        if index not in self._kept:
            self._decode(index)
        found = self._kept.get(index)
        if found is None:
            length = self.source.info.frames or 0
            what = "is damaged" if index < length else f"is not there: {length} frames are known"
            raise InputError(f"frame {index} of {self.source.name} {what}: choose another frame")
        self._kept.move_to_end(index)
        return found

    def forget_reader(self) -> None:
        """Begin anew at the next frame: the table has grown."""
        reader, self._reader = self._reader, None
        if isinstance(reader, Generator):
            reader.close()

    def _decode(self, index: int) -> None:
        """Read up to the frame; those on the way are kept too, since people step back."""
        if self._reader is None or not self._next <= index <= self._next + STEP:
            self.forget_reader()
            start = self._start(index)
            self._reader, self._next = iter(self.source.frames(start)), start
        for frame in self._reader:
            self.decoded += 1
            self._next = frame.index + 1
            self._keep(frame)
            if frame.index >= index:
                return
        self._reader = None

    def _start(self, index: int) -> int:
        """Where to begin: for a step back somewhat before, where decoding begins anyway."""
        if index + 1 not in self._kept or not isinstance(self.source, VideoFile):
            return index
        return self.source.decoding_start(index, min(self._room(), CACHE_FRAMES // 2))

    def _room(self) -> int:
        height, width = self.source.info.size
        return max(1, self._most_bytes // (height * width * 3))

    def _keep(self, frame: Frame) -> None:
        old = self._kept.pop(frame.index, None)
        self._bytes += frame.rgb.nbytes - (0 if old is None else old.rgb.nbytes)
        self._kept[frame.index] = frame
        while len(self._kept) > 1 and (
            len(self._kept) > self._most or self._bytes > self._most_bytes
        ):
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.rgb.nbytes


def open_media(path: Path) -> VideoSource:
    """A video file, of which the first frames are known, or a folder of images.

    Raises:
        InputError: it holds no picture, pictures that are too large, or refers to other files.
    """
    if path.is_dir():
        for entry in path.iterdir():
            if entry.is_symlink() and entry.resolve().parent != path.resolve():
                raise InputError(
                    f"{entry.name} in {path.name} is a link to another folder: copy the image there"
                )
        source: VideoSource = ImageFolder(path)
    elif path.suffix.lower() == ".webp":
        source = open_video(path)
    else:
        source = VideoFile(path.resolve(), whole=False, trusted=False)
    height, width = source.info.size
    if max(height, width) > MOST_SIDE:
        raise InputError(
            f"{source.name} is {width}x{height} pixels: the page shows up to {MOST_SIDE} a side"
        )
    check_pixels(width, height, source.name)
    return source


_SUFFIXES = {"mov": ".mp4", "matroska": ".mkv", "avi": ".avi", "mpegts": ".ts", "ogg": ".ogv"}


def suffix_of(path: Path) -> str:
    """The suffix of a video file by its content, whatever its name says.

    Raises:
        InputError: it is no video.
    """
    with opened(str(path.resolve()), trusted=False) as container:
        video_stream(container, "the file")
        name = container.format.name.split(",")[0]
    return _SUFFIXES.get(name, ".video")


def jpeg(frame: Frame, width: int = 0) -> bytes:
    """A frame as a JPEG file, scaled to a width if it is wider."""
    rgb = frame.rgb
    h, w = frame.size
    if 0 < width < w:
        size = (width, max(1, round(h * width / w)))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    options = [int(cv2.IMWRITE_JPEG_QUALITY), JPEG_QUALITY]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise InputError(f"frame {frame.index} cannot be encoded as a still")
    return data.tobytes()


def table_of(source: VideoSource) -> NDArray[np.float64]:
    """Seconds of every known frame."""
    if isinstance(source, VideoFile):
        return source.seconds
    return np.arange(source.info.frames or 0) / float(source.info.rate)
