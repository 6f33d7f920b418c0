"""Check the files that a checkpoint refers to, and go back to the last frame that is whole."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segment_concept.pipeline.checkpoint import Checkpoint, FileStamp, stamp_of
from segment_concept.pipeline.journal import JOURNAL, intact_lines
from segment_concept.pipeline.outputs import WrittenState
from segment_concept.pipeline.schedule import PlaybackSchedule, Position
from segment_concept.video.encode import Part

log = logging.getLogger(__name__)

_Edge = tuple[bool, int]  # played backwards?, the frame that was played last


@dataclass(frozen=True, slots=True)
class _Entry:
    """Position in the journal after a frame."""

    edge: _Edge
    end: int
    checksum: int


def recovered(
    checkpoint: Checkpoint, stamps: Mapping[str, FileStamp], state: Path, plan: PlaybackSchedule
) -> Checkpoint | None:
    """The checkpoint if its files are whole; else one for the last frame up to which they are.

    The session at that frame is not known, so the frames before it are tracked again, without
    being written again.

    Args:
        checkpoint: as the run has saved it.
        stamps: what its parts of videos must look like.
        state: the folder with the journal and the parts.
        plan: what the run plays.

    Returns:
        None if nothing is left that can be used: the run begins again.
    """
    written = checkpoint.written
    parts = {kind: _whole(each, stamps, state) for kind, each in (written.parts or {}).items()}
    if parts == (written.parts or {}) and _is_whole(state / JOURNAL, written):
        return checkpoint
    log.warning(
        "files of this run in %s are damaged, perhaps because the power failed: "
        "frames are tracked again from the last one that is whole",
        state,
    )
    return _cut_back(written, parts, state, plan)


def _cut_back(
    written: WrittenState,
    parts: Mapping[str, Sequence[Part]],
    state: Path,
    plan: PlaybackSchedule,
) -> Checkpoint | None:
    edges = [{_edge(part) for part in each} for each in parts.values()]
    last: _Entry | None = None
    for entry in _entries(state / JOURNAL, written.journal):
        if all(entry.edge in each for each in edges):
            last = entry
    if last is None:
        return None
    kept = {kind: _until(each, last.edge) for kind, each in parts.items()}
    return Checkpoint(_after(last.edge, plan), WrittenState(last.end, last.checksum, kept), None)


def _whole(parts: Sequence[Part], stamps: Mapping[str, FileStamp], state: Path) -> tuple[Part, ...]:
    """The parts before the first that is not as it was written."""
    whole: list[Part] = []
    for part in parts:
        if part.file not in stamps or stamp_of(state / part.file) != stamps[part.file]:
            break
        whole.append(part)
    return tuple(whole)


def _is_whole(journal: Path, written: WrittenState) -> bool:
    found = (0, 0)
    for line in intact_lines(journal):
        if line.end > written.journal:
            break
        found = line.end, line.checksum
    return found == (written.journal, written.checksum)


def _entries(journal: Path, length: int) -> Iterator[_Entry]:
    for line in intact_lines(journal):
        if line.end > length:
            return
        yield _Entry((line.record.backwards, line.frame), line.end, line.checksum)


def _edge(part: Part) -> _Edge:
    return part.backwards, part.first if part.backwards else part.last


def _until(parts: Sequence[Part], edge: _Edge) -> tuple[Part, ...]:
    places = [place for place, part in enumerate(parts) if _edge(part) == edge]
    return tuple(parts[: places[-1] + 1])


def _after(edge: _Edge, plan: PlaybackSchedule) -> Position:
    """The frame to play next. Only the first pass that is written and the next one record."""
    backwards, frame = edge
    number = plan.first_written
    if plan.passes[number].backwards != backwards:
        number += 1
    return Position(number, frame + (-1 if backwards else 1))
