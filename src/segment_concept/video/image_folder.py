"""Folders of images as videos, and animated images."""

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from segment_concept.types import Frame, InputError
from segment_concept.video.image_files import image_size, read_image
from segment_concept.video.image_sequence import frames_in, number_of
from segment_concept.video.source import VideoInfo, frame_at

log = logging.getLogger(__name__)


class ImageFolder:
    """The images of a folder, in the order of the numbers in their names.

    A frame's index is its place in that order: numbers may be missing.
    """

    def __init__(self, path: Path, rate: Fraction = Fraction(24)) -> None:
        """List the folder, look at its first image and at the sizes of all.

        Raises:
            InputError: it holds no image, two of the same name or two sequences, images of several
                sizes, or its first one is damaged.
        """
        self.path = path
        self.name = path.name or str(path)
        if rate <= 0:
            raise InputError(f"{rate} frames a second: expected more than 0")
        self._files = frames_in(path)
        first = read_image(self._files[0])
        if first is None:
            raise InputError(f"{self._files[0]} cannot be read as an image: it is damaged")
        size = (first.shape[0], first.shape[1])
        self._check_sizes(size)
        self.info = VideoInfo(
            size=size,
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

    def index_named(self, number: int) -> int | None:
        """The frame whose image has this number; None if there is none."""
        found = (i for i, file in enumerate(self._files) if number_of(file.stem) == number)
        return next(found, None)

    def _check_sizes(self, size: tuple[int, int]) -> None:
        """Refuse images of several sizes, from their headers. Raises InputError."""
        height, width = size
        for file in self._files[1:]:
            stored = image_size(file)
            if stored is None or stored == size:  # what is damaged is left out, and said then
                continue
            if stored == (width, height):  # a camera that was turned says so in the file
                shown = read_image(file)
                if shown is None or shown.shape[:2] == size:
                    continue
            raise InputError(
                f"{file} is {stored[1]}x{stored[0]} and {self._files[0].name} is {width}x{height}: "
                "frames have one size. Is it no frame? Then take it out of the folder"
            )

    def _read(self, indices: Iterable[int]) -> Iterator[Frame]:
        for index in indices:
            rgb = read_image(self._files[index])
            if rgb is None:
                log.warning("frame %d (%s): damaged and left out", index, self._files[index])
                continue
            yield Frame(index, rgb, float(index / self.info.rate))


class AnimatedImage:
    """An animated WebP, which FFmpeg does not read. Its frames last equally long."""

    def __init__(self, path: Path) -> None:
        """Look at the first frame.

        Raises:
            InputError: it is damaged.
        """
        size = image_size(path)
        if size is None:
            raise InputError(f"{path} cannot be read as an image: it is damaged")
        self.path, self.name = path, path.name
        with Picture.open(path) as picture:
            count = getattr(picture, "n_frames", 1)
            picture.load()
            shown = picture.info.get("duration") or 40
        rate = Fraction(1000, max(1, round(shown)))
        self.info = VideoInfo(size=size, rate=rate, time_base=1 / rate, frames=count)

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Frames `start`, `start + 1`, ... to the end."""
        return self._read(range(start, self.info.frames or 0))

    def backwards(self, start: int) -> Iterator[Frame]:
        """Frames `start`, `start - 1`, ... to 0."""
        return self._read(range(min(start, (self.info.frames or 0) - 1), -1, -1))

    def index_at(self, seconds: float) -> int:
        """The frame on screen at that moment. Raises InputError after the end of the video."""
        index = frame_at(seconds, self.info.rate)
        if index >= (self.info.frames or 0):
            raise InputError(f"{self.name} is over before {seconds:g}s")
        return index

    def frame_name(self, index: int) -> str:
        """Stem of the names of files of this frame."""
        return f"{index:05d}"

    def _read(self, indices: Iterable[int]) -> Iterator[Frame]:
        with Picture.open(self.path) as picture:
            for index in indices:
                try:
                    picture.seek(index)
                    rgb = np.asarray(picture.convert("RGB"), np.uint8)
                except (OSError, EOFError, ValueError):
                    log.warning("frame %d of %s: damaged and left out", index, self.name)
                    continue
                yield Frame(index, rgb, float(index / self.info.rate))
