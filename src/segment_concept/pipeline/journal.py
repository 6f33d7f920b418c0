"""What was found, frame by frame, in a file that only grows: one JSON object a line.

After the object stands the CRC-32 of all objects up to there, so that a file that is cut off,
overwritten or another run's can be told from a whole one, record by record.

Everything that can be asked for later is made from it, so that memory does not grow with the
video, and nothing that was computed is lost when a run ends early.
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
_LONGEST = 256 << 20  # bytes of a line: more than the masks of one frame can have


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One object on one frame."""

    id: int
    presence: float  # score that it is visible
    quality: float  # predicted IoU of its mask
    area: int  # pixels
    counts: str  # its mask, as COCO run lengths
    keyframes: tuple[int, ...] = ()  # the frames of its keyframe bank, after this one


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One frame."""

    frame: int
    name: str
    seconds: float | None
    size: tuple[int, int]  # (H, W)
    concept_queried: bool
    scene_change: float | None
    objects: tuple[ObjectRecord, ...]
    # By hue and saturation to the frame played before, where it is to be explained and the
    # trigger measures nothing.
    color_change: float | None = None
    cut: bool = False  # the trigger took it for the first of a shot
    backwards: bool = False  # the frame played before was the next one of the video

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "FrameRecord":
        """What `asdict` made of it."""
        objects = tuple(
            ObjectRecord(**(each | {"keyframes": tuple(each.get("keyframes", ()))}))
            for each in values["objects"]
        )
        height, width = values["size"]
        return cls(**(values | {"objects": objects, "size": (height, width)}))


class Journal:
    """Appends records."""

    def __init__(self, path: Path, length: int = 0, checksum: int = 0) -> None:
        """Go on after the first `length` bytes, whose checksum is known; drop what follows."""
        self.path, self.length, self.checksum = path, length, checksum
        path.touch()
        self._file = path.open("r+b")
        self._file.truncate(length)
        self._file.seek(length)

    def append(self, record: FrameRecord) -> None:
        """One more frame. Raises OSError where the disk is full."""
        content = json.dumps(asdict(record)).encode()
        self.checksum = crc32(content, self.checksum)
        self.length += self._file.write(content + b" %08x\n" % self.checksum)

    def sync(self) -> int:
        """Return the length in bytes when everything is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.length

    def close(self) -> None:
        """Flush and close."""
        self._file.close()


class Line(NamedTuple):
    """A record that is whole, as are all before it."""

    content: bytes  # JSON
    start: int  # bytes before it
    end: int  # bytes with it
    checksum: int  # of all records up to it

    @property
    def frame(self) -> int:
        """The index of the frame."""
        return int(self.content[len(_START) : self.content.index(b",")])

    @property
    def record(self) -> FrameRecord:
        """What it says."""
        return FrameRecord.from_json(json.loads(self.content))


def whole_lines(path: Path) -> Iterator[Line]:
    """The records of a journal up to the first that is not whole; none if there is no file."""
    start = checksum = 0
    if not path.is_file():
        return
    with path.open("rb") as file:
        while line := file.readline(_LONGEST):
            content, noted = line[: -_CHECKSUM - 1], line[-_CHECKSUM - 1 :]
            checksum = crc32(content, checksum)
            if noted != b" %08x\n" % checksum:
                return
            yield Line(content, start, start + len(line), checksum)
            start += len(line)


class JournalIndex:
    """Reads a journal by frame; of several records of a frame the last one counts."""

    def __init__(self, path: Path) -> None:
        """Note where every frame's record is: 8 bytes a frame."""
        self._path = path
        self._offsets = array("q")
        self.length = 0  # bytes of the records that are whole
        for line in whole_lines(path):
            self._note(line.frame, line.start)
            self.length = line.end

    def __len__(self) -> int:
        """The last frame's index, and one."""
        return len(self._offsets)

    @property
    def frames(self) -> int:
        """How many frames have a record."""
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
        """One frame's. Raises KeyError."""
        if frame not in self:
            raise KeyError(f"frame {frame} was not recorded")
        with self._path.open("rb") as file:
            file.seek(self._offsets[frame])
            return _parsed(file.readline())

    def _note(self, frame: int, offset: int) -> None:
        missing = frame + 1 - len(self._offsets)
        self._offsets.extend([-1] * missing)
        self._offsets[frame] = offset


def _parsed(line: bytes) -> FrameRecord:
    return FrameRecord.from_json(json.loads(line[: -_CHECKSUM - 1]))
