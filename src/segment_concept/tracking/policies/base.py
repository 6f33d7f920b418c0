"""Memory policies: the code in which SAM 2, SeC and their relatives differ.

A policy makes three decisions and calls no network:
    recall  which memories does this frame attend to?
    choose  which of the proposed masks is selected?
    forget  which memories can no later recall use?
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
_KEPT_PER_RECALLED = 4  # prompted memories kept per recalled one: 32 per object


@dataclass(frozen=True, slots=True)
class Candidate:
    """One mask proposed for one hypothesis. The policy sets the last two fields."""

    track: int  # row in the list of tracks
    mask: int  # 0..M-1
    iou: float
    presence: float  # logit
    logits: Tensor | None = field(default=None, compare=False, repr=False)  # (h, w) mask logits
    motion_iou: float | None = None  # IoU with the box that a motion model predicted
    motion: Motion | None = None  # state of the motion model if this mask is selected


class MemoryPolicy(Protocol):
    """Which memories a frame attends to, which mask is selected, and which memories are dropped.

    Contract: the first recalled map is one of a prompted frame. `forget` must not change any later
    recall, whether the video continues from the current frame in the same direction or restarts,
    in either direction, at a frame prompted so far.
    """

    def recall(self, bank: MemoryBank, position: PlaybackPosition) -> Recall:
        """The memories that the frame at `position` attends to."""
        ...

    def choose(
        self, tracks: Sequence[Track], candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        """The selected masks, one per hypothesis that continues, best first.

        The first one is the result of the frame. Several may be the same mask of the same track:
        these hypotheses share their memory until they select different masks.
        """
        ...

    def forget(self, bank: MemoryBank, position: PlaybackPosition) -> MemoryBank:
        """The bank without memories that no later recall can use; `position` was just segmented."""
        ...


def best_iou(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate with the highest predicted IoU; the first one in case of a tie."""
    return max(candidates, key=lambda c: c.iou)


def extended_score(track: Track, candidate: Candidate) -> float:
    """The log score of a hypothesis extended by `candidate`, as in SAM2Long."""
    return track.log_score + log(candidate.iou + 1e-5)


def walk_back(
    bank: MemoryBank,
    position: PlaybackPosition,
    is_good: Callable[[Memory], bool],
    at_most: int,
    *,
    untested: int = 0,
) -> list[Memory]:
    """The good frames played since the earliest prompted one, newest first.

    Args:
        bank: of one object.
        position: the current frame.
        is_good: whether a memory may be recalled.
        at_most: maximum number of good frames.
        untested: this many first frames after that prompt are left out.

    Returns:
        Tracked frames only. If no prompted frame was played before, all played frames count. The
        previous frame is included whatever its quality.
    """
    ages = (position.frames_since(m.frame_index) for m in bank.prompted)
    start = max((age for age in ages if age > 0), default=inf)
    played = sorted(
        ((position.frames_since(m.frame_index), m) for m in bank.tracked), key=lambda pair: pair[0]
    )
    earlier = [(age, m) for age, m in played if 0 < age < start]
    good = [m for age, m in earlier if age < start - untested and is_good(m)][:at_most]
    previous = [m for age, m in earlier if age == 1 and all(m is not g for g in good)]
    return [*previous, *good]


def keep_walked(
    bank: MemoryBank,
    position: PlaybackPosition,
    walk: Callable[[MemoryBank, PlaybackPosition], Sequence[Memory]],
) -> MemoryBank:
    """The bank with the frames that `walk` can still return, and the frame at `position`.

    A later walk returns frames that are played from now on, followed by frames that a walk
    returns today from where playback continues: from the next frame, from this frame (if it is
    corrected), or from the frames next to a prompted one.
    """
    starts = [position, _next(position)]
    for m in bank.prompted:
        starts += [
            _next(PlaybackPosition(m.frame_index)),
            _next(PlaybackPosition(m.frame_index, backwards=True)),
        ]
    needed = {id(m) for start in starts for m in walk(bank, start)}
    kept = (m for m in bank.tracked if id(m) in needed or m.frame_index == position.frame_index)
    return replace(bank, tracked=tuple(kept))


def _next(position: PlaybackPosition) -> PlaybackPosition:
    return replace(position, frame_index=position.frame_index + (-1 if position.backwards else 1))


def check_slots(slots: int, pointers: int, prompted: int | None) -> None:
    """Raises ValueError if a policy would recall nothing."""
    if slots < 1 or pointers < 1:
        raise ValueError(f"slots and pointers are at least 1, got {slots} and {pointers}")
    if prompted is not None and prompted < 1:
        raise ValueError(f"prompted is at least 1, or None for all, got {prompted}")


def pointer_reach(pointers: int, video_length: int | None) -> int:
    """Pointers of tracked frames closer than this are recalled: `min(num_frames, 16)` in SAM 2."""
    return min(video_length or pointers, pointers)


def pointer_horizon(reach: int) -> int:
    """Divisor of pointer distances, as in SAM 2; 1 if only prompted frames give pointers."""
    return max(1, reach - 1)


def nearest_prompted(
    bank: MemoryBank, position: PlaybackPosition, most: int | None
) -> tuple[Memory, ...]:
    """Return the prompted memories that a frame attends to, in the order of their prompts.

    As SAM 2's `max_cond_frames_in_attn`: the nearest before the frame, the nearest after it, then
    the nearest of the others.

    Args:
        bank: of one object.
        position: the frame.
        most: maximum number; None for all of them (-1 in SAM 2, its default).
    """
    if most is None or len(bank.prompted) <= most:
        return bank.prompted
    now = position.frame_index
    by_distance = sorted(bank.prompted, key=lambda m: m.age(now))
    before = next((m for m in by_distance if m.frame_index < now), None)
    after = next((m for m in by_distance if m.frame_index >= now), None)
    first = [m for m in (before, after) if m is not None]
    rest = [m for m in by_distance if m is not before and m is not after]
    chosen = {id(m) for m in [*first, *rest][:most]}
    return tuple(m for m in bank.prompted if id(m) in chosen)


def drop_far_prompts(bank: MemoryBank, position: PlaybackPosition, most: int | None) -> MemoryBank:
    """Return the bank with at most `_KEPT_PER_RECALLED * most` prompted memories.

    This bounds the memory of a stream with many corrections. Kept are the nearest ones, the first
    prompt, and the prompts on the earliest and the latest frame, from which policies count.
    """
    if most is None or len(bank.prompted) <= _KEPT_PER_RECALLED * most:
        return bank
    ends = sorted(bank.prompted, key=lambda m: m.frame_index)
    pinned = {id(m) for m in (bank.prompted[0], ends[0], ends[-1])}
    by_distance = sorted(bank.prompted, key=lambda m: m.age(position.frame_index))
    others = [m for m in by_distance if id(m) not in pinned]
    kept = pinned | {id(m) for m in others[: _KEPT_PER_RECALLED * most - len(pinned)]}
    return replace(bank, prompted=tuple(m for m in bank.prompted if id(m) in kept))


def prompted_maps(prompted: Iterable[Memory], slots: int) -> Iterable[RecalledMap]:
    """Maps of prompted frames; like SAM 2's, they have the last slot whatever their distance."""
    return (RecalledMap(slots - 1, m, prompted=True) for m in prompted)


def prompted_pointers(
    prompted: Iterable[Memory], position: PlaybackPosition
) -> Iterable[RecalledPointer]:
    """Pointers of prompted frames played so far. As in SAM 2, later ones give only their map."""
    ages = ((position.frames_since(m.frame_index), m) for m in prompted)
    return (RecalledPointer(age, m) for age, m in ages if age >= 0)
