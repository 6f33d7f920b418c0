"""Triggers that detect scene changes between two frames."""

from dataclasses import dataclass

from segment_concept.ops.color import hue_saturation_distance, hue_saturation_histogram
from segment_concept.shots.content import (
    LEAST_CHANGE,
    NEIGHBOURS,
    TIMES_NEIGHBOURS,
    change_between,
    hsv_of,
    stands_out,
)
from segment_concept.tracking.triggers.base import FrameDescriptor, TriggerContext, TriggerDecision
from segment_concept.types import Frame


@dataclass(frozen=True, slots=True)
class HistogramShift:
    """Fires if the Bhattacharyya distance of two hue-saturation histograms exceeds `above`.

    Frames are first resized to a square of `side` pixels; 1024 and 0.35 are as published (SeC).
    """

    above: float = 0.35
    side: int = 1024

    def describe(self, frame: Frame) -> FrameDescriptor:
        return (hue_saturation_histogram(frame.rgb, self.side),)

    def decide(self, context: TriggerContext) -> TriggerDecision:
        distance = hue_saturation_distance(context.before[0], context.now[0])
        return TriggerDecision(distance > self.above, distance, cut=distance > self.above)


def published_hsv() -> HistogramShift:
    """SeC's published trigger."""
    return HistogramShift()


def fast_hsv() -> HistogramShift:
    """The same at 256 px: it fires on the same frames of SeC's demo clip at 1/25 of the cost."""
    return HistogramShift(side=256)


@dataclass(frozen=True, slots=True)
class AdaptiveContent:
    """Fires if the frame changes much more than the frames before it (see `shots.content`).

    PySceneDetect's adaptive detector compares a change with those of two frames before and two
    after, so it is two frames late. This trigger uses earlier frames only, so it works on live
    video. The change of a cut prevents a second one on the next `neighbours` frames. It reports no
    distance, because the threshold depends on the frames before.
    """

    times: float = TIMES_NEIGHBOURS
    least: float = LEAST_CHANGE  # minimum change, of 255
    neighbours: int = NEIGHBOURS

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"AdaptiveContent needs at least 1 neighbor, got {self.neighbours}")

    def describe(self, frame: Frame) -> FrameDescriptor:
        return (hsv_of(frame),)

    def decide(self, context: TriggerContext) -> TriggerDecision:
        change = change_between(context.before[0], context.now[0])
        # Without an earlier change to compare with, motion on the first frames would be a cut.
        query = bool(context.state) and stands_out(change, context.state, self.times, self.least)
        state = (*context.state, change)[-self.neighbours :]
        return TriggerDecision(query, state=state, cut=query)
