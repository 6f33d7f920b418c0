"""Estimates of what stage 2 needs: parameters, memory of a GPU, hours.

Parameters are counted. Bytes and hours are estimates by the formulas below, not measurements.
"""

from dataclasses import dataclass

import torch

from segment_concept.checkpoints.memory_estimate import BYTES_IN_4_BIT
from segment_concept.models.internvl.sizes import ConceptSize
from segment_concept.train.concept_network import SecNetworks
from segment_concept.train.hardware import hours_on

TOKENS = 1330  # of an example with five images, which is the mean
_IMAGES = 5
_PATCHES = 1025  # tokens of an image in the vision network
_TRAINED_BYTES = 4 + 4 + 8  # float32: weight, gradient, AdamW's two moments
_BUCKET_BYTES = 4  # a second copy of gradients that processes exchange
_SEGMENTER_BYTES = 0.38e9  # kept for the backward pass of one example
_SEGMENTER_FLOP = 2.3e12  # image encoder 1.83, `token_attn` and decoder forward and backward
_PASSES = 2  # forward, and backward to the activations: base weights have no gradients


@dataclass(frozen=True, slots=True)
class Budget:
    """What one training needs.

    Args:
        trained, frozen: numbers of parameters.
        fixed_bytes: weights, gradients and moments on one GPU.
        batch_bytes: kept for the backward pass of one micro-batch.
        flop: floating-point operations of one example.
    """

    trained: int
    frozen: int
    fixed_bytes: float
    batch_bytes: float
    flop: float

    def hours(self, examples: int, gpu: str, count: int) -> float | None:
        """Hours on GPUs of that name; None if their peak is not known."""
        return hours_on(gpu, examples * self.flop, count)


def budget_of(
    networks: SecNetworks,
    *,
    micro_batch: int,
    ranks: int,
    shard: bool,
    recompute: bool,
    four_bit: bool,
) -> Budget:
    """Estimate what training these networks needs; they may be on the meta device.

    Args:
        networks: with adapters.
        micro_batch: examples per forward pass.
        ranks: number of GPUs.
        shard: whether weights, gradients and moments are dealt out among the GPUs.
        recompute: whether the language model's layers are computed again.
        four_bit: whether its frozen linear layers have 4 bits.
    """
    trained = sum(p.numel() for p in networks.parameters() if p.requires_grad)
    frozen = {n: p.numel() for n, p in networks.named_parameters() if not p.requires_grad}
    linear = sum(n for name, n in frozen.items() if _is_linear(name))
    rest = sum(frozen.values()) - linear
    half = torch.bfloat16.itemsize
    fixed = rest * half + linear * (BYTES_IN_4_BIT if four_bit else half)
    moving = trained * (_TRAINED_BYTES + (_BUCKET_BYTES if ranks > 1 and not shard else 0))
    share = ranks if shard else 1
    size = networks.concept.size
    return Budget(
        trained,
        sum(frozen.values()),
        (fixed + moving) / share,
        micro_batch * (_language_bytes(size, recompute) + _SEGMENTER_BYTES),
        _flop(size, linear, recompute),
    )


def _is_linear(name: str) -> bool:
    return "language_model.layers." in name and ".weight" in name and "norm" not in name


def _language_bytes(size: ConceptSize, recompute: bool) -> float:
    """Kept for one example: the inputs of all layers and one whole layer, or all layers."""
    language = size.language
    whole = 2 * (10 * language.width + 5 * language.mlp_width)
    if recompute:
        return TOKENS * (language.layers * language.width * 2 + whole)
    return TOKENS * language.layers * whole


def _flop(size: ConceptSize, linear: int, recompute: bool) -> float:
    language = 2 * linear * TOKENS * (_PASSES + recompute)
    vision = size.vision
    per_layer = 4 * vision.width**2 + 2 * vision.width * vision.mlp_width
    seen = 2 * vision.layers * per_layer * _PATCHES * _IMAGES
    return language + seen + _SEGMENTER_FLOP
