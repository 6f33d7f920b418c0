"""The output folder of a run: its lock, its checkpoint, and how an interrupted run is resumed."""

import json
import pickle
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch

from segment_concept.pipeline.outputs import WrittenState
from segment_concept.pipeline.schedule import Position
from segment_concept.runtime.files import disk_errors, locked, write_atomic, write_json
from segment_concept.runtime.json_files import read_json
from segment_concept.types import InputError
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
FORMAT = 2  # of everything that a run stores; those of other versions are refused
_RESUME = "continue with --resume"


class IfExists(Enum):
    """What to do with an output folder that is not empty."""

    REFUSE = "refuse"
    RESUME = "resume"  # continue an interrupted run; start one if there is none
    OVERWRITE = "overwrite"  # remove what an earlier run wrote there


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Position of a run, and everything it needs to continue."""

    position: Position
    written: WrittenState
    session: dict[str, Any] | None  # serialized; None if the session cannot be stored


class OutputFolder:
    """A folder that only this run writes to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / STATE
        self.is_locked = False  # by this run
        self.abandoned = False  # the run has no result: remove what it created

    def load(self, request: Mapping[str, Any]) -> Checkpoint | None:
        """The checkpoint of the run with this request; None if there is none yet.

        Raises:
            InputError: the folder holds a run with another request; the message names the
                difference.
        """
        before = _read(self.state / "request.json")
        if before is not None:
            _compare(before, request, self.path)
        path = self.state / "checkpoint.pt"
        if before is None or not path.exists():
            return None
        values = _loaded(path)
        if values.get("format") != FORMAT:
            raise _of_another_version(path)
        try:
            parts = {k: tuple(Part(**p) for p in v) for k, v in values["parts"].items()}
            position = Position(**values["position"])
            return Checkpoint(position, WrittenState(values["journal"], parts), values["session"])
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged: start again with --overwrite") from error

    def finished_result(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The finished result of this request; None if there is none.

        Raises:
            InputError: the folder holds the result of another request.
        """
        result = _read(self.path / RESULT)
        if result is None or not result.get("finished"):
            return None
        _compare(result["request"], request, self.path)
        return result

    def begin(self, request: Mapping[str, Any]) -> None:
        """Write down what the run is for."""
        write_json(self.state / "request.json", request)

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint atomically. Raises OSError if the disk is full."""
        parts = checkpoint.written.parts or {}
        buffer = BytesIO()
        torch.save(
            {
                "format": FORMAT,
                "position": asdict(checkpoint.position),
                "journal": checkpoint.written.journal,
                "parts": {kind: [asdict(p) for p in ps] for kind, ps in parts.items()},
                "session": checkpoint.session,
            },
            buffer,
        )
        write_atomic(self.state / "checkpoint.pt", buffer.getvalue(), durable=True)


@contextmanager
def open_output_folder(path: Path, if_exists: IfExists) -> Iterator[OutputFolder]:
    """Prepare and lock an output folder.

    The state of the run is removed at the end if the result is finished or the run is abandoned.

    Raises:
        InputError: it is not empty, not a folder, not written by this program, or in use by
            another run.
        OutputError: the disk is full or read-only, or permission is denied.
    """
    folder = OutputFolder(path)
    check_folder(path, if_exists)
    with disk_errors(path, _RESUME), ExitStack() as stack:
        path.mkdir(parents=True, exist_ok=True)
        folder.state.mkdir(exist_ok=True)
        stack.callback(_clean_up, folder)  # runs after the lock is released
        stack.enter_context(locked(folder.state / "lock", path))
        folder.is_locked = True
        if if_exists is IfExists.OVERWRITE:
            _clear(folder)
        yield folder


def _clean_up(folder: OutputFolder) -> None:
    finished = (_read(folder.path / RESULT) or {}).get("finished")
    if not folder.is_locked or not (folder.abandoned or finished):
        return
    shutil.rmtree(folder.state, ignore_errors=True)
    if folder.abandoned:
        for name in (*OWN, "."):
            with suppress(OSError):
                (folder.path / name).rmdir()  # removes empty folders only


def check_folder(path: Path, if_exists: IfExists) -> None:
    """Check that an output folder can be used.

    Raises:
        InputError: it is not empty, not a folder, or not written by this program; the message says
            which and what to do.
    """
    state = path / STATE
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file: choose a folder for the results with --out")
    if not path.exists() or not any(path.iterdir()):
        return
    ours = state.is_dir() or (path / RESULT).exists()
    if not ours:
        raise InputError(
            f"the output folder {path} contains other files: choose another folder with --out"
        )
    if if_exists is IfExists.REFUSE and state.is_dir():
        raise InputError(
            f"the output folder {path} holds an unfinished run: continue it with --resume, "
            "start again with --overwrite, or choose another folder with --out"
        )
    if if_exists is IfExists.REFUSE:
        raise InputError(
            f"the output folder {path} holds a result: replace it with --overwrite, "
            "or choose another folder with --out"
        )


def _clear(folder: OutputFolder) -> None:
    """Remove the files of a run, and nothing else."""
    for name in OWN:
        entry = folder.path / name
        if name == STATE:
            for own in entry.iterdir():
                if own.is_dir():  # older versions kept folders there
                    shutil.rmtree(own)
                elif own.name != "lock":
                    own.unlink()
        elif entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


def _compare(before: Mapping[str, Any], request: Mapping[str, Any], path: Path) -> None:
    if before.get("format") != request["format"]:
        raise _of_another_version(path)
    for key, value in json.loads(json.dumps(request)).items():
        if before.get(key) != value:
            raise InputError(
                f"{path} holds a run with another {key}: repeat it with the same options, "
                "start again with --overwrite, or choose another folder with --out"
            )


def _of_another_version(path: Path) -> InputError:
    return InputError(
        f"{path} was written by another version of segment-concept: start again with --overwrite, "
        "or choose another folder with --out"
    )


def _loaded(path: Path) -> dict[str, Any]:
    damaged = InputError(f"{path} is damaged: start again with --overwrite")
    if not is_zipfile(path):  # torch reads other files as an old format, with confusing errors
        raise damaged
    try:
        values = torch.load(path, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise damaged from error
    return values if isinstance(values, dict) else {}


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON file of this folder; None if it is missing."""
    if not path.exists():
        return None
    values: dict[str, Any] = read_json(path, "start again with --overwrite")
    return values
