"""Offline shot detection (adaptive content change) for complete videos."""

from collections.abc import Iterable

from segment_concept.shots.content import NEIGHBOURS, change_between, small_hsv, stands_out
from segment_concept.types import Image


def find_cuts(frames: Iterable[Image]) -> list[int]:
    """Indices of the first frames of new shots, by the adaptive rule of `shots.content`.

    Args:
        frames: (H, W, 3) uint8 RGB images, in order.
    """
    change = _changes(frames)
    cuts = []
    for i in range(1, len(change)):
        before = change[max(i - NEIGHBOURS, 1) : i]
        if stands_out(change[i], before + change[i + 1 : i + 1 + NEIGHBOURS]):
            cuts.append(i)
    return cuts


def _changes(frames: Iterable[Image]) -> list[float]:
    """Change of each frame relative to the previous one; 0 for the first."""
    changes: list[float] = []
    before: Image | None = None
    for rgb in frames:
        now = small_hsv(rgb)
        changes.append(0.0 if before is None else change_between(before, now))
        before = now
    return changes
