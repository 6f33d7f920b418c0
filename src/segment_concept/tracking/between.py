"""Masks of frames between two tracked ones, carried there from both by optical flow.

Most frames of a calm film show what their neighbors show, moved by some pixels. Where the masks of
both tracked frames, moved as the picture moves, agree on those between, they need not be looked for
there. `carrying` decides which frames are carried.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from segment_concept.ops.flow import (
    Floats,
    Flow,
    FlowEstimator,
    averaged,
    chained,
    dilated,
    floats,
    gradient,
    resized,
    resized_flow,
    warp,
)
from segment_concept.ops.overlap import mask_iou, share_apart
from segment_concept.tracking.step import ObjectState
from segment_concept.types import Bitmap, Image, ObjectId

NEAR = 4  # pixels around a mask that belong to its surroundings
WINDOW = 5  # pixels of the side over which an error is averaged
NOISE = 2.0  # gray levels: the error that is expected where all is well
LEAST_GRADIENT = 0.5  # gray levels a pixel; noise alone has as much


@dataclass(frozen=True, slots=True)
class Limits:
    """When a frame may be carried. Chosen on held-out clips (docs/LOG.md).

    Attributes:
        agreement: the IoU that the masks moved from both sides must have, of every object.
        apart: the largest share of an object's mask that may lie apart from where the mask from the
            other side is, in one region. Something else was taken there, or a part was lost.
        clear_agreement: the agreement that they must have if more frames in a row are to be tried
            the next time.
        misfit: largest misfit of the moved neighbors near an object, in pixels of the small
            pictures (see `Move.misfit`). It tells fast motion, blur, occlusion and wrong flow.
        confidence: the object score and the predicted IoU that an object must have.
        absence: the object score below which an object is certainly absent.
    """

    agreement: float = 0.84
    apart: float = 0.01
    clear_agreement: float = 0.88
    misfit: float = 1.4
    confidence: float = 0.5
    absence: float = 0.1

    def is_certain(self, state: ObjectState) -> bool:
        """Whether an object is certainly there, with a good mask, or certainly not."""
        return self.is_absent(state) or min(state.score, state.iou) > self.confidence

    def is_absent(self, state: ObjectState) -> bool:
        """Whether an object is certainly not there."""
        return state.score < self.absence

    def agree(
        self, before: Mapping[ObjectId, ObjectState], after: Mapping[ObjectId, ObjectState]
    ) -> bool:
        """Whether the same objects are there on two frames, as far as is certain on the second."""
        return set(before) == set(after) and all(
            self.is_certain(after[i]) and self.is_absent(before[i]) == self.is_absent(after[i])
            for i in before
        )


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


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a tracked frame says of another one.

    Attributes:
        logits: (h', w') of every object on the tracked frame, moved to the other one.
        error: (h', w') gray levels: the difference between the other frame and the tracked one that
            was moved to it.
    """

    logits: list[Floats]
    error: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """How a frame lies between two tracked ones.

    Attributes:
        gray: the frame, as made by `small_gray`.
        before: what the tracked frame before it says.
        onward: flow from the frame to the next one.
    """

    gray: Image
    before: View
    onward: Flow


def ways_to(
    estimator: FlowEstimator,
    behind: Sequence[Image],
    frames: Sequence[Image],
    logits: Sequence[Floats],
    misfit: float,
) -> list[Way]:
    """The ways of all frames but the last, up to the first whose picture moves too much.

    Args:
        estimator: computes flow.
        behind: the last tracked frame and those passed over since, as made by `small_gray`.
        frames: those that follow, likewise.
        logits: (h', w') of objects on the tracked frame, all of one size.
        misfit: the largest misfit of a frame's moves to both neighbors, near the objects.
    """
    size = (frames[0].shape[0], frames[0].shape[1])
    total: Flow | None = None  # to the tracked frame
    for before, now in pairwise(behind):
        total = chained(estimator.flow(now, before), total)
    ways: list[Way] = []
    for before, now, after in zip([behind[-1], *frames], frames, frames[1:], strict=False):
        back = move_to(estimator, now, before)
        total = chained(back.flow, total)
        view = _view(now, behind[0], total, logits)
        masks = [resized(each, size) > 0 for each in view.logits]
        if back.misfit(masks) > misfit:
            break
        onward = move_to(estimator, now, after)
        if onward.misfit(masks) > misfit:
            break
        ways.append(Way(now, view, onward.flow))
    return ways


def views_after(ways: Sequence[Way], after: Image, logits: Sequence[Floats]) -> list[View]:
    """What the tracked frame after says of every frame between.

    Args:
        ways: of the frames between.
        after: the tracked frame, as made by `small_gray`.
        logits: (h', w') of objects on it, all of one size.
    """
    total: Flow | None = None
    views: list[View] = []
    for way in reversed(ways):
        total = chained(way.onward, total)
        views.append(_view(way.gray, after, total, logits))
    return views[::-1]


def _view(gray: Image, tracked: Image, flow: Flow, logits: Sequence[Floats]) -> View:
    """What a tracked frame says of a frame, from which the flow leads to it.

    Logits are interpolated only once, on their own grid.
    """
    size = (logits[0].shape[0], logits[0].shape[1])
    on_grid = resized_flow(flow, size)
    error = averaged(np.abs(warp(floats(tracked), flow) - floats(gray)), WINDOW)
    return View([warp(each, on_grid) for each in logits], resized(error, size))


def mixed(before: View, after: View, share: float) -> list[Floats]:
    """Logits (h', w') of every object according to two tracked frames.

    They are a weighted mean. Weights are those of linear interpolation, divided by the variance
    that the error of each view suggests (inverse-variance weighting): what is hidden on one of the
    two frames, or has moved otherwise than the flow says, is taken from the other.

    Args:
        before: what the tracked frame before says.
        after: what the one after says.
        share: of the time between the two that has passed, in (0, 1).
    """
    first = (1 - share) / (before.error**2 + NOISE**2)
    second = share / (after.error**2 + NOISE**2)
    weight = first / (first + second)
    pairs = zip(before.logits, after.logits, strict=True)
    return [floats(weight * a + (1 - weight) * b) for a, b in pairs]


def agreement(before: View, after: View) -> float:
    """The lowest IoU, over objects, of masks that were moved to a frame from both sides."""
    pairs = zip(before.logits, after.logits, strict=True)
    return min((mask_iou(a > 0, b > 0) for a, b in pairs), default=1.0)


def most_apart(before: View, after: View) -> float:
    """The largest share of any of these masks that lies apart from the same object's other one."""
    pairs = [(a > 0, b > 0) for a, b in zip(before.logits, after.logits, strict=True)]
    return max((max(share_apart(a, b), share_apart(b, a)) for a, b in pairs), default=0.0)
