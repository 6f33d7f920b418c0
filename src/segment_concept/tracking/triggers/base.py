"""Triggers: decide on each frame whether to query the (slow) concept encoder.

Triggers are stateless. `describe(frame)` is called once per frame and cached by the session;
`decide(context)` compares the descriptors of the current and the previous frame. State that must
survive longer is returned in the decision and passed back with the next context.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

from segment_concept.tracking.step import ObjectState
from segment_concept.types import Frame, ObjectId

# What a trigger keeps of a frame; opaque to everything but the trigger itself.
FrameDescriptor: TypeAlias = tuple[Any, ...]
# What a trigger must know of earlier frames; () before the first frame.
TriggerState: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class TriggerContext:
    """Everything a trigger may use for its decision."""

    frame_index: int
    before: FrameDescriptor  # descriptor of the previous frame in playing order
    now: FrameDescriptor  # descriptor of this frame
    frames_since_query: int  # frames played since the last query, this one included
    previous_index: int | None = None  # index of the previous frame in playing order
    backwards: bool = False  # whether the video is played backwards
    queried_before: bool = True  # False: no query yet, and frames count from the first frame
    states: Mapping[ObjectId, ObjectState] = field(default_factory=dict)  # on the previous frame
    state: TriggerState = ()  # state of the previous decision


@dataclass(frozen=True, slots=True)
class TriggerDecision:
    """The decision of a trigger on one frame.

    Attributes:
        query: whether to query the concept encoder.
        distance: distance to the previous frame, if the trigger measures one.
        state: passed back with the next context. It is saved with an interrupted run, so it must
            be data: numbers, tensors, arrays, frozen records, tuples or mappings of these.
        cut: whether the frame is the first of a shot.
        object_ids: objects to query; None for all.
    """

    query: bool
    distance: float | None = None
    state: TriggerState = ()
    cut: bool = False
    object_ids: frozenset[ObjectId] | None = None

    def queries(self, object_id: ObjectId) -> bool:
        """Whether to query the concept encoder for this object."""
        return self.query and (self.object_ids is None or object_id in self.object_ids)


class Trigger(Protocol):
    """Interface of triggers. Both methods are pure functions; equal frames are never a cut."""

    def describe(self, frame: Frame) -> FrameDescriptor:
        """Compute what is needed to compare a frame with the next one."""
        ...

    def decide(self, context: TriggerContext) -> TriggerDecision:
        """Decide whether to query the concept encoder on this frame."""
        ...


class _Blind:
    """Base of triggers that do not use pixels."""

    __slots__ = ()

    def describe(self, frame: Frame) -> FrameDescriptor:
        return ()


@dataclass(frozen=True, slots=True)
class Never(_Blind):
    """Never queries."""

    def decide(self, context: TriggerContext) -> TriggerDecision:
        return TriggerDecision(False)


@dataclass(frozen=True, slots=True)
class Every(_Blind):
    """Queries on every n-th frame after the last query."""

    frames: int

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"Every needs at least 1 frame, got {self.frames}")

    def decide(self, context: TriggerContext) -> TriggerDecision:
        return TriggerDecision(context.frames_since_query >= self.frames)


@dataclass(frozen=True, slots=True)
class AtFrames(_Blind):
    """Queries on the first frames of shots, from a shot detector or a cut list.

    In backward playback the query is on the last frame of the shot before the cut. If the first
    frame of a shot is missing or damaged, the query is on the next available frame.
    """

    frames: frozenset[int]

    def decide(self, context: TriggerContext) -> TriggerDecision:
        now, before = context.frame_index, context.previous_index
        if context.backwards:  # the previous frame has a higher index
            crossed = range(now + 1, max(before or 0, now + 1) + 1)
        else:
            crossed = range(now if before is None else min(before + 1, now), now + 1)
        is_first = any(index in self.frames for index in crossed)
        return TriggerDecision(is_first, cut=is_first)


@dataclass(frozen=True, slots=True)
class LowQuality(_Blind):
    """Queries for an object whose score was low on the previous frame."""

    below: float = 0.5  # threshold on min(predicted IoU, object score)

    def decide(self, context: TriggerContext) -> TriggerDecision:
        bad = {i for i, state in context.states.items() if min_confidence(state) < self.below}
        return TriggerDecision(bool(bad), object_ids=frozenset(bad))


def min_confidence(state: ObjectState) -> float:
    """The lower of predicted IoU and object score, in [0, 1]."""
    return min(state.score, state.iou)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Queries if any of several triggers does; the distance is the first one measured."""

    triggers: tuple[Trigger, ...]

    def describe(self, frame: Frame) -> FrameDescriptor:
        return tuple(trigger.describe(frame) for trigger in self.triggers)

    def decide(self, context: TriggerContext) -> TriggerDecision:
        previous = context.state or ((),) * len(self.triggers)
        each = zip(self.triggers, context.before, context.now, previous, strict=True)
        decisions = [
            trigger.decide(replace(context, before=before, now=now, state=state))
            for trigger, before, now, state in each
        ]
        distances = (d.distance for d in decisions if d.distance is not None)
        states = tuple(d.state for d in decisions)
        asking = [d.object_ids for d in decisions if d.query]
        some = [object_ids for object_ids in asking if object_ids is not None]
        return TriggerDecision(
            bool(asking),
            next(distances, None),
            states if any(states) else (),
            cut=any(d.cut for d in decisions),
            object_ids=frozenset().union(*some) if 0 < len(some) == len(asking) else None,
        )


@dataclass(frozen=True, slots=True)
class Cooldown:
    """Suppresses queries of a trigger on the `frames` frames after a query."""

    trigger: Trigger
    frames: int

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"Cooldown needs at least 1 frame, got {self.frames}")

    def describe(self, frame: Frame) -> FrameDescriptor:
        return self.trigger.describe(frame)

    def decide(self, context: TriggerContext) -> TriggerDecision:
        decision = self.trigger.decide(context)
        suppressed = context.queried_before and context.frames_since_query <= self.frames
        return replace(decision, query=decision.query and not suppressed)
