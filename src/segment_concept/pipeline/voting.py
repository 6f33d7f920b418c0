"""All passes over a video as one: on every frame and for every object they vote about whether it
is there, and of the second pass's two directions the surer one says where.

It is a tracker like others, so that whatever plays a tracker writes its results; it looks at no
pixel and takes no prompts.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segment_concept.ops.rle import decode_rle
from segment_concept.pipeline.journal import FrameRecord, JournalIndex, ObjectRecord
from segment_concept.pipeline.outputs import CERTAIN_LOGIT
from segment_concept.tracking.offline import Shots, confidence
from segment_concept.types import Frame, FrameResult, InputError, ObjectId, Prompt


@dataclass(frozen=True, slots=True)
class FusedTracker:
    """What was found in the first pass, and forwards and backwards in the second.

    `known` are the objects of every shot of which a frame was shown, or became a keyframe.
    """

    first: JournalIndex
    forward: JournalIndex
    backward: JournalIndex
    shots: Shots
    known: Mapping[int, frozenset[ObjectId]]  # by the number of the shot

    def session(self) -> "FusedSession":
        """The video from any frame."""
        return FusedSession(self)


@dataclass(slots=True, eq=False)
class FusedSession:
    """One look at every frame."""

    tracker: FusedTracker
    object_ids: tuple[ObjectId, ...] = ()  # those of the frame looked at last

    def prompt(self, frame: Frame, prompts: Mapping[ObjectId, Prompt]) -> FrameResult:
        """Raises InputError: it is too late for that."""
        raise InputError(
            "the video was tracked already: show objects to the tracker that is to follow them"
        )

    def step(self, frame: Frame) -> FrameResult:
        """What was found on that frame."""
        first, *ways = (
            way.record(frame.index) if frame.index in way else None
            for way in (self.tracker.first, self.tracker.forward, self.tracker.backward)
        )
        records = [record for record in ways if record is not None]
        known = self.tracker.known.get(self.tracker.shots.on(frame.index), frozenset())
        believed = fuse(first, records, known)
        self.object_ids = tuple(ObjectId(s.id) for s in believed)
        return FrameResult(
            frame_index=frame.index,
            object_ids=self.object_ids,
            logits=_logits(believed, frame.size),
            presence=torch.tensor([s.presence for s in believed]),
            quality=torch.tensor([s.quality for s in believed]),
            concept_queried=any(r.concept_queried for r in records),
            scene_change=next((r.scene_change for r in records), None),
            cut=frame.index in self.tracker.shots.starts[1:],
            seconds=frame.seconds,
        )

    def track(self, frames: Iterable[Frame]) -> Iterator[FrameResult]:
        """`step` over frames as they come."""
        return map(self.step, frames)

    def remove(self, object_id: ObjectId) -> None:
        """Raises KeyError: nothing is followed any more."""
        raise KeyError(f"object {object_id} is not followed: the video was tracked already")


def fuse(
    first: FrameRecord | None, directions: Iterable[FrameRecord], known: Container[int]
) -> list[ObjectRecord]:
    """What is believed of each object on a frame, by their ids.

    It is there where most passes see it. The first pass has a voice because both directions of
    the second are misled alike by a keyframe that shows something else. Where votes are equal, an
    object that is `known` to be in the shot is there. Where it is, the surer of the directions
    that see it tells, the first of equals; the first pass only if neither was there.
    """
    earlier = {seen.id: seen for seen in first.objects} if first else {}
    found: dict[int, list[ObjectRecord]] = {}
    for record in directions:
        for seen in record.objects:
            found.setdefault(seen.id, []).append(seen)
    return [
        _believed(earlier.get(i), found.get(i, []), is_known=i in known)
        for i in sorted(earlier.keys() | found.keys())
    ]


def _believed(
    first: ObjectRecord | None, directions: Sequence[ObjectRecord], *, is_known: bool
) -> ObjectRecord:
    voters = [*directions, *([first] if first else [])]
    ayes = [seen for seen in voters if seen.area]
    is_there = 2 * len(ayes) + is_known > len(voters)
    agreeing = [seen for seen in voters if bool(seen.area) == is_there]
    second = [seen for seen in agreeing if seen is not first]
    return max(second or agreeing, key=lambda seen: confidence(seen.presence, seen.quality))


def _logits(sightings: Sequence[ObjectRecord], size: tuple[int, int]) -> Tensor:
    """(O, H, W). Where objects meet, the surer one has the higher logit."""
    logits = torch.full((len(sightings), *size), -CERTAIN_LOGIT)
    for row, seen in zip(logits, sightings, strict=True):
        sureness = (1 + confidence(seen.presence, seen.quality)) / 2
        row[torch.from_numpy(decode_rle(seen.counts, size))] = CERTAIN_LOGIT * sureness
    return logits
