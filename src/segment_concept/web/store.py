"""The results of a project on disk: masks and scores by object, frame and the edit they follow.

A new result is appended to a journal at once, so that a killed server loses nothing that the page
has shown. Results of up to 256 frames are then moved into a chunk, a file that replaces its
predecessor atomically. Results of earlier edits are kept: taking an edit back shows them again.
"""

import base64
import errno
import json
import logging
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from segment_concept.runtime.files import remove_unfinished, write_atomic

log = logging.getLogger(__name__)

CHUNK = 256  # frames
_MAGIC = b"segment-concept masks 1\n"
_HEAD = struct.Struct("<III")  # number of rows, length of the blob, CRC-32 of rows and blob
_CACHED = 24  # chunks whose masks are kept in memory
ROW = np.dtype(
    [
        ("frame", "<u4"),
        ("presence", "<f4"),
        ("score", "<f4"),
        ("area", "<u4"),
        ("box", "<u2", (4,)),
        ("flags", "u1"),
        ("start", "<u8"),  # of the runs in the blob
        ("runs", "<u4"),  # bytes
        ("extra", "<u4"),  # bytes of JSON after them
    ]
)
CUT, QUERIED, BACKWARDS = 1, 2, 4  # flags


@dataclass(frozen=True, slots=True)
class Result:
    """One object on one frame, as tracking or a prompt has found it.

    Attributes:
        tag: the edit after which it was found.
        box: x0, y0, x1, y1 of the mask in pixels, 0 where it is empty.
        flags: `CUT` (a shot begins here), `QUERIED` (the concept encoder was asked), `BACKWARDS`.
        runs: see `runs.encode_runs`.
        scene_change: color difference to the previous frame, if the trigger measures it.
        keyframes: frames of the object's keyframe bank after this frame.
    """

    object_id: int
    frame: int
    tag: int
    presence: float
    score: float
    area: int
    box: tuple[int, int, int, int]
    flags: int
    runs: bytes
    scene_change: float | None = None
    keyframes: tuple[int, ...] = ()

    @property
    def extra(self) -> bytes:
        """What has no column, as JSON."""
        found: dict[str, Any] = {}
        if self.scene_change is not None:
            found["d"] = round(self.scene_change, 4)
        if self.keyframes:
            found["k"] = list(self.keyframes)
        return json.dumps(found, separators=(",", ":")).encode() if found else b""


Key = tuple[int, int, int]  # object, chunk, tag


@dataclass(slots=True, eq=False)
class _Chunk:
    """Rows of a chunk; masks that are not in memory are read from its file."""

    rows: NDArray[Any] = field(default_factory=lambda: np.zeros(0, ROW))  # in the order of frames
    pending: dict[int, Result] = field(default_factory=dict)  # in the journal only


class ResultStore:
    """Results in a project's folder. One process writes; others may read chunks."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Read what is there; what a killed process was writing is dropped.

        Raises:
            OSError: the folder cannot be read or written.
        """
        self._folder, self._read_only = folder, read_only
        self._masks = folder / "masks"
        self._chunks: dict[Key, _Chunk] = {}
        self._blobs: dict[Key, bytes] = {}
        self._journal: Any = None
        self._number = 0  # of the journal file
        self.unsealed = 0  # results that are in the journal only
        if not read_only:
            self._masks.mkdir(parents=True, exist_ok=True)
            remove_unfinished(self._masks)
        for path in sorted(self._masks.glob("o*/c*.bin")):
            self._index(path)
        for path in sorted(folder.glob("frames-*.jsonl")):
            self._number = max(self._number, int(path.stem.split("-")[1]))
            for result in _journaled(path):
                self._take(result)

    def add(self, results: Iterable[Result]) -> None:
        """Append results; they survive the end of this process on return.

        Raises:
            OSError: the disk is full; none of them is kept.
        """
        results = list(results)
        if self._journal is None:
            self._number += 1
            self._journal = self._journal_path(self._number).open("ab", buffering=0)
        content = b"".join(map(_line, results))
        try:
            if self._journal.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))
        except OSError:
            self._journal.close()  # behind half a line nothing would be read
            self._journal = None
            raise
        for result in results:
            self._take(result)

    def get(self, object_id: int, frame: int, tag: int) -> Result | None:
        """A result; None if there is none, or its chunk was damaged meanwhile."""
        key = (object_id, frame // CHUNK, tag)
        chunk = self._chunks.get(key)
        if chunk is None:
            return None
        if frame in chunk.pending:
            return chunk.pending[frame]
        place = int(np.searchsorted(chunk.rows["frame"], frame))
        if place == len(chunk.rows) or chunk.rows["frame"][place] != frame:
            return None
        blob = self._blob(key)
        return None if blob is None else _result(key, chunk.rows[place], blob)

    def rows(self, object_id: int, tag: int) -> NDArray[Any]:
        """All rows (`ROW`) of an object and a tag; of two of a frame the later one is valid."""
        chunks = [c for (i, _, t), c in self._chunks.items() if i == object_id and t == tag]
        pending = [_row(result) for chunk in chunks for result in chunk.pending.values()]
        return np.concatenate([*(c.rows for c in chunks), np.array(pending, ROW)])

    def tags(self) -> set[tuple[int, int]]:
        """(object, tag) of all results."""
        return {(i, tag) for i, _, tag in self._chunks}

    def seal(self) -> Callable[[], None] | None:
        """Begin a new journal; returns the work that moves the old one into chunks.

        That work may be done in another thread; then call `sealed`. None if there is nothing to
        do.
        """
        if not self.unsealed:
            return None
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        old = [p for p in self._folder.glob("frames-*.jsonl")]
        work = [
            (key, dict(chunk.pending), chunk.rows, self._blob(key) if len(chunk.rows) else b"")
            for key, chunk in self._chunks.items()
            if chunk.pending
        ]
        self._sealing = [(key, pending) for key, pending, _, _ in work]
        self.unsealed = 0

        def do() -> None:
            for key, pending, rows, blob in work:
                _write_chunk(self._path(key), key, pending, rows, blob or b"")
            for path in old:
                path.unlink(missing_ok=True)

        return do

    def sealed(self) -> None:
        """The work of `seal` is done: read its results from the chunks."""
        for key, pending in self._sealing:
            chunk = self._chunks[key]
            self._blobs.pop(key, None)
            self._index(self._path(key))
            for frame, result in pending.items():
                if chunk.pending.get(frame) is result:
                    del chunk.pending[frame]
        self._sealing = []

    def close(self) -> None:
        """Move everything into chunks."""
        if self._read_only:
            return
        work = self.seal()
        if work is not None:
            work()
            self.sealed()

    def _take(self, result: Result) -> None:
        key = (result.object_id, result.frame // CHUNK, result.tag)
        chunk = self._chunks.setdefault(key, _Chunk())
        chunk.pending[result.frame] = result
        self.unsealed += 1

    def _index(self, path: Path) -> None:
        found = _read_chunk(path)
        if found is None:
            log.warning("%s is damaged: its frames must be tracked again", path)
            return
        key, rows, _ = found
        chunk = self._chunks.setdefault(key, _Chunk())
        chunk.rows = rows

    def _blob(self, key: Key) -> bytes | None:
        if key not in self._blobs:
            found = _read_chunk(self._path(key))
            if found is None:
                return None
            while len(self._blobs) >= _CACHED:
                del self._blobs[next(iter(self._blobs))]
            self._blobs[key] = found[2]
        return self._blobs[key]

    def _path(self, key: Key) -> Path:
        object_id, chunk, tag = key
        return self._masks / f"o{object_id:03d}" / f"c{chunk:06d}-e{tag:06d}.bin"

    def _journal_path(self, number: int) -> Path:
        return self._folder / f"frames-{number:06d}.jsonl"


def _line(result: Result) -> bytes:
    values = {
        "object": result.object_id,
        "frame": result.frame,
        "tag": result.tag,
        "presence": result.presence,
        "score": result.score,
        "area": result.area,
        "box": result.box,
        "flags": result.flags,
        "runs": base64.b64encode(result.runs).decode(),
        "scene_change": result.scene_change,
        "keyframes": result.keyframes,
    }
    content = json.dumps(values).encode()
    return content + b" %08x\n" % crc32(content)


def _journaled(path: Path) -> Iterator[Result]:
    """The results before the first line that is not whole."""
    with path.open("rb") as file:
        for line in file:
            content, checksum = line[:-10], line[-10:]
            if checksum != b" %08x\n" % crc32(content):
                return
            values = json.loads(content)
            values["object_id"] = values.pop("object")
            values["runs"] = base64.b64decode(values["runs"])
            values["box"], values["keyframes"] = tuple(values["box"]), tuple(values["keyframes"])
            yield Result(**values)


def _row(result: Result, start: int = 0) -> Any:
    columns = (result.frame, result.presence, result.score, result.area, result.box, result.flags)
    return np.array((*columns, start, len(result.runs), len(result.extra)), ROW)[()]


def _result(key: Key, row: Any, blob: bytes) -> Result:
    start, middle = int(row["start"]), int(row["start"]) + int(row["runs"])
    extra = blob[middle : middle + int(row["extra"])]
    values = json.loads(extra) if extra else {}
    x0, y0, x1, y1 = row["box"].tolist()
    return Result(
        object_id=key[0],
        frame=int(row["frame"]),
        tag=key[2],
        presence=float(row["presence"]),
        score=float(row["score"]),
        area=int(row["area"]),
        box=(x0, y0, x1, y1),
        flags=int(row["flags"]),
        runs=blob[start:middle],
        scene_change=values.get("d"),
        keyframes=tuple(values.get("k", ())),
    )


def _write_chunk(
    path: Path, key: Key, pending: dict[int, Result], rows: NDArray[Any], blob: bytes
) -> None:
    whole = {int(row["frame"]): _result(key, row, blob) for row in rows} | pending
    kept, parts, start = [], [], 0
    for frame in sorted(whole):
        content = whole[frame].runs + whole[frame].extra
        kept.append(_row(whole[frame], start))
        parts.append(content)
        start += len(content)
    body = np.array(kept, ROW).tobytes() + b"".join(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    head = _HEAD.pack(len(kept), start, crc32(body))
    write_atomic(path, [_MAGIC, head, body], durable=True)


def _read_chunk(path: Path) -> tuple[Key, NDArray[Any], bytes] | None:
    """Key, rows and blob of a chunk; None if it is not as it was written."""
    try:
        content = path.read_bytes()
        chunk, tag = path.stem.split("-")
        key = int(path.parent.name[1:]), int(chunk[1:]), int(tag[1:])
        at = len(_MAGIC) + _HEAD.size
        count, length, checksum = _HEAD.unpack(content[len(_MAGIC) : at])
    except (OSError, ValueError, struct.error):
        return None
    body = content[at:]
    if content[: len(_MAGIC)] != _MAGIC or crc32(body) != checksum:
        return None
    rows = np.frombuffer(body, ROW, count)
    blob = body[count * ROW.itemsize :]
    return (key, rows, blob) if len(blob) == length else None
