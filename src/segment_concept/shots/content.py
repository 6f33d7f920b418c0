"""Content change between two frames, and the rule that tells a cut.

Measure and rule are those of PySceneDetect's adaptive detector with its defaults: the change at a
cut is large, and much larger than the changes around it. Unlike there, hue is compared as an angle,
so that two similar reds differ little (in PySceneDetect by up to 179).
"""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.types import Frame, Image

WIDTH = 160  # frames are compared at this width
NEIGHBOURS = 2  # frames on each side whose changes are compared with that of a cut
TIMES_NEIGHBOURS = 3.0
LEAST_CHANGE = 15.0  # mean change of hue, saturation and value, of 255
OTHER_SIZE = 255.0  # change between frames of different sizes: the maximum


def small_hsv(rgb: Image) -> Image:
    """Resize `rgb` (H, W, 3) to (h, 160, 3) and convert to HSV uint8; hue is in [0, 180)."""
    height = max(1, round(rgb.shape[0] * WIDTH / rgb.shape[1]))
    hsv: Image = np.asarray(cv2.cvtColor(thumbnail(rgb, (height, WIDTH)), cv2.COLOR_RGB2HSV))
    return hsv


@lru_cache(maxsize=2)
def hsv_of(frame: Frame) -> Image:
    """`small_hsv` of a frame, computed once for all triggers that look at it. Do not change it."""
    return small_hsv(frame.rgb)


def thumbnail(rgb: Image, size: tuple[int, int]) -> Image:
    """Resize `rgb` (H, W, 3) to `size` (h, w) by averaging areas."""
    height, width = size
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def change_between(before: Image, now: Image) -> float:
    """Mean absolute change of hue, saturation and value of two `small_hsv` images, of 255."""
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
    """Whether a change is at least `least` and at least `times` the mean of those around it."""
    usual = sum(around) / max(len(around), 1)
    return change >= least and change >= times * usual
