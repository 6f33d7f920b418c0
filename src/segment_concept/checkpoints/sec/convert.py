"""Convert a SeC checkpoint to this package's format and verify all stated hashes."""

from dataclasses import dataclass
from pathlib import Path

import torch

from segment_concept.checkpoints.hashes import HashedFile, sha256_of, stated_on_hub
from segment_concept.checkpoints.memory_estimate import SecPlacement
from segment_concept.checkpoints.sec.files import SecFiles
from segment_concept.checkpoints.sec.load import UnstoredOptions, load_sec, open_sec
from segment_concept.checkpoints.sec.save import save_sec
from segment_concept.types import InputError


@dataclass(frozen=True, slots=True)
class Conversion:
    """The weights files that were read and written, and the data type written."""

    read: tuple[HashedFile, ...]
    written: tuple[HashedFile, ...]
    dtype: torch.dtype


def convert_sec(
    source: str | Path,
    out: str | Path,
    *,
    dtype: torch.dtype | None = None,
    tokenizer: str | Path | None = None,
    sha256: str | None = None,
    unstored: UnstoredOptions | None = None,
) -> Conversion:
    """Read a checkpoint like `load_sec` and write it like `save_sec`.

    The weights are held in memory once, in the data type that is written.

    Args:
        source: see `load_sec`.
        out: output folder; must not exist or be empty.
        dtype: data type to write. Default: as in the source.
        tokenizer: see `load_sec`.
        sha256: expected hash of a single weights file. Default: the hash stated by the Hugging
            Face hub for downloaded files, or by the `config.json` of a model saved here.
        unstored: see `load_sec`.

    Raises:
        CheckpointError: see `load_sec`; or a file differs from its stated hash.
        InputError: see `save_sec`; or one hash was given for several files.
    """
    checkpoint = open_sec(source, tokenizer=tokenizer, unstored=unstored)
    read = _checked(checkpoint.files, sha256)
    dtype = dtype or checkpoint.stored_dtype()
    model = load_sec(checkpoint, SecPlacement.on("cpu", dtype))
    return Conversion(read, save_sec(model, out), dtype)


def _checked(files: SecFiles, given: str | None) -> tuple[HashedFile, ...]:
    if given is not None and len(files.weights) > 1:
        raise InputError(
            f"one hash was given for {len(files.weights)} files: leave it out and compare the "
            "printed hashes"
        )
    config = files.config or {}
    saved = config["sha256"] if files.saved_here else {}
    hashed = []
    for path in files.weights:
        stated = (given or "").lower() or saved.get(path.name) or stated_on_hub(path)
        file = HashedFile(path, sha256_of(path), stated)
        file.check()
        hashed.append(file)
    return tuple(hashed)
