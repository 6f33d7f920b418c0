"""States of tracking on disk: which one a span can begin with, and which are removed."""

import re
from pathlib import Path

from segment_concept.web.spans import FrameState, ObjectStates, Span

_NAME = re.compile(r"o(\d+)-([fb])(\d+)-e(\d+)\.pt")
MOST = 64  # files of a project
MOST_BYTES = 1 << 30


def best_snapshot(
    folder: Path, states: ObjectStates, span: Span, anchor: int
) -> tuple[Path, int] | None:
    """The file with the state nearest before a span, and its frame; None if there is none.

    It is valid if the mask on its frame is still the one that was found then, and no anchor
    (`anchor` is the nearest one) lies between it and the span.
    """
    best: tuple[Path, int] | None = None
    for path in folder.glob(f"o{span.object_id:03d}-*.pt"):
        found = _NAME.fullmatch(path.name)
        if found is None:
            continue
        frame, tag, backwards = int(found[3]), int(found[4]), found[2] == "b"
        between = anchor < frame < span.first
        if span.backwards:
            between = span.first < frame < anchor
        valid = (
            backwards == span.backwards
            and between
            and states.base[frame] == FrameState.TRACKED
            and states.tag[frame] == tag
            and bool(states.backwards[frame]) == backwards
        )
        if valid and (best is None or abs(frame - span.first) < abs(best[1] - span.first)):
            best = path, frame
    return best


def prune_snapshots(folder: Path, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
    """Remove the oldest files until they are few and small enough. Raises OSError."""
    files = sorted(folder.glob("*.pt"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for number, path in enumerate(files):
        total += path.stat().st_size
        if number >= most or total > most_bytes:
            path.unlink(missing_ok=True)
