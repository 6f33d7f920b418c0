"""SeC saved in this package's own form: safetensors, a `config.json`, the tokenizer's files."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from segment_concept.checkpoints.files import INDEX, WHOLE
from segment_concept.checkpoints.hashes import HashedFile, sha256_of
from segment_concept.checkpoints.sam2.keys import FREQUENCIES
from segment_concept.checkpoints.sec.config import CONCEPT, SEGMENTER, SecCard
from segment_concept.checkpoints.sec.files import CONFIG, TOKENIZER_FILES
from segment_concept.checkpoints.sec.load import SecModel
from segment_concept.models.internvl.quantization import is_four_bit
from segment_concept.types import InputError

SHARD_BYTES = 4 << 30  # a file is copied in memory while it is written


def save_sec(
    model: SecModel,
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> tuple[HashedFile, ...]:
    """Write a model so that `load_sec` gives it back; nothing is left behind if that fails.

    Args:
        model: its weights may lie on any devices.
        folder: to be made; it may exist if it is empty.
        dtype: to save in; as it is loaded if left out. Frequencies of positions stay exact.
        shard_bytes: how large a file of weights may become.

    Returns:
        The files of weights and their hashes, which are stated in `config.json` as well.

    Raises:
        InputError: the folder is in use, the disk is full, or the model is loaded in 4 bits.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty: name a new folder")
    if any(is_four_bit(module) for module in model.network.modules()):
        raise InputError("a model that was loaded in 4 bits cannot be saved: load it in 16 bits")
    weights = dict(_weights(model, dtype))
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_disk(folder, sum(_bytes(t, d) for t, d in weights.values()))
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as made:
        draft = Path(made) / folder.name
        draft.mkdir()
        names = _write_shards(weights, draft, shard_bytes)
        hashes = {name: sha256_of(draft / name) for name in names}
        card = SecCard(model.segmenter.network.sizes, model.network.size, hashes)
        (draft / CONFIG).write_text(json.dumps(card.as_config(), indent=2))
        for file in TOKENIZER_FILES:
            if (model.tokenizer / file).is_file():
                shutil.copyfile(model.tokenizer / file, draft / file)
        if folder.exists():
            folder.rmdir()
        draft.replace(folder)
    return tuple(HashedFile(folder / name, sha, sha) for name, sha in hashes.items())


def _weights(
    model: SecModel, dtype: torch.dtype | None
) -> Iterator[tuple[str, tuple[Tensor, torch.dtype]]]:
    """Every weight under the name and in the number type in which it is saved."""
    for name, tensor in model.segmenter.network.state_dict().items():
        wanted = None if name == FREQUENCIES else dtype
        yield SEGMENTER + name, (tensor, wanted or tensor.dtype)
    for name, tensor in model.network.state_dict().items():
        yield CONCEPT + name, (tensor, dtype or tensor.dtype)


def _write_shards(
    weights: dict[str, tuple[Tensor, torch.dtype]], folder: Path, shard_bytes: int
) -> list[str]:
    """Names of the files, each of at most that many bytes or of a single tensor."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, (tensor, dtype) in weights.items():
        if shards[-1] and filled + _bytes(tensor, dtype) > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += _bytes(tensor, dtype)
    count = len(shards)
    files = [WHOLE] if count == 1 else [_shard(i, count) for i in range(1, count + 1)]
    for file, names in zip(files, shards, strict=True):
        content = {n: weights[n][0].to("cpu", weights[n][1]).contiguous() for n in names}
        save_file(content, folder / file, metadata={"format": "pt"})
    if count > 1:
        home = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        (folder / INDEX).write_text(json.dumps({"weight_map": home}, indent=2))
    return files


def _shard(number: int, count: int) -> str:
    return f"model-{number:05d}-of-{count:05d}.safetensors"


def _bytes(tensor: Tensor, dtype: torch.dtype) -> int:
    return tensor.numel() * dtype.itemsize


def _check_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise InputError(
            f"{folder} would take {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free on that "
            "disk: name a folder on another one, or save in 16 bits (--dtype float16)"
        )
