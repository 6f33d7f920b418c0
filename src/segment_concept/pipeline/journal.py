"""What was found, frame by frame, in a file that only grows: one JSON object a line.

Everything that can be asked for later is made from it, so that memory does not grow with the
video, and nothing that was computed is lost when a run ends early.
"""

import json
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_START = b'{"frame": '


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

    def __init__(self, path: Path, length: int = 0) -> None:
        """Go on after the first `length` bytes; what stands after them is dropped."""
        self.path = path
        path.touch()
        self._file = path.open("r+b")
        self._file.truncate(length)
        self._file.seek(length)

    def append(self, record: FrameRecord) -> None:
        """One more frame. Raises OSError where the disk is full."""
        self._file.write(json.dumps(asdict(record)).encode() + b"\n")

    def flush(self) -> int:
        """Hand everything to the system; the length in bytes."""
        self._file.flush()
        return self._file.tell()

    def close(self) -> None:
        """Flush and close."""
        self._file.close()


class JournalIndex:
    """Reads a journal by frame; of several records of a frame the last one counts."""

    def __init__(self, path: Path) -> None:
        """Note where every frame's record is: 8 bytes a frame."""
        self._path = path
        self._offsets = array("q")
        offset = 0
        with path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    self._note(int(line[len(_START) : line.index(b",")]), offset)
                offset += len(line)

    def __len__(self) -> int:
        """The last frame's index, and one."""
        return len(self._offsets)

    def __contains__(self, frame: int) -> bool:
        return 0 <= frame < len(self._offsets) and self._offsets[frame] >= 0

    def __iter__(self) -> Iterator[FrameRecord]:
        """All frames, in the order of the video."""
        with self._path.open("rb") as file:
            for offset in self._offsets:
                if offset >= 0:
                    file.seek(offset)
                    yield FrameRecord.from_json(json.loads(file.readline()))

    def record(self, frame: int) -> FrameRecord:
        """One frame's. Raises KeyError."""
        if frame not in self:
            raise KeyError(f"frame {frame} was not recorded")
        with self._path.open("rb") as file:
            file.seek(self._offsets[frame])
            return FrameRecord.from_json(json.loads(file.readline()))

    def _note(self, frame: int, offset: int) -> None:
        missing = frame + 1 - len(self._offsets)
        self._offsets.extend([-1] * missing)
        self._offsets[frame] = offset
