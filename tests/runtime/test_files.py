"""Atomic writes, folder locks and messages for disk errors."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from segment_concept.runtime.files import (
    disk_errors,
    locked,
    remove_unfinished,
    unfinished_name,
    write_atomic,
    write_json,
)
from segment_concept.types import InputError, OutputError

HOLD = """
import sys, time
from pathlib import Path
from segment_concept.runtime.files import locked
folder = Path(sys.argv[1])
with locked(folder / ".lock", folder):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_file_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"before")

    def rows():  # type: ignore[no-untyped-def]
        yield b"half of"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomic(path, rows())
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.txt", "größer\n", durable=True)
    assert (tmp_path / "a.txt").read_bytes() == "größer\n".encode()


def test_json_without_numbers_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"score": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "out cannot be written: the disk is full.* and continue with --resume"),
        (errno.EDQUOT, "quota is used up"),
        (errno.EROFS, "read-only: choose another folder with --out"),
        (errno.EACCES, "permission denied: choose another folder with --out"),
    ],
)
def test_disk_errors_have_a_plain_message(number: int, message: str) -> None:
    with (
        pytest.raises(OutputError, match=message),
        disk_errors(Path("out"), "continue with --resume"),
    ):
        raise OSError(number, "as the system says it")


def test_other_errors_are_not_changed() -> None:
    with pytest.raises(FileNotFoundError), disk_errors(Path("out")):
        raise FileNotFoundError(errno.ENOENT, "No such file")


def refuse(file: Path) -> None:
    with pytest.raises(InputError, match="another run is writing"), locked(file, file.parent):
        pass


def test_a_lock_is_held_once_and_released_at_the_end(tmp_path: Path) -> None:
    with locked(tmp_path / ".lock", tmp_path):
        refuse(tmp_path / ".lock")
    with locked(tmp_path / ".lock", tmp_path):
        pass


def test_a_killed_process_releases_its_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        refuse(tmp_path / ".lock")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with locked(tmp_path / ".lock", tmp_path, wait=10):
        pass


def test_only_files_that_a_killed_process_was_writing_are_removed(tmp_path: Path) -> None:
    inner = tmp_path / "palette"
    inner.mkdir()
    stays = [
        inner / "00001.png",
        inner / ".hidden",
        tmp_path / ".notes.txt",
        tmp_path / "a.0123abcd",
    ]
    goes = [inner / unfinished_name("00002.png"), tmp_path / unfinished_name("result.json")]
    for path in (*stays, *goes):
        path.write_bytes(b"x")
    remove_unfinished(tmp_path)
    assert all(path.exists() for path in stays)
    assert not any(path.exists() for path in goes)
