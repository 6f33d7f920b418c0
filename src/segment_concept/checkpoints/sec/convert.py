"""Any SeC checkpoint into this package's own form, with every hash checked that is stated."""

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
    """The files of weights that were read, and those that were written."""

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
    untold: UnstoredOptions | None = None,
) -> Conversion:
    """Read a checkpoint as `load_sec` does and write it as `save_sec` does.

    It lies in memory once, in the number type in which it is written.

    Args:
        source: see `load_sec`.
        out: the folder to be made.
        dtype: to write in; that of the source if left out.
        tokenizer: see `load_sec`.
        sha256: what the single file of weights is said to have; else what the hub states of files
            that came from it, and the `config.json` of a model that was saved here.
        untold: see `load_sec`.

    Raises:
        CheckpointError: see `load_sec`; or a file has not the hash that is stated for it.
        InputError: see `save_sec`; or a hash is given for several files.
    """
    checkpoint = open_sec(source, tokenizer=tokenizer, untold=untold)
    read = _checked(checkpoint.files, sha256)
    dtype = dtype or checkpoint.stored_dtype()
    model = load_sec(checkpoint, SecPlacement.on("cpu", dtype))
    return Conversion(read, save_sec(model, out), dtype)


def _checked(files: SecFiles, given: str | None) -> tuple[HashedFile, ...]:
    if given is not None and len(files.weights) > 1:
        raise InputError(
            f"one hash was given for {len(files.weights)} files of weights: leave it out, and "
            "compare the hashes that are listed"
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
