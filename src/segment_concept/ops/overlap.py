"""Overlap of two binary masks."""

from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]  # (H, W), non-zero on the object


class Overlap(NamedTuple):
    """Pixel counts of two masks and of their intersection."""

    predicted: int
    true: int
    shared: int

    @property
    def union(self) -> int:
        """Pixels in either mask."""
        return self.predicted + self.true - self.shared

    def jaccard(self) -> float:
        """Intersection over union; 1 if both masks are empty (Perazzi et al., CVPR 2016)."""
        return self.shared / self.union if self.union else 1.0


def as_bits(mask: NDArray[np.generic]) -> Bits:
    """A (H, W) mask of any dtype as uint8; bool and uint8 are not copied."""
    if mask.dtype == np.bool_:
        return np.ascontiguousarray(mask).view(np.uint8)
    return cast(Bits, mask if mask.dtype == np.uint8 else (mask != 0).view(np.uint8))


def overlap(prediction: Bits, truth: Bits) -> Overlap:
    """Pixel counts of two (H, W) masks, each with a single non-zero value, the same in both."""
    shared = cv2.countNonZero(cv2.bitwise_and(prediction, truth))
    return Overlap(cv2.countNonZero(prediction), cv2.countNonZero(truth), shared)


def mask_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two (H, W) masks; 1 if both are empty."""
    return overlap(as_bits(a), as_bits(b)).jaccard()


def share_apart(mask: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """The share of a mask (H, W) that lies in its largest region without a pixel of another one."""
    bits = as_bits(mask)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(bits, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    touched = np.unique(regions[as_bits(other) != 0])
    areas[touched] = 0
    areas[0] = 0  # what is not in the mask
    return float(areas.max()) / max(1, cv2.countNonZero(bits))
