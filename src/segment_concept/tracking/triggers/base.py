"""When is the (slow) concept encoder worth asking? Predicates over what was just seen.

A trigger looks at every frame once; the session keeps the look, so that comparing a frame with
the previous one costs one look and not two. What a trigger has to know of frames before those two
it notes in its verdict, and is given back with the next glance: triggers hold no state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp
from typing import Any, Protocol, TypeAlias

from segment_concept.tracking.step import Seen
from segment_concept.types import Frame, ObjectId

Look: TypeAlias = tuple[Any, ...]  # what a trigger keeps of a frame; only itself reads it
Notes: TypeAlias = tuple[Any, ...]  # what it has to know of the past; () before the first frame


@dataclass(frozen=True, slots=True)
class Glance:
    """All that a trigger may decide by."""

    frame_index: int
    before: Look  # of the frame processed just before, whichever way the video is played
    now: Look
    frames_since_asked: int  # frames played since then, this one included
    previous_index: int | None = None  # of the frame processed just before
    backwards: bool = False  # is the video played backwards?
    asked_before: bool = True  # was it ever? If not, frames count from the first one
    seen: Mapping[ObjectId, Seen] = field(default_factory=dict)  # on the previous frame
    notes: Notes = ()  # those of the verdict on the frame judged before


@dataclass(frozen=True, slots=True)
class Verdict:
    """Ask or not, and the distance to the previous frame where the trigger measures one.

    `cut` says that it takes the frame for the first of a shot, `whom` about which objects to ask,
    where not about all. `notes` come back with the next glance. They are stored with an interrupted
    run, so they are data: numbers, tensors, arrays, frozen records, tuples or mappings of these.
    """

    ask: bool
    distance: float | None = None
    notes: Notes = ()
    cut: bool = False
    whom: frozenset[ObjectId] | None = None

    def asks_about(self, object_id: ObjectId) -> bool:
        """Is the concept encoder to be asked about this object?"""
        return self.ask and (self.whom is None or object_id in self.whom)


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
    """On given frames, those that begin a shot: a shot detector's or an editor's cut list.

    Played backwards, the first frame that is seen of a shot is its last; where the beginning of a
    shot was skipped or damaged, it is the first that is there.
    """

    frames: frozenset[int]

    def judge(self, glance: Glance) -> Verdict:
        now, before = glance.frame_index, glance.previous_index
        if glance.backwards:  # what lies behind a frame here is the one after it
            crossed = range(now + 1, max(before or 0, now + 1) + 1)
        else:
            crossed = range(now if before is None else min(before + 1, now), now + 1)
        begins = any(index in self.frames for index in crossed)
        return Verdict(begins, cut=begins)


@dataclass(frozen=True, slots=True)
class LowQuality(_Blind):
    """After a frame on which an object was segmented badly or not seen, about that object."""

    below: float = 0.5  # predicted IoU or object score, whichever is lower

    def judge(self, glance: Glance) -> Verdict:
        bad = {i for i, seen in glance.seen.items() if least_score(seen) < self.below}
        return Verdict(bool(bad), whom=frozenset(bad))


def least_score(seen: Seen) -> float:
    """Predicted IoU or object score, whichever is lower."""
    return min(1 / (1 + exp(-seen.presence)), seen.iou)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of several triggers; the distance is the first that is measured."""

    triggers: tuple[Trigger, ...]

    def look(self, frame: Frame) -> Look:
        return tuple(trigger.look(frame) for trigger in self.triggers)

    def judge(self, glance: Glance) -> Verdict:
        noted = glance.notes or ((),) * len(self.triggers)
        each = zip(self.triggers, glance.before, glance.now, noted, strict=True)
        verdicts = [
            trigger.judge(replace(glance, before=before, now=now, notes=notes))
            for trigger, before, now, notes in each
        ]
        distances = (v.distance for v in verdicts if v.distance is not None)
        kept = tuple(v.notes for v in verdicts)
        asking = [v.whom for v in verdicts if v.ask]
        some = [whom for whom in asking if whom is not None]
        return Verdict(
            bool(asking),
            next(distances, None),
            kept if any(kept) else (),
            cut=any(v.cut for v in verdicts),
            whom=frozenset().union(*some) if 0 < len(some) == len(asking) else None,
        )


@dataclass(frozen=True, slots=True)
class Refractory:
    """A trigger that is not heard on the first `frames` frames after the encoder was asked."""

    trigger: Trigger
    frames: int

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"Refractory needs at least 1 frame, got {self.frames}")

    def look(self, frame: Frame) -> Look:
        return self.trigger.look(frame)

    def judge(self, glance: Glance) -> Verdict:
        verdict = self.trigger.judge(glance)
        rests = glance.asked_before and glance.frames_since_asked <= self.frames
        return replace(verdict, ask=verdict.ask and not rests)
