"""J and F of one object in one frame, computed on a crop around it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.metrics.boundary import boundary_map, boundary_match, disk, tolerance_radius
from segment_concept.metrics.region import check_sizes
from segment_concept.ops.overlap import Bits, Overlap, as_bits, overlap

Labels = NDArray[np.integer]  # (H, W) object ids, 0 = background

_EXACT_FLOAT32 = 1 << 24  # calcHist counts in float32, which is exact up to this number


class PairScore(NamedTuple):
    """Scores of one object in one frame, in [0, 1]."""

    region: float  # J
    boundary: float  # F


BOTH_EMPTY = PairScore(1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class MaskPair:
    """Prediction and truth of one object, cropped to both with a margin of one pixel.

    `predicted` and `true` are of equal shape, 0 or 1; `size` is the (H, W) of the whole frame.
    """

    predicted: Bits
    true: Bits
    size: tuple[int, int]

    @classmethod
    def of(cls, prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> "MaskPair":
        """From two (H, W) masks; non-zero is object.

        Raises:
            InputError: the masks differ in size or are not two-dimensional.
        """
        check_sizes(prediction, truth)
        height, width = truth.shape
        return cls(as_bits(prediction != 0), as_bits(truth != 0), (height, width)).cropped()

    def cropped(self) -> "MaskPair":
        """The same pair on the smallest crop that keeps every boundary pixel."""
        window = window_of((self.predicted, self.true))
        return MaskPair(self.predicted[window], self.true[window], self.size)

    def overlap(self) -> Overlap:
        """Pixel counts of both masks."""
        return overlap(self.predicted, self.true)


def window_of(masks: Iterable[Bits]) -> tuple[slice, slice]:
    """Rows and columns of all non-zero pixels of the (H, W) masks, with a margin of one pixel.

    The margin keeps boundaries exact: they extend one pixel up and left of a mask, and the rows and
    columns at the lower and right edge of the image follow a special rule.
    """
    boxes = [cv2.boundingRect(mask) for mask in masks]
    boxes = [box for box in boxes if box[2]]
    if not boxes:
        return slice(0, 1), slice(0, 1)
    left = min(x for x, _, _, _ in boxes)
    top = min(y for _, y, _, _ in boxes)
    right = max(x + w for x, _, w, _ in boxes)
    bottom = max(y + h for _, y, _, h in boxes)
    return slice(max(top - 1, 0), bottom + 1), slice(max(left - 1, 0), right + 1)


def davis_pair(pair: MaskPair) -> PairScore:
    """J and F of one object in one frame as defined by DAVIS 2017."""
    counts = pair.overlap()
    if not counts.predicted or not counts.true:
        return PairScore(counts.jaccard(), without_partner(counts, pair.size))
    footprint = disk(float(tolerance_radius(*pair.size)))
    f = boundary_match(boundary_map(pair.predicted), boundary_map(pair.true), footprint)
    return PairScore(counts.jaccard(), f)


def without_partner(counts: Overlap, size: tuple[int, int]) -> float:
    """F if one mask is empty: 1 if the other has no boundary either, else 0.

    As published, a mask that fills the image has no boundary, so missing it costs no F.
    """
    area = counts.predicted + counts.true
    return 1.0 if area in (0, size[0] * size[1]) else 0.0


class LabelPair:
    """Label maps of prediction and truth of one frame, compared per object."""

    def __init__(self, prediction: Labels, truth: Labels) -> None:
        """Raises InputError if they differ in size."""
        check_sizes(prediction, truth)
        self.size: tuple[int, int] = (truth.shape[0], truth.shape[1])
        window = window_of(_indicator(labels) for labels in (prediction, truth))
        self._prediction = np.ascontiguousarray(prediction[window])
        self._truth = np.ascontiguousarray(truth[window])
        self.predicted_ids = ids_of(self._prediction)
        self.true_ids = ids_of(self._truth)
        self._ids = self.predicted_ids | self.true_ids

    def of(self, object_id: int) -> MaskPair:
        """The two masks of one object; both may be empty."""
        return self.cross(object_id, object_id)

    def cross(self, predicted_id: int, true_id: int) -> MaskPair:
        """Masks of a predicted and a true object; id 0 stands for no object."""
        predicted = self._prediction == predicted_id if predicted_id else self._nothing()
        true = self._truth == true_id if true_id else self._nothing()
        pair = MaskPair(predicted.view(np.uint8), true.view(np.uint8), self.size)
        # the crop of all objects is that of the only one
        return pair if self._ids == {predicted_id} == {true_id} else pair.cropped()

    def _nothing(self) -> NDArray[np.bool_]:
        return np.zeros(self._truth.shape, np.bool_)

    def score(self, object_id: int) -> PairScore:
        """J and F of one object."""
        if object_id not in self._ids:
            return BOTH_EMPTY
        return davis_pair(self.of(object_id))


def _indicator(labels: Labels) -> Bits:
    return cast(Bits, labels if labels.dtype == np.uint8 else (labels != 0).view(np.uint8))


def ids_of(labels: Labels) -> frozenset[int]:
    """The object ids of a (H, W) label map, without 0."""
    if labels.dtype != np.uint8 or labels.size > _EXACT_FLOAT32:
        return frozenset(int(i) for i in np.unique(labels) if i)
    highest = int(labels.max(initial=0))
    if not highest:
        return frozenset()
    if np.count_nonzero(labels == highest) == cv2.countNonZero(
        labels
    ):  # the common case of a single object
        return frozenset({highest})
    counts = cv2.calcHist([labels], [0], None, [256], [0, 256])
    return frozenset(int(i) for i in np.flatnonzero(counts.ravel()) if i)
