"""What colours an object has, few numbers that can be compared with those of another frame."""

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.types import Bitmap, Image

HUES, SATURATIONS = 12, 8  # coarse: an object may have few pixels
LEAST_PIXELS = 16  # of the small picture; colours of fewer are noise

Colours = NDArray[np.float32]


def object_colours(hsv: Image, mask: Bitmap) -> Colours | None:
    """(12, 8) shares of hue and saturation under a mask, or None of a mask with too few pixels.

    `hsv` is (h, w, 3) uint8 with 180 hues to a turn; `mask` may be of another size.
    """
    height, width = hsv.shape[:2]
    small = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    count = int(small.sum())
    if count < LEAST_PIXELS:
        return None
    bins, ranges = [HUES, SATURATIONS], [0, 180, 0, 256]
    histogram = cv2.calcHist([hsv], [0, 1], small, bins, ranges)
    return np.asarray(histogram / count, np.float32)


def colour_distance(a: Colours, b: Colours) -> float:
    """Hellinger's distance of two shares: 0 the same, 1 nothing in common."""
    return float(np.sqrt(max(0.0, 1.0 - float(np.sqrt(a * b).sum()))))
