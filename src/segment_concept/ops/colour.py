"""Colour statistics of a frame."""

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.types import Image

HUE_BINS, SATURATION_BINS = 60, 80  # as published by SeC


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
