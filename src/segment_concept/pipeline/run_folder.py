"""The output folder of a run: its lock, its checkpoint, and how an interrupted run is resumed."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any

from segment_concept.pipeline.checkpoint import (
    FORMAT,
    Checkpoint,
    CheckpointFile,
    damaged,
    of_another_version,
)
from segment_concept.pipeline.journal import JOURNAL
from segment_concept.pipeline.recovery import recovered
from segment_concept.pipeline.schedule import PlaybackSchedule
from segment_concept.runtime.files import disk_errors, locked, remove_unfinished, write_json
from segment_concept.runtime.json_files import read_json
from segment_concept.types import InputError

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
_RESUME = "continue with --resume"


class IfExists(Enum):
    """What to do with an output folder that is not empty."""

    REFUSE = "refuse"
    RESUME = "resume"  # continue an interrupted run; start one if there is none
    OVERWRITE = "overwrite"  # remove what an earlier run wrote there


class OutputFolder:
    """A folder that only this run writes to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / STATE
        self.checkpoint = CheckpointFile(self.state)
        self.is_locked = False  # by this run
        self.abandoned = False  # the run has no result: remove what it created

    def load(self, request: Mapping[str, Any], plan: PlaybackSchedule) -> Checkpoint | None:
        """The checkpoint of the run with this request; None if there is none that can be used.

        Raises:
            InputError: the folder holds a run with another request; the message names the
                difference. Or the state of the run is damaged.
        """
        path = self.state / "request.json"
        before = _read(path)
        if before is not None:
            _compare(before, request, self.path)
        elif self.checkpoint.path.exists():
            raise damaged(path)
        found = self.checkpoint.read()
        return found and recovered(found, self.checkpoint.stamps, self.state, plan)

    def finished_result(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The finished result of this request, with any outputs; None if there is none.

        Raises:
            InputError: the folder holds the result of another request.
        """
        result = self.result()
        if result is not None:
            expected = dict(request) | {"outputs": result["request"]["outputs"]}
            _compare(result["request"], expected, self.path)
        return result

    def result(self) -> dict[str, Any] | None:
        """The result, if it is finished.

        Raises:
            InputError: it is damaged, or another version has written it.
        """
        result = _read(self.path / RESULT)
        if result is None or not result.get("finished"):
            return None
        request = result.get("request")
        if not isinstance(request, dict) or not isinstance(result.get("frames"), list):
            raise damaged(self.path / RESULT)
        if request.get("format") != FORMAT:
            raise of_another_version(self.path)
        if not isinstance(request.get("outputs"), list):
            raise damaged(self.path / RESULT)
        return result

    def begin(self, request: Mapping[str, Any]) -> None:
        """Save the request of the run."""
        write_json(self.state / "request.json", request)

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint atomically. Raises OSError if the disk is full."""
        self.checkpoint.write(checkpoint)


@contextmanager
def open_output_folder(path: Path, if_exists: IfExists) -> Iterator[OutputFolder]:
    """Prepare and lock an output folder.

    The state of the run is removed at the end if the run is abandoned. If the result is finished,
    the journal is kept: other outputs can be made from it.

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
        remove_unfinished(path)
        if if_exists is IfExists.OVERWRITE:
            _clear(folder)
        yield folder


def _clean_up(folder: OutputFolder) -> None:
    if not folder.is_locked or not (folder.abandoned or _is_finished(folder)):
        return
    if folder.abandoned:
        shutil.rmtree(folder.state, ignore_errors=True)
        for name in (*OWN, "."):
            with suppress(OSError):
                (folder.path / name).rmdir()  # removes empty folders only
        return
    for entry in folder.state.iterdir():
        if entry.name != JOURNAL:
            entry.unlink(missing_ok=True)


def _is_finished(folder: OutputFolder) -> bool:
    try:
        return bool((_read(folder.path / RESULT) or {}).get("finished"))
    except InputError:
        return False  # the results may be missing


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
    unfinished = (state / "request.json").exists() or not (path / RESULT).exists()
    if if_exists is IfExists.REFUSE and unfinished:
        raise InputError(
            f"the output folder {path} holds an unfinished run: continue it with --resume, "
            "begin again with --overwrite, or choose another folder with --out"
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
        raise of_another_version(path)
    for key, value in json.loads(json.dumps(request)).items():
        if before.get(key) != value:
            raise InputError(
                f"{path} holds a run with another {key}: repeat it with the same options, "
                "begin again with --overwrite, or choose another folder with --out"
            )


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON file of this folder; None if it is missing."""
    if not path.exists():
        return None
    try:
        values = read_json(path)
    except InputError as error:
        raise damaged(path) from error
    if not isinstance(values, dict):
        raise damaged(path)
    return values
