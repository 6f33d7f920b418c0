"""The checkpoint of a run: where it stands, and what the files it refers to must look like.

A checkpoint promises that a run can continue from it even if the power fails. So everything that
it refers to is on the disk before it is written, it records the length and the hash of every such
file, and it begins with its own hash. `recovery` checks all of that.
"""

import hashlib
import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from segment_concept.pipeline.outputs import WrittenState
from segment_concept.pipeline.schedule import Position
from segment_concept.runtime.files import sync_all, write_atomic
from segment_concept.types import InputError
from segment_concept.video.encode import Part

FORMAT = 3  # of everything that a run stores; those of other versions are refused
CHECKPOINT = "checkpoint.bin"
_MAGIC = b"segment-concept checkpoint\n"
_DIGEST = 32  # bytes of SHA-256
_ERRORS = (KeyError, TypeError, AttributeError, ValueError, RuntimeError, EOFError)


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Size and checksum of a file that does not change any more."""

    size: int  # bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Position of a run, and everything it needs to continue."""

    position: Position
    written: WrittenState
    session: dict[str, Any] | None  # serialized; None if the session cannot be stored


def damaged(path: Path) -> InputError:
    """The error for a file of a run that is not as the run has written it."""
    return InputError(f"{path} is damaged: begin again with --overwrite")


def of_another_version(path: Path) -> InputError:
    """The error for a file that this version cannot read."""
    return InputError(
        f"{path} was written by another version of segment-concept: begin again with --overwrite, "
        "or choose another folder with --out"
    )


def stamp_of(path: Path) -> FileStamp | None:
    """Size and hash of a file; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            found = hashlib.sha256()
            size = 0
            while block := file.read(1 << 20):
                found.update(block)
                size += len(block)
    except OSError:
        return None
    return FileStamp(size, found.hexdigest())


class CheckpointFile:
    """The checkpoint in the state folder of a run."""

    def __init__(self, state: Path) -> None:
        self.path = state / CHECKPOINT
        self.stamps: dict[str, FileStamp] = {}  # of the parts of videos, by file name

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint atomically, once the files that it refers to are on the disk.

        Raises:
            OSError: the disk is full.
        """
        parts = checkpoint.written.parts or {}
        self._stamp(part.file for each in parts.values() for part in each)
        buffer = BytesIO()
        torch.save(
            {
                "format": FORMAT,
                "position": asdict(checkpoint.position),
                "journal": checkpoint.written.journal,
                "checksum": checkpoint.written.checksum,
                "parts": {kind: [asdict(part) for part in each] for kind, each in parts.items()},
                "stamps": {name: asdict(stamp) for name, stamp in self.stamps.items()},
                "session": checkpoint.session,
            },
            buffer,
        )
        content = buffer.getvalue()
        digest = hashlib.sha256(content).digest()
        write_atomic(self.path, [_MAGIC, digest, content], durable=True)

    def read(self) -> Checkpoint | None:
        """The checkpoint; None if there is none yet.

        Raises:
            InputError: it is damaged, or another version has written it.
        """
        if not self.path.exists():
            return None
        values = self._values()
        if values.get("format") != FORMAT:
            raise of_another_version(self.path)
        try:
            self.stamps = {k: FileStamp(**v) for k, v in values["stamps"].items()}
            written = WrittenState(values["journal"], values["checksum"], _parts(values["parts"]))
            return Checkpoint(Position(**values["position"]), written, values["session"])
        except _ERRORS as error:
            raise damaged(self.path) from error

    def _stamp(self, names: Iterable[str]) -> None:
        new = [name for name in names if name not in self.stamps]
        sync_all(self.path.with_name(name) for name in new)
        for name in new:
            stamp = stamp_of(self.path.with_name(name))
            if stamp is not None:  # else somebody has removed it, which resuming will notice
                self.stamps[name] = stamp

    def _values(self) -> dict[str, Any]:
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise damaged(self.path) from error
        head, content = content[: len(_MAGIC) + _DIGEST], content[len(_MAGIC) + _DIGEST :]
        if head != _MAGIC + hashlib.sha256(content).digest():
            raise damaged(self.path)
        try:
            values = torch.load(BytesIO(content), weights_only=True)
        except (pickle.UnpicklingError, *_ERRORS) as error:
            raise damaged(self.path) from error
        return values if isinstance(values, dict) else {}


def _parts(values: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, tuple[Part, ...]]:
    return {kind: tuple(Part(**part) for part in parts) for kind, parts in values.items()}
