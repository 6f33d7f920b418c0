"""The journal of a run: the results of every frame, one JSON object per line of a growing file.

Each object is followed by the CRC-32 of all objects so far, which detects a file that is cut off,
overwritten, or of another run.

All other outputs can be made from the journal. Memory therefore does not grow with the video, and
nothing is lost if a run ends early.
"""

import json
import os
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

JOURNAL = "frames.jsonl"
_START = b'{"frame": '
_CHECKSUM = 9  # bytes: a space and 8 digits
_MAX_LINE = 256 << 20  # bytes; the masks of one frame need less


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """The result of one object on one frame."""

    id: int
    presence: float  # score in [0, 1] that it is visible
    quality: float  # predicted IoU of its mask
    area: int  # pixels
    counts: str  # COCO run lengths of its mask
    keyframes: tuple[int, ...] = ()  # frame indices of its keyframe bank after this frame


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """The results of one frame."""

    frame: int
    name: str
    seconds: float | None
    size: tuple[int, int]  # (H, W)
    concept_queried: bool
    scene_change: float | None
    objects: tuple[ObjectRecord, ...]
    # Histogram distance to the previous frame, if the timeline needs it and the trigger has none.
    color_change: float | None = None
    cut: bool = False  # the trigger reported the first frame of a shot
    backwards: bool = False  # whether the video was played backwards
    carried: bool = False  # whether masks were carried from the neighbors by optical flow

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "FrameRecord":
        """The record from the values of `asdict`."""
        objects = tuple(
            ObjectRecord(**(each | {"keyframes": tuple(each.get("keyframes", ()))}))
            for each in values["objects"]
        )
        height, width = values["size"]
        return cls(**(values | {"objects": objects, "size": (height, width)}))


class Journal:
    """Appends records."""

    def __init__(self, path: Path, length: int = 0, checksum: int = 0) -> None:
        """Continue after the first `length` bytes, with their checksum; drop the rest."""
        self.path, self.length, self.checksum = path, length, checksum
        path.touch()
        self._file = path.open("r+b")
        self._file.truncate(length)
        self._file.seek(length)

    def append(self, record: FrameRecord) -> None:
        """Append a frame. Raises OSError if the disk is full."""
        content = json.dumps(asdict(record)).encode()
        self.checksum = crc32(content, self.checksum)
        self.length += self._file.write(content + b" %08x\n" % self.checksum)

    def sync(self) -> int:
        """Wait until everything is on disk, and return the length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.length

    def close(self) -> None:
        """Flush and close."""
        self._file.close()


class Line(NamedTuple):
    """An intact record; all earlier records are intact as well."""

    content: bytes  # JSON
    start: int  # offset in bytes
    end: int  # offset of the next record
    checksum: int  # of all records up to it

    @property
    def frame(self) -> int:
        """The index of the frame."""
        return int(self.content[len(_START) : self.content.index(b",")])

    @property
    def record(self) -> FrameRecord:
        """The parsed record."""
        return FrameRecord.from_json(json.loads(self.content))


def intact_lines(path: Path) -> Iterator[Line]:
    """The records of a journal before the first damaged one; none if there is no file."""
    start = checksum = 0
    if not path.is_file():
        return
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE):
            content, checksum_text = line[: -_CHECKSUM - 1], line[-_CHECKSUM - 1 :]
            checksum = crc32(content, checksum)
            if checksum_text != b" %08x\n" % checksum:
                return
            yield Line(content, start, start + len(line), checksum)
            start += len(line)


class JournalIndex:
    """Random access to a journal by frame. The last of several records of a frame is valid."""

    def __init__(self, path: Path) -> None:
        """Index the records, with 8 bytes per frame."""
        self._path = path
        self._offsets = array("q")
        self.length = 0  # bytes of the intact records
        for line in intact_lines(path):
            self._index(line.frame, line.start)
            self.length = line.end

    def __len__(self) -> int:
        """The index of the last frame plus one."""
        return len(self._offsets)

    @property
    def frames(self) -> int:
        """Number of frames with a record."""
        return sum(offset >= 0 for offset in self._offsets)

    def __contains__(self, frame: int) -> bool:
        return 0 <= frame < len(self._offsets) and self._offsets[frame] >= 0

    def __iter__(self) -> Iterator[FrameRecord]:
        """All frames, in the order of the video."""
        with self._path.open("rb") as file:
            for offset in self._offsets:
                if offset >= 0:
                    file.seek(offset)
                    yield _parsed(file.readline())

    def record(self, frame: int) -> FrameRecord:
        """The record of a frame. Raises KeyError."""
        if frame not in self:
            raise KeyError(f"frame {frame} was not recorded")
        with self._path.open("rb") as file:
            file.seek(self._offsets[frame])
            return _parsed(file.readline())

    def _index(self, frame: int, offset: int) -> None:
        missing = frame + 1 - len(self._offsets)
        self._offsets.extend([-1] * missing)
        self._offsets[frame] = offset


def _parsed(line: bytes) -> FrameRecord:
    return FrameRecord.from_json(json.loads(line[: -_CHECKSUM - 1]))
