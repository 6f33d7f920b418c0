"""How much a picture changes from one frame to the next, and whether that is a cut.

The measure and the rule are those of PySceneDetect's adaptive detector with its defaults: a cut
changes the picture far more than the frames around it change, and by enough to see. Hue is
compared as an angle here, so that reds beside each other differ little; there, they differ by 179.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.types import Image

WIDTH = 160  # frames are compared at this width
NEIGHBOURS = 2  # frames on each side with whose change that of a cut is compared
TIMES_NEIGHBOURS = 3.0
LEAST_CHANGE = 15.0  # mean change of hue, saturation and value, of 255
OTHER_SIZE = 255.0  # a picture of another size is another picture


def small_hsv(rgb: Image) -> Image:
    """(h, 160, 3) uint8 hue (180 to a turn), saturation and value of `rgb` (H, W, 3)."""
    height = max(1, round(rgb.shape[0] * WIDTH / rgb.shape[1]))
    hsv: Image = np.asarray(cv2.cvtColor(thumbnail(rgb, (height, WIDTH)), cv2.COLOR_RGB2HSV))
    return hsv


def thumbnail(rgb: Image, size: tuple[int, int]) -> Image:
    """`rgb` (H, W, 3) with every pixel the mean of what it covers; `size` is (h, w)."""
    height, width = size
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def change_between(before: Image, now: Image) -> float:
    """Mean change of hue, saturation and value between two pictures of `small_hsv`, of 255."""
    if before.shape != now.shape:
        return OTHER_SIZE
    difference: NDArray[np.int16] = np.abs(now.astype(np.int16) - before)
    difference[..., 0] = np.minimum(difference[..., 0], 180 - difference[..., 0])
    return float(difference.mean())


def stands_out(
    change: float,
    around: Sequence[float],
    times: float = TIMES_NEIGHBOURS,
    least: float = LEAST_CHANGE,
) -> bool:
    """Is a change of at least `least` also at least `times` the mean of those around it?"""
    usual = sum(around) / max(len(around), 1)
    return change >= least and change >= times * usual
