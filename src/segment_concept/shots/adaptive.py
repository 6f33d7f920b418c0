"""Where a video that lies there as a whole cuts from one shot to the next, to count scenes."""

from array import array
from collections.abc import Iterable, Iterator

from segment_concept.shots.content import NEIGHBOURS, change_between, small_hsv, stands_out
from segment_concept.types import Frame, Image


def find_cuts(frames: Iterable[Image]) -> list[int]:
    """Indices of the frames that begin a new shot, by an adaptive rule (see `ops.shots`).

    `frames` are (H, W, 3) uint8 RGB.
    """
    change = _changes(frames)
    cuts = []
    for i in range(1, len(change)):
        before = change[max(i - NEIGHBOURS, 1) : i]
        if stands_out(change[i], before + change[i + 1 : i + 1 + NEIGHBOURS]):
            cuts.append(i)
    return cuts


def first_frames(frames: Iterable[Frame]) -> list[int]:
    """The same for frames of a video, of which damaged ones may be missing: their own indices."""
    played = array("q")

    def pictures() -> Iterator[Image]:
        for frame in frames:
            played.append(frame.index)
            yield frame.rgb

    return [played[cut] for cut in find_cuts(pictures())]


def _changes(frames: Iterable[Image]) -> list[float]:
    """How much each frame differs from the one before; 0 for the first."""
    changes: list[float] = []
    before: Image | None = None
    for rgb in frames:
        now = small_hsv(rgb)
        changes.append(0.0 if before is None else change_between(before, now))
        before = now
    return changes
