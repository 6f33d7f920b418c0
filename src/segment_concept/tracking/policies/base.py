"""Memory policies: the code in which SAM 2, SeC and their relatives differ.

A policy answers three questions and touches no network:
    recall  which memories should this frame attend to?
    choose  which of the proposed masks do we believe?
    forget  which memories can no recall ever ask for again?
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import inf, log
from typing import Protocol

from torch import Tensor

from segment_concept.tracking.memory import (
    Memory,
    MemoryBank,
    Motion,
    PlaybackPosition,
    Recall,
    RecalledMap,
    RecalledPointer,
    Track,
)

PROMPTED_RECALLED = 8  # prompted memories that a frame attends to, the nearest ones
_KEPT_PER_RECALLED = 4  # prompted memories kept for each that is recalled: 32 of an object


@dataclass(frozen=True, slots=True)
class Candidate:
    """One mask proposed for one hypothesis. The last two fields are a policy's to fill in."""

    track: int  # row in the list of tracks
    mask: int  # 0..M-1
    iou: float
    presence: float  # logit
    logits: Tensor | None = field(default=None, compare=False, repr=False)  # (h, w) its pixels
    motion_iou: float | None = None  # how well it met the forecast of a motion model, score
    motion: Motion | None = None  # how the object moves if this mask is believed


class MemoryPolicy(Protocol):
    """Contract: the first map recalled is a prompted one; forgetting changes no recall of a video
    that is played on from where it is, or in either direction from a frame prompted by then.
    """

    def recall(self, bank: MemoryBank, moment: PlaybackPosition) -> Recall:
        """The memories that the frame at `moment` attends to."""
        ...

    def choose(
        self, tracks: Sequence[Track], candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        """Best first. One per surviving hypothesis; the first is shown to the user.

        Several may be the same mask of the same track: these go on as one until they part.
        """
        ...

    def forget(self, bank: MemoryBank, moment: PlaybackPosition) -> MemoryBank:
        """The bank without what no later recall can ask for; `moment` was just segmented."""
        ...


def best_iou(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate of highest predicted IoU; the first of equals."""
    return max(candidates, key=lambda c: c.iou)


def grown_score(track: Track, candidate: Candidate) -> float:
    """The log score of a hypothesis that goes on with `candidate`, as SAM2Long counts."""
    return track.log_score + log(candidate.iou + 1e-5)


def walk_back(
    bank: MemoryBank,
    moment: PlaybackPosition,
    is_good: Callable[[Memory], bool],
    at_most: int,
    *,
    untested: int = 0,
) -> list[Memory]:
    """The frames played since the farthest prompt behind that are good, newest first.

    Without a prompt behind, all played frames count. The previous frame is included whatever its
    quality; prompted frames and the first `untested` frames of the walk are left out.
    """
    ages = (moment.since(m.frame_index) for m in bank.prompted)
    start = max((age for age in ages if age > 0), default=inf)
    played = sorted(
        ((moment.since(m.frame_index), m) for m in bank.tracked), key=lambda pair: pair[0]
    )
    behind = [(age, m) for age, m in played if 0 < age < start]
    good = [m for age, m in behind if age < start - untested and is_good(m)][:at_most]
    previous = [m for age, m in behind if age == 1 and all(m is not g for g in good)]
    return [*previous, *good]


def keep_walked(
    bank: MemoryBank,
    moment: PlaybackPosition,
    walk: Callable[[MemoryBank, PlaybackPosition], Sequence[Memory]],
) -> MemoryBank:
    """The bank with what `walk` can still reach, and the frame at `moment`.

    A walk that is played on finds the frames played since, and behind these what it found where
    it began: on the next frame, on this one (should it be corrected), or beside a prompted one.
    """
    starts = [moment, _next(moment)]
    for m in bank.prompted:
        starts += [
            _next(PlaybackPosition(m.frame_index)),
            _next(PlaybackPosition(m.frame_index, backwards=True)),
        ]
    needed = {id(m) for start in starts for m in walk(bank, start)}
    kept = (m for m in bank.tracked if id(m) in needed or m.frame_index == moment.frame_index)
    return replace(bank, tracked=tuple(kept))


def _next(moment: PlaybackPosition) -> PlaybackPosition:
    return replace(moment, frame_index=moment.frame_index + (-1 if moment.backwards else 1))


def _check_slots(slots: int, pointers: int, prompted: int | None) -> None:
    if slots < 1 or pointers < 1:
        raise ValueError(f"slots and pointers are at least 1, got {slots} and {pointers}")
    if prompted is not None and prompted < 1:
        raise ValueError(f"prompted is at least 1, or None for all, got {prompted}")


def _pointer_reach(pointers: int, video_length: int | None) -> int:
    """As published, `min(num_frames, 16)`: tracked frames less far back lend their pointer."""
    return min(video_length or pointers, pointers)


def _horizon(reach: int) -> int:
    """As published, but for a reach of 1: only prompted frames are pointed to then."""
    return max(1, reach - 1)


def nearest_prompted(
    bank: MemoryBank, moment: PlaybackPosition, most: int | None
) -> tuple[Memory, ...]:
    """Return the prompted memories that a frame attends to, in the order of their prompts.

    As SAM 2's `max_cond_frames_in_attn`: the nearest before the frame, the nearest after it, then
    whichever are nearest.

    Args:
        bank: of one object.
        moment: the frame.
        most: how many; None for all of them (-1 in SAM 2, its default).
    """
    if most is None or len(bank.prompted) <= most:
        return bank.prompted
    now = moment.frame_index
    by_distance = sorted(bank.prompted, key=lambda m: m.age(now))
    before = next((m for m in by_distance if m.frame_index < now), None)
    after = next((m for m in by_distance if m.frame_index >= now), None)
    first = [m for m in (before, after) if m is not None]
    rest = [m for m in by_distance if m is not before and m is not after]
    chosen = {id(m) for m in [*first, *rest][:most]}
    return tuple(m for m in bank.prompted if id(m) in chosen)


def drop_far_prompts(bank: MemoryBank, moment: PlaybackPosition, most: int | None) -> MemoryBank:
    """Return the bank with at most `_KEPT_PER_RECALLED * most` prompted memories.

    Memory stays bounded in a stream that is corrected again and again. The nearest ones stay, and
    so do the first prompt and the prompts on the earliest and the latest frame, from which
    policies count.
    """
    if most is None or len(bank.prompted) <= _KEPT_PER_RECALLED * most:
        return bank
    ends = sorted(bank.prompted, key=lambda m: m.frame_index)
    pinned = {id(m) for m in (bank.prompted[0], ends[0], ends[-1])}
    by_distance = sorted(bank.prompted, key=lambda m: m.age(moment.frame_index))
    others = [m for m in by_distance if id(m) not in pinned]
    kept = pinned | {id(m) for m in others[: _KEPT_PER_RECALLED * most - len(pinned)]}
    return replace(bank, prompted=tuple(m for m in bank.prompted if id(m) in kept))


def _prompted_maps(prompted: Iterable[Memory], slots: int) -> Iterable[RecalledMap]:
    return (RecalledMap(slots - 1, m, prompted=True) for m in prompted)


def _prompted_pointers(
    prompted: Iterable[Memory], moment: PlaybackPosition
) -> Iterable[RecalledPointer]:
    """Prompted frames that are still to come lend their map but not their pointer, as SAM 2's."""
    ages = ((moment.since(m.frame_index), m) for m in prompted)
    return (RecalledPointer(age, m) for age, m in ages if age >= 0)
