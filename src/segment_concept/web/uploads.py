"""Uploads in pieces that can be continued, as in tus (tus.io): the client says at which offset."""

import re
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from segment_concept.types import InputError, SegmentConceptError
from segment_concept.web.guard import Limits

FOLDER = "uploads"
ABANDONED = 86_400.0  # seconds after which an unfinished upload of an earlier server is removed
_UNFINISHED = re.compile(r"u[0-9a-f]{16}\.part")
_SAFE = re.compile(r"[^A-Za-z0-9_-]+")


class OffsetError(SegmentConceptError):
    """The piece does not continue the upload. `offset` is where it stands."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the upload stands at byte {offset}: continue there")
        self.offset = offset


class TooLargeError(SegmentConceptError):
    """The upload is larger than allowed."""


@dataclass(slots=True)
class Upload:
    """A file on its way."""

    path: Path
    name: str
    size: int
    offset: int = 0


class Uploads:
    """Uploads into a folder below the root. Names are made here; the client's are not used."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._folder, self._limits = root / FOLDER, limits
        self._known: dict[str, Upload] = {}
        self._remove_old()

    def begin(self, name: str, size: int) -> tuple[str, Upload]:
        """A new upload.

        Raises:
            TooLargeError: it is too large, or the disk would be too full.
        """
        if size > self._limits.upload_bytes:
            most = self._limits.upload_bytes / 2**30
            raise TooLargeError(
                f"a file of {size / 2**30:.1f} GiB is too large: up to {most:g} GiB"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(self._folder)
        if size > disk.free - self._limits.free_share * disk.total:
            raise TooLargeError("there is not enough space on the disk: free some first")
        id_ = f"u{secrets.token_hex(8)}"
        upload = Upload(self._folder / f"{id_}.part", name, size)
        upload.path.touch()
        self._known[id_] = upload
        return id_, upload

    def find(self, id_: str) -> Upload:
        """Raises InputError if there is none."""
        if id_ not in self._known:
            raise InputError("there is no such upload: begin it again")
        return self._known[id_]

    def append(self, id_: str, offset: int, piece: bytes) -> Upload:
        """Add a piece.

        Raises:
            OffsetError: it belongs elsewhere.
            TooLargeError: it is longer than what was announced.
            OSError: the disk is full.
        """
        upload = self.find(id_)
        if offset != upload.offset:
            raise OffsetError(upload.offset)
        if offset + len(piece) > upload.size:
            raise TooLargeError(f"the file was announced with {upload.size} bytes: begin it again")
        with upload.path.open("r+b") as file:
            file.seek(offset)
            file.write(piece)
        upload.offset += len(piece)
        return upload

    def finished(self, id_: str, suffix: str) -> Path:
        """The file of an upload that is complete, with a suffix that follows from its content.

        Raises:
            InputError: it is not complete.
        """
        upload = self.find(id_)
        if upload.offset < upload.size:
            raise InputError(
                f"{upload.size - upload.offset} bytes are missing: continue the upload"
            )
        stem = _SAFE.sub("_", Path(upload.name).stem)[:60].strip("_") or "video"
        target = self._folder / f"{stem}-{id_[1:9]}{suffix}"
        upload.path.replace(target)
        del self._known[id_]
        return target

    def _remove_old(self) -> None:
        """Remove what earlier servers have left unfinished a day ago or before."""
        with suppress(OSError):
            for path in self._folder.glob("u*.part"):
                old = time.time() - path.stat().st_mtime > ABANDONED
                if old and _UNFINISHED.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def path(self, id_: str) -> Path:
        """Where an upload is. Raises InputError."""
        return self.find(id_).path
