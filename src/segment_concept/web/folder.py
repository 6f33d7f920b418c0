"""Where a project is on disk, who may write to it, and which video it belongs to."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from segment_concept.runtime.files import write_json
from segment_concept.runtime.json_files import read_json
from segment_concept.types import InputError

FORMAT = 1
SUFFIX = ".sc"
_END = 1 << 20  # bytes of a video's beginning and end that its hash covers


def default_projects() -> Path:
    """Folder for projects of videos that lie where nothing can be written."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "segment-concept" / "projects"


def project_id(video: Path) -> str:
    """The name of a project in addresses: it follows from the video's path."""
    return hashlib.sha256(os.fsencode(video.resolve())).hexdigest()[:16]


def project_folder(video: Path, projects: Path | None) -> Path:
    """The folder of a video's project: beside it, or in `projects`.

    Args:
        video: a file or a folder of images.
        projects: where to keep projects; None for beside the video if that is possible.
    """
    beside = video.with_name(video.name + SUFFIX)
    if projects is not None:
        return projects / project_id(video)
    if beside.is_dir() or os.access(beside.parent, os.W_OK):
        return beside
    return default_projects() / project_id(video)


def media_hash(video: Path) -> str:
    """What a video must look like to be the same one: its size, its first and its last MiB.

    Of a folder of images the names and sizes.

    Raises:
        InputError: it is not there.
    """
    found = hashlib.sha256()
    try:
        if video.is_dir():
            for entry in sorted(video.iterdir()):
                if not entry.name.startswith("."):
                    row = f"{entry.name}\0{entry.stat().st_size}\0"
                    found.update(row.encode("utf-8", "replace"))
            return found.hexdigest()
        size = video.stat().st_size
        found.update(f"{size}\0".encode())
        with video.open("rb") as file:
            found.update(file.read(_END))
            file.seek(max(0, size - _END))
            found.update(file.read(_END))
    except OSError as error:
        raise InputError(
            f"{video.name} cannot be read ({error.strerror}): put it back where it was"
        ) from error
    return found.hexdigest()


@dataclass(slots=True)
class ProjectFolder:
    """A folder, and whether this process may write to it.

    Attributes:
        read_only: a sentence that says why not; None if it may.
        trouble: what is wrong with the video, in a sentence; None if nothing is.
    """

    path: Path
    video: Path
    header: dict[str, Any]
    read_only: str | None = None
    trouble: str | None = None
    _lock: FileLock | None = None

    def check_video(self) -> None:
        """Set `trouble` if the video is gone or is another one than the project's."""
        try:
            is_same = media_hash(self.video) == self.header["hash"]
        except InputError as error:
            self.trouble = str(error)
            return
        changed = (
            f"{self.video.name} was changed since this project was made: put the earlier file "
            f"back, or move the folder {self.path.name} away to begin a new project"
        )
        self.trouble = None if is_same else changed

    def release(self) -> None:
        """Let others write."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def open_folder(video: Path, projects: Path | None, recipe: str) -> ProjectFolder:
    """The folder of a video's project; it is created where there is none.

    Raises:
        InputError: another version has made it, it is damaged, or the video cannot be read.
        OSError: it cannot be created.
    """
    path = project_folder(video, projects)
    file = path / "project.json"
    if not file.exists():
        hashed = media_hash(video)
        path.mkdir(parents=True, exist_ok=True)
        names = {"video": video.name, "path": str(video.resolve())}
        header = {"format": FORMAT, "hash": hashed, "recipe": recipe} | names
        write_json(file, header)
    header = read_json(file, f"move {path} away to begin a new project")
    if not isinstance(header, dict) or header.get("format") != FORMAT or "hash" not in header:
        raise InputError(
            f"{path} is a project of another version: move it away to begin a new project"
        )
    found = ProjectFolder(path, video, header)
    _lock(found)
    found.check_video()
    return found


def _lock(folder: ProjectFolder) -> None:
    """The system releases the lock when a process dies, however that happens."""
    owner = folder.path / "owner.json"
    try:
        lock = FileLock(folder.path / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        who = ""
        with suppress(InputError, TypeError, KeyError):
            who = f" (process {read_json(owner)['pid']})"
        folder.read_only = (
            f"another server has this project open{who}: look at it here, and change it there"
        )
        return
    except OSError as error:
        folder.read_only = f"nothing can be written to {folder.path} ({error.strerror})"
        return
    folder._lock = lock
    with suppress(OSError):
        write_json(owner, {"pid": os.getpid()})
