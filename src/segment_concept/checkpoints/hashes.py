"""SHA-256 hashes of weights files, and where publishers state them."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from segment_concept.types import CheckpointError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 22  # bytes


@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file, its SHA-256, and the SHA-256 stated for it (None if none is stated)."""

    path: Path
    sha256: str
    stated: str | None = None

    def check(self) -> None:
        """Raise CheckpointError if the hash differs from the stated one."""
        if self.stated is not None and self.stated != self.sha256:
            raise CheckpointError(
                f"{self.path} has sha256 {self.sha256}, expected {self.stated}: it is damaged or "
                "a different file; download it again"
            )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, reading it in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def stated_on_hub(path: Path) -> str | None:
    """Return the SHA-256 that the Hugging Face hub states for a downloaded file, or None.

    In the hub's cache a file is a link to a blob that is named by its hash; `hf download
    --local-dir` writes the hash to the second line of a `.metadata` file.
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
