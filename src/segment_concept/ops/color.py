"""Color statistics of a frame."""

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.types import Bitmap, Image

HUE_BINS, SATURATION_BINS = 60, 80  # as published by SeC


def hue_saturation_histogram(rgb: Image, side: int = 1024) -> NDArray[np.float32]:
    """Normalized (60, 80) hue-saturation histogram of `rgb` (H, W, 3) resized to `side` squared.

    As published, the BGR-to-HSV formula is applied although the pixels are RGB.
    """
    small = cv2.resize(rgb, (side, side))
    hsv = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)
    histogram = cv2.calcHist([hsv], [0, 1], None, [HUE_BINS, SATURATION_BINS], [0, 180, 0, 256])
    return cast(NDArray[np.float32], cv2.normalize(histogram, histogram))


def hue_saturation_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Bhattacharyya distance of two histograms: 0 if equal, 1 if disjoint."""
    return float(cv2.compareHist(a, b, cv2.HISTCMP_BHATTACHARYYA))


HUES, SATURATIONS = 12, 8  # coarse, because an object may have few pixels
LEAST_PIXELS = 16  # of the small image; colors of fewer pixels are noise
Colors = NDArray[np.float32]


def object_colors(hsv: Image, mask: Bitmap) -> Colors | None:
    """(12, 8) normalized hue-saturation histogram under a mask; None if it has too few pixels.

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


def color_distance(a: Colors, b: Colors) -> float:
    """Hellinger distance of two normalized histograms: 0 if equal, 1 if disjoint."""
    return float(np.sqrt(max(0.0, 1.0 - float(np.sqrt(a * b).sum()))))


def davis_palette() -> NDArray[np.uint8]:
    """(256, 3) RGB. PASCAL VOC's color map, which DAVIS uses: the bits of an id, three at a time,
    become the highest, then the next lower, ... bit of red, green and blue."""
    ids = np.arange(256)
    palette = np.zeros((256, 3), np.int64)
    for place in range(8):
        for channel in range(3):
            palette[:, channel] |= ((ids >> (3 * place + channel)) & 1) << (7 - place)
    return palette.astype(np.uint8)


PALETTE = davis_palette()


def color_of(object_id: int) -> tuple[int, int, int]:
    """The object's RGB color; ids above 255 start again at 1."""
    red, green, blue = PALETTE[(object_id - 1) % 255 + 1].tolist()
    return red, green, blue
