"""Memory policies: the code in which SAM 2, SeC and their relatives differ.

A policy answers three questions and touches no network:
    recall  which memories should this frame attend to?
    choose  which of the proposed masks do we believe?
    forget  which memories can no recall ever ask for again?
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import log
from typing import Protocol

from torch import Tensor

from segment_concept.tracking.memory import (
    Memory,
    MemoryBank,
    Moment,
    Motion,
    Recall,
    RecalledMap,
    RecalledPointer,
    Track,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One mask proposed for one hypothesis. The last two fields are a policy's to fill in."""

    track: int  # row in the list of tracks
    mask: int  # 0..M-1
    iou: float
    presence: float  # logit
    logits: Tensor | None = field(default=None, compare=False, repr=False)  # (h, w) its pixels
    met: float | None = None  # how well it met the forecast of a motion model, score
    motion: Motion | None = None  # how the object moves if this mask is believed


class MemoryPolicy(Protocol):
    """Contract: the first map recalled is a prompted one; forgetting changes no recall of a video
    that is played on from where it is, or in either direction from a frame prompted by then.
    """

    def recall(self, bank: MemoryBank, moment: Moment) -> Recall:
        """The memories that the frame at `moment` attends to."""
        ...

    def choose(
        self, tracks: Sequence[Track], candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        """Best first. One per surviving hypothesis; the first is shown to the user.

        Several may be the same mask of the same track: these go on as one until they part.
        """
        ...

    def forget(self, bank: MemoryBank, moment: Moment) -> MemoryBank:
        """The bank without what no later recall can ask for; `moment` was just segmented."""
        ...


def best_iou(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate of highest predicted IoU; the first of equals."""
    return max(candidates, key=lambda c: c.iou)


def grown_score(track: Track, candidate: Candidate) -> float:
    """The log score of a hypothesis that goes on with `candidate`, as SAM2Long counts."""
    return track.log_score + log(candidate.iou + 1e-5)


@dataclass(frozen=True, slots=True)
class RecentMemory:
    """SAM 2: the prompted frames and the last few, however good they were.

    `slots` is `num_maskmem` (the prompted frame included), `pointers` is `max_obj_ptrs_in_encoder`.
    `video_length`, where it is known, reproduces the official normalisation of pointer distances
    in videos shorter than `pointers` frames; a stream has none.
    """

    slots: int = 7
    pointers: int = 16
    video_length: int | None = None

    def __post_init__(self) -> None:
        _check_slots(self.slots, self.pointers)

    def recall(self, bank: MemoryBank, moment: Moment) -> Recall:
        past = [(moment.since(m.frame_index), m) for m in bank.tracked]
        ahead_of = sorted((p for p in past if p[0] > 0), key=lambda p: p[0])
        reach = _pointer_reach(self.pointers, self.video_length)
        recent = [(age, m) for age, m in ahead_of if age < self.slots]
        return Recall(
            maps=(
                *_prompted_maps(bank, self.slots),
                *(RecalledMap(age - 1, m) for age, m in reversed(recent)),
            ),
            pointers=(
                *_prompted_pointers(bank, moment),
                *(RecalledPointer(age, m) for age, m in ahead_of if age < reach),
            ),
            horizon=_horizon(reach),
        )

    def choose(
        self, tracks: Sequence[Track], candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        return [best_iou(candidates)]

    def forget(self, bank: MemoryBank, moment: Moment) -> MemoryBank:
        reach = max(self.slots, self.pointers)
        now = moment.frame_index
        anchors = [now, *(m.frame_index for m in bank.prompted)]
        # The previous frame too, however short the reach: a correction of this one recalls it.
        kept = (
            m for m in bank.tracked if m.age(now) <= 1 or any(m.age(a) < reach for a in anchors)
        )
        return replace(bank, tracked=tuple(kept))


@dataclass(frozen=True, slots=True)
class ReliableMemory:
    """SeC: the newest frames that were segmented well, plus the previous frame always.

    Slots and pointer distances go by rank among those frames, not by age. Where the release
    breaks (played backwards, a second prompted frame, several objects) the walk back is defined
    as: played frames between the farthest prompt behind and now, prompted ones left out.
    """

    slots: int = 22
    min_iou: float = 0.3
    pointers: int = 16
    video_length: int | None = None

    def __post_init__(self) -> None:
        _check_slots(self.slots, self.pointers)
        if not 0 <= self.min_iou <= 1:
            raise ValueError(f"min_iou is a score in [0, 1], got {self.min_iou}")

    def recall(self, bank: MemoryBank, moment: Moment) -> Recall:
        kept = self._walk(bank, moment)
        reach = _pointer_reach(self.pointers, self.video_length)
        shown = kept[: self.slots - 1]
        return Recall(
            maps=(
                *_prompted_maps(bank, self.slots),
                *(RecalledMap(rank, m) for rank, m in reversed(list(enumerate(shown)))),
            ),
            # As published: the distance is the rank, and the oldest kept frame has no pointer.
            pointers=(
                *_prompted_pointers(bank, moment),
                *(
                    RecalledPointer(rank, m)
                    for rank, m in enumerate(kept[:-1], start=1)
                    if rank < reach
                ),
            ),
            horizon=_horizon(reach),
        )

    def choose(
        self, tracks: Sequence[Track], candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        return [best_iou(candidates)]

    def forget(self, bank: MemoryBank, moment: Moment) -> MemoryBank:
        return keep_walked(bank, moment, self._walk)

    def _walk(self, bank: MemoryBank, moment: Moment) -> list[Memory]:
        return walk_back(bank, moment, self._is_good, self._walk_length())

    def _walk_length(self) -> int:
        longest = max(self.pointers, self.slots)
        return min(self.video_length or longest, longest) - 1

    def _is_good(self, m: Memory) -> bool:
        return m.iou > self.min_iou and m.presence > 0


def walk_back(
    bank: MemoryBank,
    moment: Moment,
    is_good: Callable[[Memory], bool],
    at_most: int,
    *,
    untested: int = 0,
) -> list[Memory]:
    """The frames played since the farthest prompt behind that are good, newest first.

    The previous frame is there however good it is; prompted ones are left out, and so are the
    first `untested` frames of the walk.
    """
    start = max((moment.since(m.frame_index) for m in bank.prompted), default=0)
    played = sorted(
        ((moment.since(m.frame_index), m) for m in bank.tracked), key=lambda pair: pair[0]
    )
    behind = [(age, m) for age, m in played if 0 < age < start]
    good = [m for age, m in behind if age < start - untested and is_good(m)][:at_most]
    previous = [m for age, m in behind if age == 1 and all(m is not g for g in good)]
    return [*previous, *good]


def keep_walked(
    bank: MemoryBank, moment: Moment, walk: Callable[[MemoryBank, Moment], Sequence[Memory]]
) -> MemoryBank:
    """The bank with what `walk` can still reach, and the frame at `moment`.

    A walk that is played on finds the frames played since, and behind these what it found where
    it began: on the next frame, on this one (should it be corrected), or beside a prompted one.
    """
    starts = [moment, _next(moment)]
    for m in bank.prompted:
        starts += [_next(Moment(m.frame_index)), _next(Moment(m.frame_index, backwards=True))]
    needed = {id(m) for start in starts for m in walk(bank, start)}
    kept = (m for m in bank.tracked if id(m) in needed or m.frame_index == moment.frame_index)
    return replace(bank, tracked=tuple(kept))


def _next(moment: Moment) -> Moment:
    return replace(moment, frame_index=moment.frame_index + (-1 if moment.backwards else 1))


def _check_slots(slots: int, pointers: int) -> None:
    if slots < 1 or pointers < 1:
        raise ValueError(f"slots and pointers are at least 1, got {slots} and {pointers}")


def _pointer_reach(pointers: int, video_length: int | None) -> int:
    """As published, `min(num_frames, 16)`: tracked frames less far back lend their pointer."""
    return min(video_length or pointers, pointers)


def _horizon(reach: int) -> int:
    """As published, but for a reach of 1: only prompted frames are pointed to then."""
    return max(1, reach - 1)


def _prompted_maps(bank: MemoryBank, slots: int) -> Iterable[RecalledMap]:
    return (RecalledMap(slots - 1, m, prompted=True) for m in bank.prompted)


def _prompted_pointers(bank: MemoryBank, moment: Moment) -> Iterable[RecalledPointer]:
    """Prompted frames that are still to come lend their map but not their pointer, as SAM 2's."""
    ages = ((moment.since(m.frame_index), m) for m in bank.prompted)
    return (RecalledPointer(age, m) for age, m in ages if age >= 0)
