"""When is the (slow) concept encoder worth asking? Predicates over what was just seen.

A trigger looks at every frame once; the session keeps the look, so that comparing a frame with
the previous one costs one look and not two. What a trigger has to know of frames before those two
it notes in its verdict, and is given back with the next glance: triggers hold no state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp
from typing import Any, Protocol, TypeAlias

from segment_concept.tracking.step import ObjectState
from segment_concept.types import Frame, ObjectId

FrameDescriptor: TypeAlias = tuple[
    Any, ...
]  # what a trigger keeps of a frame; only itself reads it
TriggerState: TypeAlias = tuple[
    Any, ...
]  # what it has to know of the past; () before the first frame


@dataclass(frozen=True, slots=True)
class TriggerContext:
    """All that a trigger may decide by."""

    frame_index: int
    before: FrameDescriptor  # of the frame processed just before, whichever way the video is played
    now: FrameDescriptor
    frames_since_query: int  # frames played since then, this one included
    previous_index: int | None = None  # of the frame processed just before
    backwards: bool = False  # is the video played backwards?
    queried_before: bool = True  # was it ever? If not, frames count from the first one
    seen: Mapping[ObjectId, ObjectState] = field(default_factory=dict)  # on the previous frame
    state: TriggerState = ()  # those of the verdict on the frame judged before


@dataclass(frozen=True, slots=True)
class TriggerDecision:
    """Ask or not, and the distance to the previous frame where the trigger measures one.

    `cut` says that it takes the frame for the first of a shot, `whom` about which objects to ask,
    where not about all. `notes` come back with the next glance. They are stored with an interrupted
    run, so they are data: numbers, tensors, arrays, frozen records, tuples or mappings of these.
    """

    query: bool
    distance: float | None = None
    state: TriggerState = ()
    cut: bool = False
    object_ids: frozenset[ObjectId] | None = None

    def queries(self, object_id: ObjectId) -> bool:
        """Is the concept encoder to be asked about this object?"""
        return self.query and (self.object_ids is None or object_id in self.object_ids)


class Trigger(Protocol):
    """Contract: both calls are functions of their arguments; equal frames never ask by distance."""

    def describe(self, frame: Frame) -> FrameDescriptor:
        """What has to be kept of a frame to compare it with the next."""
        ...

    def decide(self, context: TriggerContext) -> TriggerDecision:
        """Is the concept encoder to be asked on this frame?"""
        ...


class _Blind:
    """A trigger that does not look at pixels."""

    __slots__ = ()

    def describe(self, frame: Frame) -> FrameDescriptor:
        return ()


@dataclass(frozen=True, slots=True)
class Never(_Blind):
    """The concept encoder is never asked."""

    def decide(self, context: TriggerContext) -> TriggerDecision:
        return TriggerDecision(False)


@dataclass(frozen=True, slots=True)
class Every(_Blind):
    """Every n-th frame after the last on which it was asked."""

    frames: int

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"Every needs at least 1 frame, got {self.frames}")

    def decide(self, context: TriggerContext) -> TriggerDecision:
        return TriggerDecision(context.frames_since_query >= self.frames)


@dataclass(frozen=True, slots=True)
class AtFrames(_Blind):
    """On given frames, those that begin a shot: a shot detector's or an editor's cut list.

    Played backwards, the first frame that is seen of a shot is its last; where the beginning of a
    shot was skipped or damaged, it is the first that is there.
    """

    frames: frozenset[int]

    def decide(self, context: TriggerContext) -> TriggerDecision:
        now, before = context.frame_index, context.previous_index
        if context.backwards:  # what lies behind a frame here is the one after it
            crossed = range(now + 1, max(before or 0, now + 1) + 1)
        else:
            crossed = range(now if before is None else min(before + 1, now), now + 1)
        begins = any(index in self.frames for index in crossed)
        return TriggerDecision(begins, cut=begins)


@dataclass(frozen=True, slots=True)
class LowQuality(_Blind):
    """After a frame on which an object was segmented badly or not seen, about that object."""

    below: float = 0.5  # predicted IoU or object score, whichever is lower

    def decide(self, context: TriggerContext) -> TriggerDecision:
        bad = {i for i, seen in context.seen.items() if min_confidence(seen) < self.below}
        return TriggerDecision(bool(bad), object_ids=frozenset(bad))


def min_confidence(seen: ObjectState) -> float:
    """Predicted IoU or object score, whichever is lower."""
    return min(1 / (1 + exp(-seen.presence)), seen.iou)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of several triggers; the distance is the first that is measured."""

    triggers: tuple[Trigger, ...]

    def describe(self, frame: Frame) -> FrameDescriptor:
        return tuple(trigger.describe(frame) for trigger in self.triggers)

    def decide(self, context: TriggerContext) -> TriggerDecision:
        noted = context.state or ((),) * len(self.triggers)
        each = zip(self.triggers, context.before, context.now, noted, strict=True)
        verdicts = [
            trigger.decide(replace(context, before=before, now=now, state=state))
            for trigger, before, now, state in each
        ]
        distances = (v.distance for v in verdicts if v.distance is not None)
        kept = tuple(v.state for v in verdicts)
        asking = [v.object_ids for v in verdicts if v.query]
        some = [object_ids for object_ids in asking if object_ids is not None]
        return TriggerDecision(
            bool(asking),
            next(distances, None),
            kept if any(kept) else (),
            cut=any(v.cut for v in verdicts),
            object_ids=frozenset().union(*some) if 0 < len(some) == len(asking) else None,
        )


@dataclass(frozen=True, slots=True)
class Cooldown:
    """A trigger that is not heard on the first `frames` frames after the encoder was asked."""

    trigger: Trigger
    frames: int

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"Refractory needs at least 1 frame, got {self.frames}")

    def describe(self, frame: Frame) -> FrameDescriptor:
        return self.trigger.describe(frame)

    def decide(self, context: TriggerContext) -> TriggerDecision:
        decision = self.trigger.decide(context)
        rests = context.queried_before and context.frames_since_query <= self.frames
        return replace(decision, query=decision.query and not rests)
