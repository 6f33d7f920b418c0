"""Puts weights into a concept network, each tensor once: no second copy of the network is made.

The network is laid out without memory (PyTorch's meta device) and every tensor goes, as it is
read, straight to its device in its number type.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from segment_concept.checkpoints.sec.internvl_keys import UNUSED, check_keys, convert
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


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the concept network lives, and in what numbers.

    Args:
        vision: device of the vision network and its projector.
        language: device of the language model, the projection to the concept, and the caches.
        dtype: of all weights (with `four_bit`, of all but the language model's).
        four_bit: keep the language model's layers in 4 bits (needs bitsandbytes); embeddings,
            norms, vision network and the projection at [SEG] stay in `dtype`.
    """

    vision: str = "cpu"
    language: str = "cpu"
    dtype: torch.dtype = torch.float32
    four_bit: bool = False

    @classmethod
    def on(cls, device: str, dtype: torch.dtype = torch.float32) -> "Placement":
        """Everything on one device."""
        return cls(vision=device, language=device, dtype=dtype)


def load_concept_network(
    size: ConceptSize,
    weights: Iterable[tuple[str, Tensor]],
    placement: Placement,
    rename: Callable[[str, Tensor], dict[str, Tensor]] = convert,
) -> ConceptNetwork:
    """A network with its weights, which are read one after another.

    Args:
        size: the shapes, from the checkpoint's `config.json` or from the weights' shapes.
        weights: names (those of the concept network only) and their tensors.
        placement: devices and number types.
        rename: from a name and its tensor to the network's own; published names by default.
            Raises KeyError for a name it does not know.

    Raises:
        CheckpointError: names unknown or missing (they are listed), a shape that differs, or a
            value that is not finite.
        InputError: 4 bits are asked for and bitsandbytes is not installed.
    """
    with torch.device("meta"):
        network = ConceptNetwork(size)
    if placement.four_bit:
        quantize_language_model(network, placement.dtype)
    missing = {name for name, _ in network.named_parameters()}
    unknown: set[str] = set()
    for published, tensor in weights:
        if published in UNUSED:
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
    """The tokenizer that lies in a checkpoint's folder; no code of the checkpoint is run.

    Raises:
        CheckpointError: there is none, or it cannot be read.
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
            "network: config.json and weights are of different checkpoints"
        )
    refuse_not_finite(name, tensor)
    in_vision = "language_model" not in name and not name.startswith("head.")
    device = placement.vision if in_vision else placement.language
    if is_four_bit(owner) and field == "weight":
        place_weight(owner, tensor.to(placement.dtype), device)
        return
    # a copy, so that no weight keeps a memory-mapped file or a fused tensor alive
    placed = torch.empty(expected, dtype=placement.dtype, device=device).copy_(tensor)
    setattr(owner, field, nn.Parameter(placed, requires_grad=False))


def _place_buffers(network: ConceptNetwork, device: str) -> None:
    """The rotary frequencies are computed, not stored; they stay in float32 at any dtype."""
    language = network.backbone.language_model
    with torch.device(device):
        language.rotary_emb = type(language.rotary_emb)(language.config)
