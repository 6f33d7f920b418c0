"""When is the (slow) concept encoder worth asking? Predicates over what was just seen.

A trigger looks at every frame once; the session keeps the look, so that comparing a frame with
the previous one costs one look and not two.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from segment_concept.ops.colour import hue_saturation_distance, hue_saturation_histogram
from segment_concept.types import Frame

Look: TypeAlias = tuple[Any, ...]  # what a trigger keeps of a frame; only itself reads it


@dataclass(frozen=True, slots=True)
class Glance:
    """All that a trigger may decide by."""

    frame_index: int
    before: Look  # of the frame processed just before, whichever way the video is played
    now: Look
    frames_since_asked: int  # frames played since then, this one included
    worst_quality: float  # lowest predicted IoU of any object on the previous frame, score
    worst_presence: float  # lowest object score of any object on the previous frame, score


@dataclass(frozen=True, slots=True)
class Verdict:
    """Ask or not, and the distance to the previous frame where the trigger measures one."""

    ask: bool
    distance: float | None = None


class Trigger(Protocol):
    """Contract: both calls are functions of their arguments; equal frames never ask by distance."""

    def look(self, frame: Frame) -> Look:
        """What has to be kept of a frame to compare it with the next."""
        ...

    def judge(self, glance: Glance) -> Verdict:
        """Is the concept encoder to be asked on this frame?"""
        ...


class _Blind:
    """A trigger that does not look at pixels."""

    __slots__ = ()

    def look(self, frame: Frame) -> Look:
        return ()


@dataclass(frozen=True, slots=True)
class Never(_Blind):
    """The concept encoder is never asked."""

    def judge(self, glance: Glance) -> Verdict:
        return Verdict(False)


@dataclass(frozen=True, slots=True)
class Every(_Blind):
    """Every n-th frame after the last on which it was asked."""

    frames: int

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"Every needs at least 1 frame, got {self.frames}")

    def judge(self, glance: Glance) -> Verdict:
        return Verdict(glance.frames_since_asked >= self.frames)


@dataclass(frozen=True, slots=True)
class AtFrames(_Blind):
    """On given frames: a shot detector's or an editor's cut list."""

    frames: frozenset[int]

    def judge(self, glance: Glance) -> Verdict:
        return Verdict(glance.frame_index in self.frames)


@dataclass(frozen=True, slots=True)
class LowQuality(_Blind):
    """After a frame on which some object was segmented badly or not seen."""

    below: float = 0.5  # predicted IoU or object score, whichever is lower

    def judge(self, glance: Glance) -> Verdict:
        return Verdict(min(glance.worst_quality, glance.worst_presence) < self.below)


@dataclass(frozen=True, slots=True)
class HsvShift:
    """Bhattacharyya distance between hue-saturation histograms of the two frames exceeds `above`.

    `side` is the square to which frames are resized first; 1024 and 0.35 are as published.
    """

    above: float = 0.35
    side: int = 1024

    def look(self, frame: Frame) -> Look:
        return (hue_saturation_histogram(frame.rgb, self.side),)

    def judge(self, glance: Glance) -> Verdict:
        distance = hue_saturation_distance(glance.before[0], glance.now[0])
        return Verdict(distance > self.above, distance)


def published_hsv() -> HsvShift:
    """SeC's trigger, exactly."""
    return HsvShift()


def fast_hsv() -> HsvShift:
    """The same on 256 px: the same frames fire on SeC's demo clip, at 1/25 of the cost."""
    return HsvShift(side=256)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of several triggers; the distance is the first that is measured."""

    triggers: tuple[Trigger, ...]

    def look(self, frame: Frame) -> Look:
        return tuple(trigger.look(frame) for trigger in self.triggers)

    def judge(self, glance: Glance) -> Verdict:
        verdicts = [
            trigger.judge(replace(glance, before=before, now=now))
            for trigger, before, now in zip(self.triggers, glance.before, glance.now, strict=True)
        ]
        distances = (v.distance for v in verdicts if v.distance is not None)
        return Verdict(any(v.ask for v in verdicts), next(distances, None))
