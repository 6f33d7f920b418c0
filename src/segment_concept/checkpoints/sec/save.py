"""Save SeC in this package's format or under its published names.

Both are folders of safetensors files, `config.json` and the tokenizer's files.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from segment_concept.checkpoints.files import INDEX, WHOLE
from segment_concept.checkpoints.hashes import HashedFile, sha256_of
from segment_concept.checkpoints.sam2.keys import FREQUENCIES, SEC_PREFIX
from segment_concept.checkpoints.sam2.keys import published_weights as published_sam2
from segment_concept.checkpoints.sec.config import CONCEPT, SEGMENTER, SecCard
from segment_concept.checkpoints.sec.files import CONFIG, TOKENIZER_FILES
from segment_concept.checkpoints.sec.internvl_keys import published_weights
from segment_concept.checkpoints.sec.load import SecModel
from segment_concept.models.internvl.quantization import is_four_bit
from segment_concept.models.sam2.sizes import Sam2Sizes
from segment_concept.types import InputError

SHARD_BYTES = 4 << 30  # a shard is copied in memory while it is written


def save_sec(
    model: SecModel,
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
    training: Mapping[str, Any] | None = None,
) -> tuple[HashedFile, ...]:
    """Write a model that `load_sec` can read; leave no partial folder behind on failure.

    Args:
        model: the model; its weights may be on any devices.
        folder: output folder; must not exist or be empty.
        dtype: data type to save. Default: as loaded. Position frequencies stay float32.
        shard_bytes: maximum size of a weights file, in bytes.
        training: how the weights were trained, for `config.json`.

    Returns:
        The weights files and their hashes, which are also written to `config.json`.

    Raises:
        InputError: the folder is not empty, the disk is full, or the model is loaded in 4 bits.
    """
    weights = dict(_weights(model, dtype))

    def config(hashes: Mapping[str, str]) -> dict[str, Any]:
        sizes = model.segmenter.network.sizes
        assert isinstance(sizes, Sam2Sizes), "SeC's segmenter is SAM 2.1's network"
        return SecCard(sizes, model.network.size, hashes, training).as_config()

    _refuse_four_bit(model)
    return write_folder(weights, Path(folder).expanduser(), model.tokenizer, config, shard_bytes)


def save_published(
    model: SecModel,
    folder: str | Path,
    config: Mapping[str, Any],
    *,
    dtype: torch.dtype | None = None,
    training: Mapping[str, Any] | None = None,
) -> tuple[HashedFile, ...]:
    """Write a model under the names of SeC's published checkpoint, for its own code.

    The language-model head, which only generates text, is not written.

    Args:
        model: the model; its weights may be on any devices.
        folder: output folder; must not exist or be empty.
        config: the base model's `config.json`; SeC's fields are added.
        dtype: data type to save. Default: as loaded.
        training: how the weights were trained, for `config.json`.

    Raises:
        InputError: see `save_sec`.
    """
    _refuse_four_bit(model)
    network, segmenter = model.network, model.segmenter.network
    named = [
        *published_weights(network.state_dict(), network.size),
        *(
            (SEC_PREFIX + name, tensor)
            for name, tensor in published_sam2(segmenter.state_dict(), of_sec=True)
        ),
    ]
    weights = {name: (tensor, dtype or tensor.dtype) for name, tensor in named}
    language = {**config["llm_config"], "vocab_size": network.size.language.vocabulary}
    whole = {
        **{key: value for key, value in config.items() if key != "auto_map"},
        "llm_config": language,
        "model_type": "sec",
        "architectures": ["SeCModel"],
        "grounding_maskmem_num": segmenter.sizes.slots,
    }
    if training is not None:
        whole["training"] = dict(training)
    return write_folder(
        weights, Path(folder).expanduser(), model.tokenizer, lambda _: whole, SHARD_BYTES
    )


def write_folder(
    weights: dict[str, tuple[Tensor, torch.dtype]],
    folder: Path,
    tokenizer: Path,
    config: Callable[[Mapping[str, str]], Mapping[str, Any]],
    shard_bytes: int,
) -> tuple[HashedFile, ...]:
    """Write weights, `config.json` and a tokenizer; leave no partial folder behind on failure.

    Args:
        weights: tensors by name, and the data type in which each is saved.
        folder: output folder; must not exist or be empty.
        tokenizer: folder of the tokenizer to copy.
        config: content of `config.json` from the hashes of the weights files by name.
        shard_bytes: maximum size of a weights file, in bytes.

    Raises:
        InputError: the folder is not empty, or the disk is full.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty: choose a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_disk(folder, sum(_bytes(t, d) for t, d in weights.values()))
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as made:
        draft = Path(made) / folder.name
        draft.mkdir()
        names = _write_shards(weights, draft, shard_bytes)
        hashes = {name: sha256_of(draft / name) for name in names}
        (draft / CONFIG).write_text(json.dumps(config(hashes), indent=2))
        for file in TOKENIZER_FILES:
            if (tokenizer / file).is_file():
                shutil.copyfile(tokenizer / file, draft / file)
        if folder.exists():
            folder.rmdir()
        draft.replace(folder)
    return tuple(HashedFile(folder / name, sha, sha) for name, sha in hashes.items())


def _refuse_four_bit(model: SecModel) -> None:
    if any(is_four_bit(module) for module in model.network.modules()):
        raise InputError("a model loaded in 4 bits cannot be saved: load it in 16 bits")


def _weights(
    model: SecModel, dtype: torch.dtype | None
) -> Iterator[tuple[str, tuple[Tensor, torch.dtype]]]:
    """Iterate over all weights with the name and data type in which they are saved."""
    for name, tensor in model.segmenter.network.state_dict().items():
        wanted = None if name == FREQUENCIES else dtype
        yield SEGMENTER + name, (tensor, wanted or tensor.dtype)
    for name, tensor in model.network.state_dict().items():
        yield CONCEPT + name, (tensor, dtype or tensor.dtype)


def _write_shards(
    weights: dict[str, tuple[Tensor, torch.dtype]], folder: Path, shard_bytes: int
) -> list[str]:
    """Write the shards, each at most `shard_bytes` or one tensor; return the file names."""
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
            f"{folder} needs {needed / 1e9:.1f} GB, but the disk has {free / 1e9:.1f} GB free: "
            "choose a folder on another disk, or save in 16 bits (--dtype float16)"
        )
