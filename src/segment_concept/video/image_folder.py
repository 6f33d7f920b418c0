"""Folders of images as videos."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from segment_concept.types import Frame, Image, InputError
from segment_concept.video.source import VideoInfo, frame_at

log = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class ImageFolder:
    """The images of a folder, in the order of the numbers in their names.

    A frame's index is its place in that order: numbers may be missing.
    """

    def __init__(self, path: Path, rate: Fraction = Fraction(24)) -> None:
        """List the folder and look at its first image.

        Raises:
            InputError: it holds no image, two of the same name, or its first one is damaged.
        """
        self.path = path
        self.name = path.name or str(path)
        if rate <= 0:
            raise InputError(f"{rate} frames a second: expected more than 0")
        self._files = _images_in(path)
        first = read_image(self._files[0])
        if first is None:
            raise InputError(f"{self._files[0]} cannot be read as an image: it is damaged")
        self.info = VideoInfo(
            size=(first.shape[0], first.shape[1]),
            rate=rate,
            time_base=1 / rate,
            frames=len(self._files),
        )

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Frames `start`, `start + 1`, ... to the end."""
        return self._read(range(start, len(self._files)))

    def backwards(self, start: int) -> Iterator[Frame]:
        """Frames `start`, `start - 1`, ... to 0."""
        return self._read(range(min(start, len(self._files) - 1), -1, -1))

    def index_at(self, seconds: float) -> int:
        """The frame that is on screen at that moment.

        Raises:
            InputError: the video is over by then.
        """
        index = frame_at(seconds, self.info.rate)
        if index >= len(self._files):
            long = float(len(self._files) / self.info.rate)
            raise InputError(
                f"{self.name} is {long:.2f} s long at {float(self.info.rate):g} frames a second: "
                f"there is no frame at {seconds:g}s"
            )
        return index

    def frame_name(self, index: int) -> str:
        """The image's own name, without suffix."""
        return self._files[index].stem

    def _read(self, indices: Iterable[int]) -> Iterator[Frame]:
        for index in indices:
            rgb = read_image(self._files[index])
            if rgb is None:
                log.warning("frame %d (%s): damaged and left out", index, self._files[index])
                continue
            yield Frame(index, rgb, float(index / self.info.rate))


def read_image(path: Path) -> Image | None:
    """(H, W, 3) RGB, turned as its EXIF data say; None where it is damaged."""
    data = np.fromfile(path, np.uint8)
    if not len(data):
        return None
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if bgr is None:
        return None
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def natural(name: str) -> tuple[list[str | int], str]:
    """A sort key that puts `frame_9` before `frame_10`."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(p) if i % 2 else p for i, p in enumerate(parts)], name


def _images_in(path: Path) -> list[Path]:
    files = [
        entry
        for entry in path.iterdir()
        if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    ]
    if not files:
        raise InputError(
            f"{path} holds no image ({', '.join(s[1:] for s in SUFFIXES)}): give the folder "
            "that directly contains the frames"
        )
    twice = [stem for stem, count in Counter(f.stem for f in files).items() if count > 1]
    if twice:
        same = sorted(f.name for f in files if f.stem == twice[0])
        raise InputError(
            f"{path} holds {' and '.join(same)}: which of them is the frame? "
            "Put frames and masks into folders of their own"
        )
    return sorted(files, key=lambda f: natural(f.name))
