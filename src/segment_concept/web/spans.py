"""Which frames of an object must be tracked, and tracked again after an edit. Pure.

An *anchor* is a frame whose mask a person has given or kept: prompted, drawn, locked or confirmed,
and not empty. Tracking goes from an anchor forward, or backward, to the next one, and what it
finds in between depends on that anchor alone. So an edit changes the frames up to the next anchor
in either direction, and no others. Frames on which a person said that the object is not there are
no anchors: tracking leaves them out and goes on behind them as if they had not been played.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segment_concept.web.edits import ClearPrompt, DrawMask, Edit, Fix, PromptObject

Flags = NDArray[np.bool_]
NEVER = -1  # the tag of a frame without a result


class FrameState(IntEnum):
    """State of an object on a frame, as the page shows it."""

    EMPTY = 0
    TRACKED = 1
    STALE = 2
    LOCKED = 3
    PROMPTED = 4
    DENIED = 5


class Fixed(IntEnum):
    """What a person has said of a tracked frame."""

    NOTHING = 0
    LOCKED = 1
    CONFIRMED = 2
    DENIED = 3


@dataclass(frozen=True, slots=True)
class Span:
    """Frames of an object to track, in playing order: `first` is played first."""

    object_id: int
    first: int
    last: int
    backwards: bool = False

    def __len__(self) -> int:
        return abs(self.last - self.first) + 1

    @property
    def frames(self) -> range:
        """In playing order."""
        step = -1 if self.backwards else 1
        return range(self.first, self.last + step, step)


_FIELDS: dict[str, type[np.generic]] = {
    "base": np.uint8,  # EMPTY, TRACKED, STALE or PROMPTED: the state but for what is fixed
    "fixed": np.uint8,
    "tag": np.int32,  # the edit whose result is shown
    "backwards": np.bool_,  # whether that result was tracked backward
    "absent": np.bool_,  # whether its mask is empty
    "changed_before": np.bool_,  # a kept frame: an edit has changed what leads to it forward
    "changed_after": np.bool_,  # the same, backward
}


class ObjectStates:
    """The states of one object on all frames; beyond the last one they are empty.

    Attributes:
        base, fixed, tag, backwards, absent, changed_before, changed_after: see `_FIELDS`; one
            value a frame.
    """

    base: NDArray[np.uint8]
    fixed: NDArray[np.uint8]
    tag: NDArray[np.int32]
    backwards: Flags
    absent: Flags
    changed_before: Flags
    changed_after: Flags

    def __init__(self) -> None:
        for name, kind in _FIELDS.items():
            setattr(self, name, np.zeros(0, kind))

    def __len__(self) -> int:
        return len(self.base)

    @property
    def kept(self) -> Flags:
        """Frames that are locked or confirmed."""
        found: Flags = (self.fixed == Fixed.LOCKED) | (self.fixed == Fixed.CONFIRMED)
        return found

    @property
    def anchors(self) -> Flags:
        """Frames from which tracking can start."""
        given = (self.base == FrameState.PROMPTED) & (self.fixed != Fixed.DENIED)
        found: Flags = (given | self.kept) & ~self.absent
        return found

    def states(self) -> NDArray[np.uint8]:
        """`FrameState` of every frame."""
        found = self.base.copy()
        found[self.kept] = FrameState.LOCKED
        found[self.fixed == Fixed.DENIED] = FrameState.DENIED
        return found

    def apply(self, edit: Edit) -> None:
        """Change the states as an edit of this object's frames says."""
        if isinstance(edit, PromptObject | DrawMask):
            self._prompt(edit.frame)
        elif isinstance(edit, ClearPrompt):
            self._clear(edit.frame)
        elif isinstance(edit, Fix):
            self._grow(edit.last + 1)
            {
                "lock": self._lock,
                "confirm": self._confirm,
                "unlock": self._release,
                "deny": self._deny,
                "undecide": self._undecide,
            }[edit.kind](edit.first, edit.last + 1)

    def add(
        self, frames: Sequence[int] | NDArray[Any], tag: int, backwards: Any, absent: Any
    ) -> None:
        """Take results: of tracking on frames that are empty or stale, of prompts on theirs."""
        if not len(frames):
            return
        rows = np.asarray(frames, np.int64)
        self._grow(int(rows.max()) + 1)
        self.tag[rows], self.absent[rows] = tag, absent
        self.backwards[rows] = backwards
        prompted = self.base[rows] == FrameState.PROMPTED
        self.base[rows[~prompted]] = FrameState.TRACKED

    def refresh(self, first: int, last: int) -> None:
        """Stale frames (inclusive) whose masks would not change are tracked ones again."""
        part = self.base[first : last + 1]
        part[part == FrameState.STALE] = FrameState.TRACKED

    def wanted(self, first: int, last: int, *, backwards: bool, again: bool = False) -> Flags:
        """The frames to track so that `first` to `last` are done, in one direction.

        Frames that lie on the way from an anchor to there are tracked as well.

        Args:
            first, last: inclusive, first <= last.
            backwards: the direction.
            again: track also what is tracked already.
        """
        self._grow(last + 1)
        anchors = self.anchors
        turn = slice(None, None, -1 if backwards else 1)
        reached = np.zeros(len(self), np.bool_)
        reached[turn][1:] = np.logical_or.accumulate(anchors[turn])[:-1]
        open_ = self._open(again=again) & reached
        found = open_.copy()
        found[:first] = found[last + 1 :] = False
        nearest = last if backwards else first
        if found[nearest]:
            for frame in range(nearest + 1, len(self)) if backwards else range(nearest - 1, -1, -1):
                if not open_[frame]:
                    break
                found[frame] = True
        return found

    def spans(
        self, object_id: int, first: int, last: int, direction: str, *, again: bool = False
    ) -> list[Span]:
        """What to track for a job, in playing order.

        Args:
            object_id: for the spans.
            first, last: inclusive.
            direction: `forward`, `backward`, or `both`: forward wherever an anchor leads there,
                and backward before the first anchor.
            again: see `wanted`.
        """
        ahead = back = np.zeros(max(len(self), last + 1), np.bool_)
        if direction in ("forward", "both"):
            ahead = self.wanted(first, last, backwards=False, again=again)
        if direction in ("backward", "both"):
            back = self.wanted(first, last, backwards=True, again=again)
            if direction == "both":
                led = np.logical_or.accumulate(self.anchors)
                back = back & ~led
        found = [Span(object_id, a, b) for a, b in _runs(ahead)]
        return found + [Span(object_id, b, a, True) for a, b in reversed(list(_runs(back)))]

    def start_of(self, span: Span) -> int:
        """The anchor from which a span is tracked. Raises ValueError if there is none."""
        found = np.flatnonzero(self.anchors)
        before = found[found > span.first][:1] if span.backwards else found[found < span.first][-1:]
        if not len(before):
            raise ValueError(f"nothing leads to frame {span.first} of object {span.object_id}")
        return int(before[0])

    def runs(self) -> list[tuple[int, int, int]]:
        """(first, last, state) of stretches that are not empty; last is inclusive."""
        return list(_value_runs(self.states()))

    def fixed_runs(self, kind: Fixed) -> list[tuple[int, int]]:
        """(first, last) of stretches that are locked, confirmed or denied."""
        return list(_runs(self.fixed == kind))

    def _open(self, *, again: bool) -> Flags:
        """Frames that tracking may write."""
        states = (self.base == FrameState.EMPTY) | (self.base == FrameState.STALE)
        if again:
            states |= self.base == FrameState.TRACKED
        found: Flags = states & (self.fixed == Fixed.NOTHING)
        return found

    def _grow(self, length: int) -> None:
        if length <= len(self):
            return
        more = max(length, 2 * len(self)) - len(self) if len(self) else length
        for name in _FIELDS:
            old = getattr(self, name)
            fill = np.full(more, NEVER if name == "tag" else 0, old.dtype)
            setattr(self, name, np.concatenate((old, fill)))

    def _prompt(self, frame: int) -> None:
        self._grow(frame + 1)
        self.base[frame], self.fixed[frame] = FrameState.PROMPTED, Fixed.NOTHING
        self.absent[frame] = self.backwards[frame] = False
        self._stale(frame, frame + 1)

    def _clear(self, frame: int) -> None:
        if frame >= len(self) or self.base[frame] != FrameState.PROMPTED:
            return
        self.base[frame] = FrameState.STALE
        self._stale(frame, frame + 1)
        if not self.anchors.any():  # nothing is left that these masks could come from
            gone = self.base == FrameState.STALE
            self.base[gone], self.tag[gone] = FrameState.EMPTY, NEVER

    def _lock(self, first: int, end: int) -> None:
        self._keep(first, end, Fixed.LOCKED)

    def _confirm(self, first: int, end: int) -> None:
        self._keep(first, end, Fixed.CONFIRMED)

    def _keep(self, first: int, end: int, how: Fixed) -> None:
        part = self.fixed[first:end]
        can = (self.base[first:end] != FrameState.EMPTY) & (part != Fixed.DENIED)
        part[can] = how

    def _release(self, first: int, end: int) -> None:
        """Free kept frames. What an edit has changed meanwhile is stale."""
        self._free(first, end, self.kept)

    def _free(self, first: int, end: int, which: Flags) -> None:
        freed = np.zeros(len(self), np.bool_)
        freed[first:end] = which[first:end]
        self.fixed[freed] = Fixed.NOTHING
        tracked = freed & (self.base == FrameState.TRACKED)
        outdated = (self.changed_before & ~self.backwards) | (self.changed_after & self.backwards)
        self.base[tracked & outdated] = FrameState.STALE
        self.changed_before[freed] = self.changed_after[freed] = False
        for a, b in _runs(freed & (self.base == FrameState.STALE)):
            self._stale(a, b + 1)

    def _deny(self, first: int, end: int) -> None:
        self.fixed[first:end] = Fixed.DENIED
        self._stale(first, end)

    def _undecide(self, first: int, end: int) -> None:
        self._free(first, end, self.fixed == Fixed.CONFIRMED)
        denied = np.zeros(len(self), np.bool_)
        denied[first:end] = self.fixed[first:end] == Fixed.DENIED
        self.fixed[denied] = Fixed.NOTHING
        for a, b in _runs(denied):
            self._stale(a, b + 1)

    def _stale(self, first: int, end: int) -> None:
        """What was tracked from frames `first` to `end` - 1 on is stale, up to the next anchors."""
        anchors = np.flatnonzero(self.anchors)
        after, before = anchors[anchors >= end], anchors[anchors < first]
        stop = int(after[0]) if len(after) else len(self)
        start = int(before[-1]) if len(before) else -1
        self._outdate(slice(end, stop + 1), ~self.backwards, self.changed_before)
        self._outdate(slice(max(start, 0), first), self.backwards, self.changed_after)

    def _outdate(self, part: slice, direction: Flags, changed: Flags) -> None:
        kept = self.kept[part]
        changed[part] |= kept
        tracked = (self.base[part] == FrameState.TRACKED) & direction[part] & ~kept
        self.base[part][tracked] = FrameState.STALE


def _runs(flags: Flags) -> Iterator[tuple[int, int]]:
    """(first, last) of stretches that are True."""
    padded = np.concatenate(([False], flags, [False]))
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield first, end - 1


def _value_runs(values: NDArray[np.uint8]) -> Iterator[tuple[int, int, int]]:
    """(first, last, value) of stretches of one value that is not 0."""
    edges = np.flatnonzero(np.diff(values)) + 1
    starts = np.concatenate(([0], edges)) if len(values) else edges
    ends = np.concatenate((edges, [len(values)]))
    for first, end in zip(starts.tolist(), ends.tolist(), strict=False):
        if values[first]:
            yield first, end - 1, int(values[first])
