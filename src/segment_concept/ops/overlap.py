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
