"""Is a file what its publisher published? Hashes, and where they are stated."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from segment_concept.types import CheckpointError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 22  # bytes


@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file, its sha256, and the one that is stated for it (None where nobody states one)."""

    path: Path
    sha256: str
    stated: str | None = None

    def check(self) -> None:
        """Raises CheckpointError where the file is not what it is said to be."""
        if self.stated is not None and self.stated != self.sha256:
            raise CheckpointError(
                f"{self.path} has sha256 {self.sha256}, expected {self.stated}: it is damaged or "
                "another file; fetch it again"
            )


def sha256_of(path: Path) -> str:
    """In hexadecimal; the file is read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def stated_on_hub(path: Path) -> str | None:
    """The sha256 that the hub states for a large file that was fetched from it.

    In the hub's cache a file is a link to one that is named by its hash; `hf download
    --local-dir` writes the hash beside, as the second line of a `.metadata` file.
    """
    blob = path.resolve()
    if blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name):
        return blob.name
    metadata = path.parent / ".cache/huggingface/download" / f"{path.name}.metadata"
    if metadata.is_file():
        lines = metadata.read_text().splitlines()
        if len(lines) > 1 and _SHA256.fullmatch(lines[1].strip()):
            return lines[1].strip()
    return None
