"""Simulate another camera: crop, mirror and re-grade a shot."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.datasets.multishot.spec import MultishotSpec, between, randint
from segment_concept.types import Bitmap, Image

Size = tuple[int, int]  # (H, W)

# Ranges of the color changes of a new camera.
_GAMMA, _GAIN, _WHITE = (0.7, 1.4), (0.8, 1.2), (0.85, 1.15)
_MARGIN = 1.1  # margin of a crop around the object's pixels of the whole shot
_DIGITS = 3


@dataclass(frozen=True, slots=True)
class View:
    """A camera. Colors in [0, 1] become `gain` * `white` * color ** `gamma`."""

    window: tuple[int, int, int, int]  # x, y, width, height in source pixels
    mirror: bool = False
    gamma: float = 1.0
    gain: float = 1.0
    white: tuple[float, float, float] = (1.0, 1.0, 1.0)  # R, G, B

    def picture(self, rgb: Image, size: Size) -> Image:
        """The (H, W, 3) image of this camera, resized."""
        image = _resized(self._cropped(rgb), size)
        if (self.gamma, self.gain, self.white) == (1.0, 1.0, (1.0, 1.0, 1.0)):
            return image
        # A table of 256 values per channel gives the same bits on every machine.
        shades = (np.arange(256) / 255.0) ** self.gamma * self.gain
        table = np.clip(shades[:, None] * np.array(self.white), 0, 1) * 255
        return np.asarray(cv2.LUT(image, table.round().astype(np.uint8)[None]), np.uint8)

    def labels(self, masks: Sequence[Bitmap], size: Size) -> NDArray[np.uint8]:
        """(H, W) label map of masks as seen by this camera: the first has id 1, 0 is background.

        A pixel of the resized image belongs to the mask that covers most of it.
        """
        labels = np.zeros(size, np.uint8)
        background = ~np.any(np.stack(masks), axis=0)
        best = _resized(self._cropped(background).astype(np.float32), size).copy()
        for object_id, mask in enumerate(masks, start=1):
            share = _resized(self._cropped(mask).astype(np.float32), size)
            larger = share > best
            labels[larger] = object_id
            best[larger] = share[larger]
        return labels

    def _cropped(self, picture: NDArray[Any]) -> NDArray[Any]:
        x, y, width, height = self.window
        inside = picture[y : y + height, x : x + width]
        return np.ascontiguousarray(inside[:, ::-1] if self.mirror else inside)


def _resized(picture: NDArray[Any], size: Size) -> NDArray[Any]:
    height, width = size
    shrinks = picture.shape[0] >= height
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=interpolation))


def clip_size(source: Size, short_side: int) -> Size:
    """Size of the clips of a sequence: same aspect ratio, even sides, never enlarged."""
    scale = min(1.0, short_side / min(source))
    height, width = (max(2, 2 * round(side * scale / 2)) for side in source)
    return height, width


def whole_view(source: Size, size: Size) -> View:
    """The largest centered crop with the clip's aspect ratio, and no other change."""
    height, width = source
    scale = min(height / size[0], width / size[1])
    h, w = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return View(((width - w) // 2, (height - h) // 2, w, h))


def new_view(rng: Random, spec: MultishotSpec, source: Size, size: Size, covered: Bitmap) -> View:
    """A random camera that shows the object during the whole shot.

    Args:
        rng: random numbers.
        spec: limits of the crop size.
        source: (H, W) of the sequence.
        size: (H, W) of the clip.
        covered: (H, W) where the object is on any frame of the shot.
    """
    x, y, width, height = whole_view(source, size).window
    columns, rows = np.flatnonzero(covered.any(0)), np.flatnonzero(covered.any(1))
    left, right = int(columns[0]), int(columns[-1]) + 1
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    needed = max(_MARGIN * (right - left) / width, _MARGIN * (bottom - top) / height)
    zoom = min(1.0, max(between(rng, *spec.zoom), needed))
    w, h = max(1, int(zoom * width)), max(1, int(zoom * height))
    at_x = _crop_start(rng, x, x + width - w, left, right - w)
    at_y = _crop_start(rng, y, y + height - h, top, bottom - h)
    return View(
        (at_x, at_y, w, h),
        mirror=rng.random() < spec.mirrored,
        gamma=round(between(rng, *_GAMMA), _DIGITS),
        gain=round(between(rng, *_GAIN), _DIGITS),
        white=(
            round(between(rng, *_WHITE), _DIGITS),
            round(between(rng, *_WHITE), _DIGITS),
            round(between(rng, *_WHITE), _DIGITS),
        ),
    )


def _crop_start(rng: Random, least: int, most: int, begins: int, ends: int) -> int:
    """Start of a crop within the image that contains the object.

    `begins` is the object's first pixel, `ends` the start at which the crop ends at its last.
    """
    low, high = max(least, min(ends, begins)), min(most, max(ends, begins))
    if low > high:  # the object is larger than the widest crop
        return min(max(low, least), most)
    return randint(rng, low, high)
