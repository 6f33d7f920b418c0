"""scene_change."""

from dataclasses import dataclass

from segment_concept.ops.color import hue_saturation_distance, hue_saturation_histogram
from segment_concept.shots.content import (
    LEAST_CHANGE,
    NEIGHBOURS,
    TIMES_NEIGHBOURS,
    change_between,
    small_hsv,
    stands_out,
)
from segment_concept.tracking.triggers.base import FrameDescriptor, TriggerContext, TriggerDecision
from segment_concept.types import Frame


@dataclass(frozen=True, slots=True)
class HistogramShift:
    """Bhattacharyya distance between hue-saturation histograms of the two frames exceeds `above`.

    `side` is the square to which frames are resized first; 1024 and 0.35 are as published.
    """

    above: float = 0.35
    side: int = 1024

    def describe(self, frame: Frame) -> FrameDescriptor:
        return (hue_saturation_histogram(frame.rgb, self.side),)

    def decide(self, context: TriggerContext) -> TriggerDecision:
        distance = hue_saturation_distance(context.before[0], context.now[0])
        return TriggerDecision(distance > self.above, distance, cut=distance > self.above)


def published_hsv() -> HistogramShift:
    """SeC's trigger, exactly."""
    return HistogramShift()


def fast_hsv() -> HistogramShift:
    """The same on 256 px: the same frames fire on SeC's demo clip, at 1/25 of the cost."""
    return HistogramShift(side=256)


@dataclass(frozen=True, slots=True)
class AdaptiveContent:
    """The picture changes much more than it did on the frames before (see `ops.shots`).

    PySceneDetect's adaptive detector for a video that is live: that one compares a frame's change
    with those of two frames before and two after, and so speaks two frames late; this one has the
    frames before alone. The changes of a cut keep a second call away for as many frames. No
    distance is told: what is much depends on the frames before.
    """

    times: float = TIMES_NEIGHBOURS
    least: float = LEAST_CHANGE  # of 255
    neighbours: int = NEIGHBOURS

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"Adaptive needs at least 1 neighbour, got {self.neighbours}")

    def describe(self, frame: Frame) -> FrameDescriptor:
        return (small_hsv(frame.rgb),)

    def decide(self, context: TriggerContext) -> TriggerDecision:
        change = change_between(context.before[0], context.now[0])
        # Without a change to compare with, motion at the beginning would pass for a cut.
        query = bool(context.state) and stands_out(change, context.state, self.times, self.least)
        state = (*context.state, change)[-self.neighbours :]
        return TriggerDecision(query, state=state, cut=query)
