"""Attention over rows of different lengths, packed into one sequence without padding.

Every object that is queried on a frame is a row: its cached states, and the tokens that are not
cached. The tokens of all rows form one sequence, so that every linear layer runs once over exactly
these; only attention runs per row, each with its own cached states.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface, PreTrainedModel

NAME = "segment_concept_packed"

LayerStates = tuple[Tensor, Tensor]  # keys and values, each (key/value heads, tokens, head width)


@dataclass(slots=True)
class PackedRows:
    """Layout of B rows in the packed sequence, and the states that are to be cached.

    With `keep=None` nothing is recorded: a layer may be computed again in the backward pass.
    """

    lengths: Sequence[int]  # tokens per row that are not cached
    past: Sequence[Sequence[LayerStates]]  # cached states per row and layer; empty if none
    keep: Sequence[int] | None  # how many of these to cache, per row; None in training: nothing
    kept: list[list[LayerStates]] = field(init=False)  # states to cache, per row and layer
    _masks: dict[tuple[int, int], Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.kept = [[] for _ in self.lengths]

    def positions(self, device: torch.device) -> Tensor:
        """(1, all tokens) int64; each row continues after its cached tokens."""
        starts = [states[0][0].shape[1] if states else 0 for states in self.past]
        counts = [
            torch.arange(start, start + length, device=device)
            for start, length in zip(starts, self.lengths, strict=True)
        ]
        return torch.cat(counts)[None]

    def last(self) -> list[int]:
        """Where the last token of every row lies."""
        return [end - 1 for end in accumulate(self.lengths)]

    def attend(self, layer: int, query: Tensor, states: LayerStates, scale: float) -> Tensor:
        """(heads, all tokens, head width): causal attention within every row and its past."""
        ends = accumulate(self.lengths, initial=0)
        outputs = []
        for row, (start, end) in enumerate(pairwise(ends)):
            fresh = (states[0][:, start:end], states[1][:, start:end])
            keys, values = self._joined(row, layer, fresh)
            outputs.append(self._causal(query[:, start:end], keys, values, scale))
        return torch.cat(outputs, dim=1)

    def _joined(self, row: int, layer: int, fresh: LayerStates) -> LayerStates:
        """Past and fresh states of a row; the part worth caching is noted on the way."""
        past = self.past[row][layer] if self.past[row] else None
        keys, values = fresh
        if past is not None:
            keys, values = torch.cat((past[0], keys), dim=1), torch.cat((past[1], values), dim=1)
        if self.keep is not None:
            self._cache(row, past, (keys, values), self.keep[row])
        return keys, values

    def _cache(self, row: int, past: LayerStates | None, states: LayerStates, keep: int) -> None:
        if past is not None and not keep:
            self.kept[row].append(past)
            return
        keys, values = states
        length = keys.shape[1] - self.lengths[row] + keep
        # copies: a slice would keep the query's states alive, and every other row's
        self.kept[row].append((keys[:, :length].clone(), values[:, :length].clone()))

    def _causal(self, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Attention of the newest tokens to everything up to themselves; heads share key heads.

        A mask of booleans keeps the fastest kernels away and is avoided: on a GPU by torch's
        description of the mask, elsewhere, if most tokens are new, by queries for all others.
        """
        new, seen = query.shape[1], keys.shape[1]
        if new == seen:
            return _attend(query, keys, values, scale)
        if query.device.type == "cuda":
            return _attend(query, keys, values, scale, causal_lower_right(new, seen))
        if 2 * new > seen:  # then half a square costs less than the mask's rectangle
            padded = F.pad(query, (0, 0, seen - new, 0))
            return _attend(padded, keys, values, scale)[:, seen - new :]
        return _attend(query, keys, values, scale, self._mask(new, seen, query.device))

    def _mask(self, new: int, seen: int, device: torch.device) -> Tensor:
        """(new, seen) bool: causal, ending in the lower right corner. The same for all layers."""
        if (new, seen) not in self._masks:
            whole = torch.ones(new, seen, dtype=torch.bool, device=device)
            self._masks[new, seen] = whole.tril(seen - new)
        return self._masks[new, seen]


def _attend(
    query: Tensor, keys: Tensor, values: Tensor, scale: float, mask: Tensor | None = None
) -> Tensor:
    """Attention (heads, tokens, head width) with fewer key heads; causal without a mask."""
    shared = query.device.type != "mps"  # where torch's attention repeats the keys itself
    if not shared:
        groups = query.shape[0] // keys.shape[0]
        keys, values = (states.repeat_interleave(groups, dim=0) for states in (keys, values))
    attended = F.scaled_dot_product_attention(
        query[None],
        keys[None],
        values[None],
        mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=shared,
    )
    return attended[0]


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    packed_rows: PackedRows,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it in every layer; query (1, heads, tokens, width)."""
    layer = module.layer_idx
    assert isinstance(layer, int), "transformers numbers its decoder layers"
    attended = packed_rows.attend(layer, query[0], (key[0], value[0]), scaling)
    return attended.transpose(0, 1)[None].contiguous(), None


def use_packed_attention(language_model: PreTrainedModel) -> None:
    """Make every layer of a transformers decoder attend by `packed_attention`."""
    AttentionInterface.register(NAME, packed_attention)
    language_model.set_attn_implementation(NAME)


def use_fused_norms(language_model: PreTrainedModel) -> None:
    """Replace transformers' norms, eight operators each, by torch's, which are one."""
    for layer in cast(nn.ModuleList, language_model.layers):
        layer.input_layernorm = _fused(layer.input_layernorm)
        layer.post_attention_layernorm = _fused(layer.post_attention_layernorm)
    language_model.norm = _fused(cast(nn.Module, language_model.norm))


def _fused(norm: Any) -> nn.RMSNorm:
    """The same norm, with the same parameter."""
    weight: nn.Parameter = norm.weight
    with torch.device("meta"):
        fused = nn.RMSNorm(len(weight), eps=norm.variance_epsilon)
    fused.weight = weight
    return fused
