"""Colour statistics of a frame."""

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.types import Bitmap, Image

HUE_BINS, SATURATION_BINS = 60, 80  # as published by SeC
COARSE_BINS = (12, 4, 4)  # hue, saturation, value: fine enough for colours, coarse in their shades


def hue_saturation_histogram(rgb: Image, side: int = 1024) -> NDArray[np.float32]:
    """Normalised (60, 80) hue-saturation histogram of `rgb` (H, W, 3) resized to `side` squared.

    As published, the BGR-to-HSV formula is applied although the pixels are RGB.
    """
    small = cv2.resize(rgb, (side, side))
    hsv = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)
    histogram = cv2.calcHist([hsv], [0, 1], None, [HUE_BINS, SATURATION_BINS], [0, 180, 0, 256])
    return cast(NDArray[np.float32], cv2.normalize(histogram, histogram))


def hue_saturation_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Bhattacharyya distance of two histograms: 0 the same, 1 disjoint."""
    return float(cv2.compareHist(a, b, cv2.HISTCMP_BHATTACHARYYA))


def appearance(rgb: Image, mask: Bitmap) -> NDArray[np.float32]:
    """(2, 12, 4, 4) shares of the colours of an object, `mask` (H, W), and of its whole frame."""
    hsv = cast(Image, cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV))
    inside = np.ascontiguousarray(mask).view(np.uint8)
    return np.stack([_colour_shares(hsv, inside), _colour_shares(hsv, None)])


def appearance_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """How differently an object and its surroundings look, half each: 0 the same, 1 nothing in
    common."""
    return sum(hue_saturation_distance(x, y) for x, y in zip(a, b, strict=True)) / 2


def _colour_shares(hsv: Image, inside: NDArray[np.uint8] | None) -> NDArray[np.float32]:
    limits = [0, 180, 0, 256, 0, 256]
    histogram = cv2.calcHist([hsv], [0, 1, 2], inside, list(COARSE_BINS), limits)
    return cast(NDArray[np.float32], histogram / max(float(histogram.sum()), 1.0))
