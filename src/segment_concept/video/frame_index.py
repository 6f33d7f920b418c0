"""Numbering frames: in the order of presentation, with damaged ones counted."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class FrameCounter:
    """Numbers the frames of a video that is read from its start.

    Every packet announces the presentation time of its frame; a frame that comes out while
    earlier times are still waiting shows that those were lost. What was announced before the
    first frame that could be decoded is no part of the video.
    """

    next_index: int = 0
    _waiting: list[int] = field(default_factory=list)
    _begun: bool = False

    def announce(self, pts: int) -> None:
        """A packet with this presentation time goes to the decoder."""
        heappush(self._waiting, pts)

    def number(self, pts: int) -> int:
        """The index of the frame that came out."""
        lost = 0
        while self._waiting and self._waiting[0] < pts:
            heappop(self._waiting)
            lost += 1
        if self._waiting and self._waiting[0] == pts:
            heappop(self._waiting)
        index = self.next_index + (lost if self._begun else 0)
        self._begun = True
        self.next_index = index + 1
        return index

    @property
    def missing(self) -> int:
        """Frames that were announced and, at the end of the video, did not come."""
        return len(self._waiting) if self._begun else 0


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """When every frame is shown and where decoding can begin: 8 bytes a frame."""

    pts: NDArray[np.int64]  # ascending
    keys: NDArray[np.int64]  # of the keyframes, ascending

    @classmethod
    def of(cls, packets: Iterable[tuple[int, bool]], first_pts: int) -> "FrameIndex":
        """From the (pts, is a keyframe) of all packets and the first frame that is decodable."""
        rows = np.array([(pts, key) for pts, key in packets if pts >= first_pts], np.int64)
        rows = rows.reshape(-1, 2)
        return cls(np.sort(rows[:, 0]), np.sort(rows[rows[:, 1] > 0, 0]))

    def __len__(self) -> int:
        return len(self.pts)

    def index(self, pts: int) -> int:
        """The frame that is on screen at this time."""
        return int(np.searchsorted(self.pts, pts, side="right")) - 1

    def seek_points(self, index: int) -> list[int]:
        """Times of keyframes from which the frame can be reached, the nearest first."""
        count = bisect_right(self.keys, int(self.pts[index]))
        return [int(pts) for pts in self.keys[max(0, count - 3) : count][::-1]]

    def chunk_start(self, last: int, at_most: int) -> int:
        """Where to begin so as to read up to `last`, no more than `at_most` frames of it.

        A keyframe where there is one, so that as little as possible is decoded in vain.
        """
        earliest = max(0, last - at_most + 1)
        after = int(np.searchsorted(self.keys, self.pts[earliest]))
        if after < len(self.keys) and self.keys[after] <= self.pts[last]:
            return self.index(int(self.keys[after]))
        return earliest
