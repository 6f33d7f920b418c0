"""Write files atomically, lock folders, and explain disk errors.

JSON is read by `json_files`.
"""

import errno
import json
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from segment_concept.types import InputError, OutputError

_FEW = 8  # files that are synced one by one
HIDDEN = "."  # names of unfinished files and folders begin with it
_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}", re.DOTALL)  # what `unfinished_name` makes

_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full. Finished results are kept: free some space and {resume}",
    errno.EDQUOT: "your disk quota is used up. Finished results are kept: free some space and "
    "{resume}",
    errno.EROFS: "the disk is read-only: choose another folder with --out",
    errno.EACCES: "permission denied: choose another folder with --out",
    errno.EPERM: "permission denied: choose another folder with --out",
}


def unfinished_name(name: str) -> str:
    """A hidden name for the unfinished file or folder `name`, different on every call."""
    return f"{HIDDEN}{name}{HIDDEN}{secrets.token_hex(4)}"


def remove_unfinished(folder: Path) -> None:
    """Remove files that a killed process was writing with `write_atomic` below a folder."""
    for path in folder.rglob(f"{HIDDEN}*"):
        if _UNFINISHED.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes | str | Iterable[bytes], *, durable: bool = False) -> None:
    """Write a file completely or not at all.

    The data goes to a hidden file beside `path`, which then replaces `path`. If several processes
    write the same path, the last one wins.

    Args:
        path: the file.
        data: its content. Text is encoded as UTF-8; an iterable is written piece by piece.
        durable: return only when the content and the name are on the disk (fsync).

    Raises:
        OSError: the disk is full or refuses the file; an earlier version of it is unchanged.
    """
    if isinstance(data, str):
        data = data.encode()
    partial = path.with_name(unfinished_name(path.name))
    try:
        with partial.open("xb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
        if durable:
            sync_folder(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def sync_file(path: Path) -> None:
    """Return when the content of a file is on the disk. Raises OSError."""
    with path.open("r+b") as file:  # Windows syncs only what is open for writing
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Return when the names in a folder are on the disk; Windows needs no such call."""
    if os.name == "nt":
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def sync_all(paths: Iterable[Path]) -> None:
    """Return when files and their names are on the disk. Files that are gone are left out."""
    paths = list(paths)
    if len(paths) > _FEW and sys.platform == "linux":
        os.sync()  # 300 small images on ext4: 0.1 s, and 2.4 s one by one
        return
    folders = set()
    for path in paths:
        with suppress(FileNotFoundError):
            sync_file(path)
        folders.add(path.parent)
    for folder in folders:
        with suppress(FileNotFoundError):
            sync_folder(folder)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically, with sorted keys; it is on the disk on return.

    Raises:
        OSError: the disk is full or refuses the file.
        ValueError: the content has NaN or infinite numbers.
    """
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    write_atomic(path, text, durable=True)


@contextmanager
def disk_errors(path: Path, resume: str = "run the same command again") -> Iterator[None]:
    """Turn errors of the disk into an `OutputError` with a plain message.

    Args:
        path: the file or folder that is written, named in the message.
        resume: how to continue once there is space again.

    Raises:
        OutputError: the disk is full or read-only, or permission is denied.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        reason = _DISK_ERRORS[error.errno].format(resume=resume)
        raise OutputError(f"{path} cannot be written: {reason}") from error


@contextmanager
def locked(file: Path, folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock on `file`; the operating system releases it if the process dies.

    Args:
        file: the lock file; it is created if needed and may stay behind.
        folder: the folder that the lock protects, named in the message.
        wait: for how many seconds to try.

    Raises:
        InputError: another run holds the lock.
    """
    lock = FileLock(file)
    try:
        lock.acquire(timeout=wait)
    except Timeout as error:
        raise InputError(
            f"another run is writing to {folder}: wait for it, or choose another folder with --out"
        ) from error
    try:
        yield
    finally:
        lock.release()
