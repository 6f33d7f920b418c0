"""Region similarity J: the intersection over union of two masks."""

from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.types import InputError

Bits = NDArray[np.uint8]  # (H, W), non-zero where the object is


class Overlap(NamedTuple):
    """Pixel counts of two masks and of what they share."""

    predicted: int
    true: int
    shared: int

    @property
    def union(self) -> int:
        """Pixels in either mask."""
        return self.predicted + self.true - self.shared

    def jaccard(self) -> float:
        """Intersection over union; 1 where both masks are empty (Perazzi et al., CVPR 2016)."""
        return self.shared / self.union if self.union else 1.0


def as_bits(mask: NDArray[np.generic]) -> Bits:
    """A (H, W) mask of any number type as uint8, without a copy where it is bool or uint8.

    Raises:
        InputError: the array is not two-dimensional.
    """
    if mask.ndim != 2:
        raise InputError(f"a mask has two dimensions (H, W), got shape {mask.shape}")
    if mask.dtype == np.bool_:
        return np.ascontiguousarray(mask).view(np.uint8)
    return cast(Bits, mask if mask.dtype == np.uint8 else (mask != 0).view(np.uint8))


def check_sizes(prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> None:
    """Refuse two masks of different size.

    Raises:
        InputError: naming both sizes.
    """
    if prediction.shape != truth.shape:
        raise InputError(
            f"the prediction is {_size(prediction)} but the truth is {_size(truth)}: "
            "score masks at the truth's own resolution (nearest-neighbour resizing keeps ids)"
        )


def _size(mask: NDArray[np.generic]) -> str:
    return f"{mask.shape[1]}x{mask.shape[0]}" if mask.ndim == 2 else f"of shape {mask.shape}"


def overlap(prediction: Bits, truth: Bits) -> Overlap:
    """Count the pixels of two (H, W) uint8 masks whose set pixels all hold the same value."""
    shared = cv2.countNonZero(cv2.bitwise_and(prediction, truth))
    return Overlap(cv2.countNonZero(prediction), cv2.countNonZero(truth), shared)


def region_similarity(prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """J of two (H, W) masks, a score in [0, 1]; two empty masks agree fully (1).

    Raises:
        InputError: the masks differ in size or are not two-dimensional.
    """
    check_sizes(prediction, truth)
    return overlap(*(as_bits(mask != 0) for mask in (prediction, truth))).jaccard()
