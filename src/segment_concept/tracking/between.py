"""Masks of a frame between two tracked ones, carried there from both by optical flow.

Most frames of a calm film show what their neighbors show, moved by some pixels. Where the masks of
both neighbors, moved as the picture moves, agree on the frame between, they need not be looked for
there. `half_rate` decides which frames are carried.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segment_concept.ops.flow import (
    Floats,
    Flow,
    FlowEstimator,
    dilated,
    floats,
    gradient,
    resized,
    warp,
)
from segment_concept.ops.overlap import mask_iou
from segment_concept.types import Bitmap, Image

NEAR = 4  # pixels around a mask that belong to its surroundings
LEAST_GRADIENT = 0.5  # gray levels a pixel; noise alone has as much


@dataclass(frozen=True, slots=True)
class Limits:
    """When a frame may be carried. Chosen on held-out clips (docs/LOG.md).

    Attributes:
        agreement: the IoU that the moved masks of both neighbors must have, of every object.
        misfit: largest misfit of the moved neighbors near an object, in pixels of the small
            pictures (see `Move.misfit`). It tells fast motion, blur, occlusion and wrong flow.
        confidence: the object score and the predicted IoU that an object must have.
        absence: the object score below which an object is certainly absent.
    """

    agreement: float = 0.86
    misfit: float = 1.4
    confidence: float = 0.5
    absence: float = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """How the picture of a frame lies in that of a neighbor.

    Attributes:
        flow: from the frame to the neighbor.
        residual: (h, w) gray levels between the frame and the moved neighbor.
        gradient: (h, w) gray levels a pixel, of the frame.
    """

    flow: Flow
    residual: Floats
    gradient: Floats

    def misfit(self, masks: Sequence[Bitmap]) -> float:
        """The largest misfit near one of the masks (h, w); without any, that of the picture.

        It is the mean residual divided by the mean gradient: by about so many pixels the moved
        neighbor would have to be displaced to look so different.
        """
        near = [dilated(mask, NEAR) for mask in masks if mask.any()]
        return max(map(self._misfit, near or [np.ones(self.residual.shape, np.bool_)]))

    def _misfit(self, near: Bitmap) -> float:
        gradient = max(LEAST_GRADIENT, float(self.gradient[near].mean()))
        return float(self.residual[near].mean()) / gradient


def move_to(estimator: FlowEstimator, frame: Image, neighbor: Image) -> Move:
    """The move from a frame to a neighbor; both as made by `small_gray`."""
    flow = estimator.flow(frame, neighbor)
    moved = warp(floats(neighbor), flow)
    return Move(flow, np.abs(moved - floats(frame)), gradient(frame))


def moved_logits(logits: Sequence[Floats], flow: Flow) -> list[Floats]:
    """Logits of objects on a neighbor, of any size, as (h, w) on the frame where `flow` begins."""
    height, width = flow.shape[:2]
    return [warp(resized(each, (height, width)), flow) for each in logits]


def agreement(before: Sequence[Floats], after: Sequence[Floats]) -> float:
    """The lowest IoU, over objects, of masks that were moved to a frame from both sides."""
    pairs = zip(before, after, strict=True)
    return min((mask_iou(a > 0, b > 0) for a, b in pairs), default=1.0)
