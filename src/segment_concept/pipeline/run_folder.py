"""The output folder: who may write to it, and how a run that ended early is found again."""

import errno
import json
import pickle
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from zipfile import is_zipfile

import torch

from segment_concept.pipeline.outputs import WrittenState
from segment_concept.pipeline.schedule import Position
from segment_concept.runtime.files import write_whole
from segment_concept.types import InputError, SegmentConceptError
from segment_concept.video.encode import Part

STATE = ".resume"
RESULT = "result.json"
EXPLAINED = "explain.html"
OWN = (
    "overlay.mp4",
    "matte.mp4",
    "palette",
    "objects",
    "matte",
    "rle.json",
    EXPLAINED,
    RESULT,
    STATE,
)
_FORMAT = 1  # of the checkpoint
_FULL = (errno.ENOSPC, errno.EDQUOT)


class IfExists(Enum):
    """What to do with an output folder that is not empty."""

    REFUSE = "refuse"
    RESUME = "resume"  # go on with the run that ended early; begin where there is none
    OVERWRITE = "overwrite"  # remove what an earlier run wrote there


class OutputError(SegmentConceptError):
    """Results cannot be written; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a run was, and all that it needs to go on."""

    position: Position
    written: WrittenState
    session: dict[str, Any] | None  # packed; None where the session cannot be stored


class OutputFolder:
    """A folder that this run alone writes to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / STATE
        self.is_ours = False  # the lock is held
        self.abandoned = False  # nothing came of the run: leave no trace of it

    def load(self, request: Mapping[str, Any]) -> Checkpoint | None:
        """Where the run for this request was left off; None where it has not come far.

        Raises:
            InputError: the folder holds the run of another request, which is named.
        """
        before = _json(self.state / "request.json")
        if before is not None:
            _compare(before, request, self.path)
        path = self.state / "checkpoint.pt"
        if before is None or not path.exists():
            return None
        values = _loaded(path)
        if values.get("format") != _FORMAT:
            raise InputError(f"{path} was written by another version: begin again with --overwrite")
        parts = {k: tuple(Part(**p) for p in v) for k, v in values["parts"].items()}
        return Checkpoint(
            Position(**values["position"]),
            WrittenState(values["journal"], parts),
            values["session"],
        )

    def finished_result(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The whole result of this request, if there is one. Raises InputError: of another one."""
        result = _json(self.path / RESULT)
        if result is None or not result.get("finished"):
            return None
        _compare(result["request"], request, self.path)
        return result

    def begin(self, request: Mapping[str, Any]) -> None:
        """Note what the run is for."""
        write_whole(self.state / "request.json", json.dumps(request).encode())

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint, whole or not at all. Raises OSError where the disk is full."""
        parts = checkpoint.written.parts or {}
        buffer = BytesIO()
        torch.save(
            {
                "format": _FORMAT,
                "position": asdict(checkpoint.position),
                "journal": checkpoint.written.journal,
                "parts": {kind: [asdict(p) for p in ps] for kind, ps in parts.items()},
                "session": checkpoint.session,
            },
            buffer,
        )
        write_whole(self.state / "checkpoint.pt", buffer.getvalue())


@contextmanager
def locked(path: Path, if_exists: IfExists) -> Iterator[OutputFolder]:
    """The folder, made ready, while no other run may write to it.

    The state of the run is removed at the end if the folder's result is finished, or if the run
    is abandoned.

    Raises:
        InputError: it is not empty, not a folder, not this program's, or in use by another run.
    """
    folder = OutputFolder(path)
    check_folder(path, if_exists)
    with _explained(path), ExitStack() as stack:
        path.mkdir(parents=True, exist_ok=True)
        folder.state.mkdir(exist_ok=True)
        stack.callback(_tidy, folder)  # once the lock is closed
        _lock(stack.enter_context((folder.state / "lock").open("wb")), path)
        folder.is_ours = True
        if if_exists is IfExists.OVERWRITE:
            _clear(folder)
        yield folder


def _tidy(folder: OutputFolder) -> None:
    finished = (_json(folder.path / RESULT) or {}).get("finished")
    if not folder.is_ours or not (folder.abandoned or finished):
        return
    shutil.rmtree(folder.state, ignore_errors=True)
    if folder.abandoned:
        for name in (*OWN, "."):
            with suppress(OSError):
                (folder.path / name).rmdir()  # only what is empty


def check_folder(path: Path, if_exists: IfExists) -> None:
    """Refuse an output folder that is not empty, not a folder or not this program's.

    Raises:
        InputError: saying which, and what to do.
    """
    state = path / STATE
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file: name a folder for the results with --out")
    if not path.exists() or not any(path.iterdir()):
        return
    ours = state.is_dir() or (path / RESULT).exists()
    if not ours:
        raise InputError(f"the output folder {path} holds other files: name another one with --out")
    if if_exists is IfExists.REFUSE and state.is_dir():
        raise InputError(
            f"the output folder {path} holds a run that has not ended: go on with --resume, "
            "begin again with --overwrite, or name another folder with --out"
        )
    if if_exists is IfExists.REFUSE:
        raise InputError(
            f"the output folder {path} holds a result: replace it with --overwrite, "
            "or name another folder with --out"
        )


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise
        raise InputError(
            f"another run is writing to {path}: wait for it, or name another folder with --out"
        ) from error


def _clear(folder: OutputFolder) -> None:
    """Remove what a run writes, and nothing else."""
    for name in OWN:
        entry = folder.path / name
        if name == STATE:
            for own in entry.iterdir():
                if own.is_dir():  # passes of a run in offline mode
                    shutil.rmtree(own)
                elif own.name != "lock":
                    own.unlink()
        elif entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Says in plain words what a disk could not do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise OutputError(
                f"the disk that holds {path} is full. What was written is kept: "
                "make room and go on with --resume"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputError(
                f"{path} may not be written to: name another folder with --out"
            ) from error
        raise


def _compare(before: Mapping[str, Any], request: Mapping[str, Any], path: Path) -> None:
    for key, value in json.loads(json.dumps(request)).items():
        if before.get(key) != value:
            raise InputError(
                f"{path} holds a run with another {key}: repeat it with the same options, "
                "begin again with --overwrite, or name another folder with --out"
            )


def _loaded(path: Path) -> dict[str, Any]:
    damaged = InputError(f"{path} is damaged: begin again with --overwrite")
    if not is_zipfile(path):  # other things would go to torch's old reader, which fails oddly
        raise damaged
    try:
        values = torch.load(path, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise damaged from error
    return values if isinstance(values, dict) else {}


def _json(path: Path) -> dict[str, Any] | None:
    with suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
        try:
            values: dict[str, Any] = json.load(file)
        except ValueError as error:
            raise InputError(f"{path} is damaged: begin again with --overwrite") from error
        return values
    return None
