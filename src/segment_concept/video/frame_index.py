"""Numbering frames: in the order of presentation, with damaged ones counted.

A presentation time is no identity: files repeat times (2,000 frames a second in milliseconds) and
jump back (two recordings one after another). Frames are numbered by their times between jumps, in
decoding order where times are equal, and get times of one clock that always goes on.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_AT_ONCE = 16  # frames of one time; with more of them times say nothing

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PacketTimes:
    """When a packet's frame is decoded and shown, in ticks of the stream."""

    pts: int
    dts: int | None
    key: bool


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """Presentation times of all frames and the points to seek to: 17 bytes per frame."""

    pts: Integers  # the file's times, in the order of the frames
    ticks: Integers  # times of one clock from 0 on, strictly ascending, in ticks / `scale`
    keys: NDArray[np.bool_]  # can decoding begin there?
    scale: int = 1
    seekable: bool = True  # False where times jump, so that a time is no place in the file

    @classmethod
    def of(
        cls, packets: Iterable[PacketTimes], first_pts: int, longest: int | None = None
    ) -> "FrameIndex | None":
        """From the packets of a video. None if too many share one time to be useful.

        Args:
            packets: in decoding order.
            first_pts: the time of the first picture that came out.
            longest: ticks from one packet to the next beyond which time has jumped, where the
                file's format lets it.
        """
        packets = list(packets)
        begin = next((i for i, p in enumerate(packets) if p.key), 0)
        rows = np.array([(p.pts, p.key) for p in packets[begin:]], np.int64).reshape(-1, 2)
        starts = [i for i, back in enumerate(_jumps(packets[begin:], longest)) if back]
        parts = np.split(rows, starts)
        # Pictures that lead a keyframe and need one before it are no part of the video.
        leading = min(first_pts, int(parts[0][0, 0])) if len(rows) else 0
        parts[0] = parts[0][parts[0][:, 0] >= leading]
        ordered = [part[np.argsort(part[:, 0], kind="stable")] for part in parts if len(part)]
        if not ordered:
            return cls(*(np.zeros(0, np.int64),) * 2, np.zeros(0, np.bool_))
        times, most = _one_clock([part[:, 0] for part in ordered])
        if most > MOST_AT_ONCE:
            return None
        whole = np.concatenate(ordered)
        return cls(whole[:, 0], times, whole[:, 1] > 0, most, seekable=not starts)

    def __len__(self) -> int:
        return len(self.pts)

    def at(self, ticks: int) -> int:
        """The frame that is on screen at this time."""
        return max(0, int(np.searchsorted(self.ticks, ticks, side="right")) - 1)

    def seek_points(self, index: int) -> list[int]:
        """Keyframes from which the frame can be reached, the nearest first."""
        if not self.seekable:
            return []
        return [int(i) for i in np.flatnonzero(self.keys[: index + 1])[-3:][::-1]]

    def chunk_start(self, last: int, at_most: int) -> int:
        """First frame of a chunk of at most `at_most` frames that ends with `last`.

        A keyframe where there is one, so that as little as possible is decoded in vain.
        """
        earliest = max(0, last - at_most + 1)
        keys = np.flatnonzero(self.keys[earliest : last + 1])
        return earliest + int(keys[0]) if len(keys) else earliest

    def find(self, pts: int, start: int) -> int | None:
        """The first frame from `start` on with this time of the file."""
        if start < len(self) and self.pts[start] == pts:
            return start
        found = np.flatnonzero(self.pts[start:] == pts)
        return start + int(found[0]) if len(found) else None


@dataclass(slots=True)
class FrameCounter:
    """Numbers pictures in the order in which they are decoded.

    A picture that comes out while earlier ones of the index did not shows that those are damaged.
    """

    index: FrameIndex
    next_index: int = 0

    def number(self, pts: int | None) -> int | None:
        """The picture's frame; None for one that is no part of the video, or came before."""
        found = self.next_index if pts is None else self.index.find(pts, self.next_index)
        if found is None or found >= len(self.index):
            return None
        self.next_index = found + 1
        return found


def _jumps(packets: list[PacketTimes], longest: int | None) -> Iterable[bool]:
    """Whether decoding time jumps at each packet, as in joined files."""
    before: int | None = None
    for packet in packets:
        now = packet.dts
        if before is None or now is None:
            yield False
        else:
            yield now < before or (longest is not None and now - before > longest)
        before = before if now is None else now


def _one_clock(parts: list[Integers]) -> tuple[Integers, int]:
    """Times of parts, one after another, and how many frames share one at most.

    Times are multiplied with that number, so that those frames can be spread.
    """
    gaps = np.concatenate([np.diff(part) for part in parts])
    step = int(np.median(gaps[gaps > 0])) if (gaps > 0).any() else 1
    end = 0
    moved = []
    for part in parts:
        moved.append(part - part[0] + end)
        end = int(moved[-1][-1]) + step
    times, which, counts = np.unique(np.concatenate(moved), return_inverse=True, return_counts=True)
    most = int(counts.max())
    following = np.append(times[1:], end)
    firsts = np.cumsum(counts) - counts
    nth = np.arange(len(which)) - firsts[which]
    spread = nth * (following - times)[which] * most // counts[which]
    return times[which] * most + spread, most
