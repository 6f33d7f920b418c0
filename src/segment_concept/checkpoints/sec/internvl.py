"""Load weights into a concept network without a second copy of the network in memory.

The network is created on PyTorch's meta device; each tensor is read and placed directly on its
device in its data type.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from segment_concept.checkpoints.sec.internvl_keys import UNUSED, Renamed, check_keys, renamed
from segment_concept.checkpoints.strict_keys import refuse_not_finite
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.prompt_template import Tokenizer
from segment_concept.models.internvl.quantization import (
    is_four_bit,
    place_weight,
    quantize_language_model,
)
from segment_concept.models.internvl.sizes import ConceptSize
from segment_concept.types import CheckpointError

_AFTER_LANGUAGE = ("head.", "words.")  # parts that are on the language model's device


@dataclass(frozen=True, slots=True)
class Placement:
    """Devices and data types of the concept network.

    Args:
        vision: device of the vision network and its projector.
        language: device of the language model, the projection to the concept, and the caches.
        dtype: data type of all weights (with `four_bit`, of all but the language model's).
        four_bit: keep the language model's layers in 4 bits (needs bitsandbytes); embeddings,
            norms, vision network and the projection at [SEG] stay in `dtype`.
    """

    vision: str = "cpu"
    language: str = "cpu"
    dtype: torch.dtype = torch.float32
    four_bit: bool = False

    @classmethod
    def on(cls, device: str, dtype: torch.dtype = torch.float32) -> "Placement":
        """Place all parts on one device."""
        return cls(vision=device, language=device, dtype=dtype)


def load_concept_network(
    size: ConceptSize,
    weights: Iterable[tuple[str, Tensor]],
    placement: Placement,
    rename: Renamed | None = None,
    *,
    words: bool = False,
) -> ConceptNetwork:
    """Create a network and load its weights one tensor at a time.

    Args:
        size: sizes of the network, from the checkpoint's `config.json` or the weights' shapes.
        weights: names (of the concept network only) and tensors.
        placement: devices and data types.
        rename: maps a name and its tensor to the network's names; default: published names.
            Raises KeyError for an unknown name.
        words: load the language-model head too, which only training needs.

    Raises:
        CheckpointError: unknown or missing names (they are listed), a shape that differs, or a
            value that is not finite.
        InputError: 4-bit weights are requested and bitsandbytes is not installed.
    """
    rename = rename or renamed(size)
    with torch.device("meta"):
        network = ConceptNetwork(size, words)
    if placement.four_bit:
        quantize_language_model(network, placement.dtype)
    missing = {name for name, _ in network.named_parameters()}
    unknown: set[str] = set()
    for published, tensor in weights:
        if published in UNUSED and not words:
            continue
        try:
            ours = rename(published, tensor)
        except KeyError:
            unknown.add(published)
            continue
        unknown |= {f"{published} ({name})" for name in ours if name not in missing}
        for name in ours.keys() & missing:
            _place(network, name, ours[name], placement)
        missing -= ours.keys()
    check_keys(unknown, missing)
    _place_buffers(network, placement.language)
    return network.eval().requires_grad_(False)


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer in a checkpoint's folder without executing code of the checkpoint.

    Raises:
        CheckpointError: missing or unreadable.
    """
    try:
        tokenizer: Tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"no usable tokenizer in {folder}: expected tokenizer.json, or vocab.json with "
            f"merges.txt, and tokenizer_config.json, as in OpenIXCLab/SeC-4B ({error})"
        ) from error
    return tokenizer


def _place(network: nn.Module, name: str, tensor: Tensor, placement: Placement) -> None:
    owner_name, _, field = name.rpartition(".")
    owner = network.get_submodule(owner_name)
    expected = owner.get_parameter(field).shape
    if tensor.shape != expected:
        raise CheckpointError(
            f"{name} has shape {tuple(tensor.shape)} in the checkpoint, {tuple(expected)} in the "
            "network: config.json and weights belong to different checkpoints"
        )
    refuse_not_finite(name, tensor)
    in_vision = "language_model" not in name and not name.startswith(_AFTER_LANGUAGE)
    device = placement.vision if in_vision else placement.language
    if is_four_bit(owner) and field == "weight":
        place_weight(owner, tensor.to(placement.dtype), device)
        return
    # a copy, so that no weight keeps a memory-mapped file or a fused tensor alive
    placed = torch.empty(expected, dtype=placement.dtype, device=device).copy_(tensor)
    setattr(owner, field, nn.Parameter(placed, requires_grad=False))


def _place_buffers(network: ConceptNetwork, device: str) -> None:
    """Compute the rotary frequencies, which are not stored; float32 whatever the data type."""
    language = network.backbone.language_model
    with torch.device(device):
        language.rotary_emb = type(language.rotary_emb)(language.config)
