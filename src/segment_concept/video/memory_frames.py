"""Frames in memory as a video: arrays, tensors and images of Pillow."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segment_concept.types import Frame, Image, InputError
from segment_concept.video.source import VideoInfo, frame_at

MemoryVideo: TypeAlias = Any  # a sequence of images, or an array or a tensor of them
_FORM = "expected RGB images (H, W, 3) or (3, H, W), uint8 or floats from 0 to 1"


class MemoryFrames:
    """Frames that are in memory already; each is converted when it is played.

    Args:
        frames: a sequence of images, or (T, H, W, 3) or (T, 3, H, W). An image is an array, a
            tensor or an image of Pillow: RGB, uint8 or floats in [0, 1]; (H, W) is grey.
        rate: frames a second, 24 if left out.

    Raises:
        InputError: there is no frame, or they are no images of one size.
    """

    def __init__(self, frames: MemoryVideo, rate: Fraction | None = None) -> None:
        self.name = "the frames in memory"
        rate = rate or Fraction(24)
        if rate <= 0:
            raise InputError(f"{rate} frames a second: expected more than 0")
        try:
            self._frames = [frames[i] for i in range(len(frames))]
        except TypeError as error:
            raise InputError(
                f"a {type(frames).__name__} is no video: give a path, or frames as a list, an "
                "array or a tensor"
            ) from error
        if not self._frames:
            raise InputError("there is no frame: the list is empty")
        size = _size(self._frames[0], 0)
        for index, frame in enumerate(self._frames):
            if _size(frame, index) != size:
                (h, w), (h0, w0) = _size(frame, index), size
                raise InputError(
                    f"frame {index} is {w}x{h} but the first one is {w0}x{h0}: resize it"
                )
        self.info = VideoInfo(size=size, rate=rate, time_base=1 / rate, frames=len(self._frames))

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Frames `start`, `start + 1`, ... to the end."""
        return self._read(range(start, len(self._frames)))

    def backwards(self, start: int) -> Iterator[Frame]:
        """Frames `start`, `start - 1`, ... to 0."""
        return self._read(range(min(start, len(self._frames) - 1), -1, -1))

    def index_at(self, seconds: float) -> int:
        """The frame that is on screen at that moment.

        Raises:
            InputError: the video is over by then.
        """
        index = frame_at(seconds, self.info.rate)
        if index >= len(self._frames):
            raise InputError(f"{self.name} are over before {seconds:g}s")
        return index

    def frame_name(self, index: int) -> str:
        """The number, with five digits."""
        return f"{index:05d}"

    def _read(self, indices: Iterable[int]) -> Iterator[Frame]:
        for index in indices:
            yield Frame(index, rgb_of(self._frames[index], index), float(index / self.info.rate))


def rgb_of(image: Any, index: int = 0) -> Image:
    """(H, W, 3) uint8 of one image.

    Args:
        image: see `MemoryFrames`.
        index: what to call it in messages.

    Raises:
        InputError: it is no image.
    """
    array = _array(image, index)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    elif array.shape[2] != 3:
        array = array.transpose(1, 2, 0)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise InputError(
            f"frame {index} has values from {array.min():g} to {array.max():g}: {_FORM}"
        )
    return np.ascontiguousarray((array * 255).round().astype(np.uint8))


def _size(image: Any, index: int) -> tuple[int, int]:
    shape = _array(image, index).shape
    height, width = shape[:2] if len(shape) == 2 or shape[2] == 3 else shape[1:]
    return height, width


def _array(image: Any, index: int) -> NDArray[Any]:
    """The image as an array of two or three dimensions."""
    if hasattr(image, "convert"):  # Pillow's
        image = image.convert("RGB")
    if hasattr(image, "detach"):  # a tensor, wherever it is
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()
    array = np.asarray(image)
    is_picture = array.ndim == 2 or (array.ndim == 3 and 3 in (array.shape[0], array.shape[2]))
    if not is_picture or not array.size or not (array.dtype == np.uint8 or array.dtype.kind == "f"):
        raise InputError(f"frame {index} is {array.shape} of {array.dtype}: {_FORM}")
    return array
