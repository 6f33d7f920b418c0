"""Save a SAM 2.1 segmenter as one safetensors file that `load_sam2` reads."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from segment_concept.checkpoints.sam2.keys import FREQUENCIES, published_weights
from segment_concept.checkpoints.sam2.sizes import stated_sizes
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.models.sam2.sizes import Sam2Sizes
from segment_concept.runtime.files import disk_errors, unfinished_name
from segment_concept.types import CheckpointError, InputError

FORMAT = "segment-concept/sam2-1"


def save_sam2(
    network: Sam2Network,
    path: Path,
    *,
    dtype: torch.dtype | None = None,
    training: Mapping[str, Any] | None = None,
    published: bool = False,
) -> None:
    """Write the weights; the header has the network's sizes and how it was trained.

    Args:
        network: on any device.
        path: the `.safetensors` file; it is replaced if it exists.
        dtype: data type to save. Default: as loaded. Position frequencies stay float32.
        training: how the weights were trained.
        published: use the names of the official checkpoints, not those of transformers.

    Raises:
        InputError: the file's name does not end in `.safetensors`.
        OutputError: the file cannot be written.
    """
    if path.suffix != ".safetensors":
        raise InputError(f"{path} is not the name of a .safetensors file: add that ending")
    state = {
        name: tensor.to("cpu", None if name == FREQUENCIES else dtype).contiguous()
        for name, tensor in network.state_dict().items()
    }
    named: dict[str, Tensor] = dict(published_weights(state)) if published else state
    metadata = {"format": FORMAT, "sizes": json.dumps(asdict(network.sizes))}
    if training is not None:
        metadata["training"] = json.dumps(dict(training), sort_keys=True)
    unfinished = path.with_name(unfinished_name(path.name))
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(named, unfinished, metadata=metadata)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Header:
    """What `save_sam2` writes besides weights: sizes, and how they were trained."""

    sizes: Sam2Sizes
    training: Mapping[str, Any] | None


def read_header(path: Path) -> Header | None:
    """The header of a file of `save_sam2`; None for another file.

    Raises:
        CheckpointError: the header is damaged.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError):
        return None  # refused with a sentence when the weights are opened
    if metadata.get("format") != FORMAT:
        return None
    try:
        return Header(
            stated_sizes(json.loads(metadata["sizes"])),
            json.loads(metadata.get("training", "null")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the header of {path} is damaged ({error}): export it again"
        ) from error
