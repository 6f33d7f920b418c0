"""Boundary accuracy F: agreement of the boundary pixels of two masks.

Definitions of Martin, Fowlkes and Malik (PAMI 2004) as used by DAVIS (Perazzi et al., CVPR 2016).
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.metrics.region import check_sizes
from segment_concept.ops.overlap import Bits, as_bits

TOLERANCE = 0.008  # of the image diagonal (DAVIS 2016, 2017 and all that follow them)

_SQUARE_OF_TWO = np.ones((2, 2), np.uint8)
# A lookup of one value costs as much as this many kernel cells of a dilation (measured, AVX2).
_CELLS_PER_LOOKUP = 250


def boundary_map(mask: Bits) -> Bits:
    """The one-pixel boundary of a (H, W) mask, half a pixel towards the origin.

    A boundary pixel differs from its right, lower or lower-right neighbor. There are no neighbors
    outside the image, so a mask that fills the image has no boundary.
    """
    # The gradient over the 2x2 square that starts at the pixel is non-zero exactly there.
    return cast(Bits, cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, _SQUARE_OF_TWO, anchor=(0, 0)))


def tolerance_radius(height: int, width: int) -> int:
    """Distance in pixels at which two boundaries still match: 8 at 854x480, 18 at 1920x1080."""
    return math.ceil(TOLERANCE * math.hypot(height, width))


@dataclass(frozen=True, slots=True, eq=False)
class Footprint:
    """A neighborhood of a pixel, prepared for fast tests.

    `cells` is (2k+1, 2k+1) uint8 around the center; `square` is the half side of the largest
    centered square inside it; `ring` holds the (dy, dx) of the cells outside that square.
    """

    cells: NDArray[np.uint8]
    square: int
    ring: NDArray[np.intp]

    @property
    def reach(self) -> int:
        """The half side k."""
        return len(self.cells) // 2


@lru_cache(maxsize=64)
def disk(radius: float) -> Footprint:
    """All cells within `radius` of the center.

    As published, a fractional radius gives cells at offsets -r, -r+1, ... and so a disk that is
    slightly off center; MOSE v2 relies on this (radius 7.837 has 191 cells, radius 8 has 197).
    """
    offsets = np.arange(-radius, radius + 1)
    cells = (offsets[:, None] ** 2 + offsets[None, :] ** 2 <= radius**2).astype(np.uint8)
    reach = cells.shape[0] // 2
    square = 0
    while square < reach and _has_square(cells, square + 1):
        square += 1
    rest = cells.copy()
    rest[reach - square : reach + square + 1, reach - square : reach + square + 1] = 0
    return Footprint(cells, square, np.argwhere(rest) - reach)


def _has_square(cells: NDArray[np.uint8], half: int) -> bool:
    reach = cells.shape[0] // 2
    inside = slice(reach - half, reach + half + 1)
    return bool(cells[inside, inside].all())


def count_near(pixels: Bits, others: Bits, footprint: Footprint) -> int:
    """Number of set `pixels` that have a set pixel of `others` in their footprint.

    The result is exact. Most pixels are decided by a square, whose dilation is separable and fast.
    """
    side = 2 * footprint.square + 1
    near = cv2.dilate(others, np.ones((side, side), np.uint8))
    total = cv2.countNonZero(pixels)
    left = cast(Bits, cv2.subtract(pixels, near))
    unsettled = cv2.countNonZero(left)
    if not unsettled or not len(footprint.ring):
        return total - unsettled
    lookups = unsettled * len(footprint.ring)
    if lookups * _CELLS_PER_LOOKUP > pixels.size * footprint.cells.sum():
        return cv2.countNonZero(cv2.bitwise_and(pixels, cv2.dilate(others, footprint.cells)))
    return total - unsettled + _count_in_ring(left, others, footprint)


def _count_in_ring(pixels: Bits, others: Bits, footprint: Footprint) -> int:
    reach = footprint.reach
    padded = cv2.copyMakeBorder(others, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    stride = padded.shape[1]
    # OpenCV 4 returns (N, 1, 2), OpenCV 5 (N, 2).
    xy = cv2.findNonZero(pixels).reshape(-1, 2).astype(np.intp)
    centres = (xy[:, 1] + reach) * stride + xy[:, 0] + reach
    steps = footprint.ring[:, 0] * stride + footprint.ring[:, 1]
    values = padded.ravel()[centres[:, None] + steps[None, :]]
    return int(np.count_nonzero(values.any(axis=1)))


def f_measure(near_predicted: int, predicted: int, near_true: int, true: int) -> float:
    """F from the numbers of matched and of all boundary pixels of prediction and truth."""
    if not predicted and not true:
        return 1.0
    if not predicted or not true:
        return 0.0  # precision or recall is 0
    precision, sensitivity = near_predicted / predicted, near_true / true
    if precision + sensitivity == 0:
        return 0.0
    return 2 * precision * sensitivity / (precision + sensitivity)


def boundary_match(predicted: Bits, true: Bits, footprint: Footprint) -> float:
    """F of two (H, W) boundary maps under the given tolerance."""
    return f_measure(
        count_near(predicted, true, footprint),
        cv2.countNonZero(predicted),
        count_near(true, predicted, footprint),
        cv2.countNonZero(true),
    )


def boundary_accuracy(
    prediction: NDArray[np.generic], truth: NDArray[np.generic], radius: int | None = None
) -> float:
    """F of two (H, W) masks, a score in [0, 1]; `radius` in pixels is 0.8 % of the diagonal.

    Two masks without boundary (empty, or filling the image) have F = 1, as published: an empty
    prediction of an object that fills the image has F = 1 and J = 0.

    Raises:
        InputError: the masks differ in size or are not two-dimensional.
    """
    check_sizes(prediction, truth)
    if radius is None:
        radius = tolerance_radius(truth.shape[0], truth.shape[1])
    predicted, true = (boundary_map(as_bits(mask != 0)) for mask in (prediction, truth))
    return boundary_match(predicted, true, disk(float(radius)))
