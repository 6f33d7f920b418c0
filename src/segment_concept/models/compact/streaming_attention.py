"""Attention over memory frames with a streaming softmax.

Each frame is attended to separately, and the results are merged by their log-sum-exp. The result
equals one softmax over all tokens. The attention weights within a frame are computed once for all
objects with the same query, and no matrix is larger than that of one frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segment_concept.models.compact import onednn

_TIE = 1e-4  # equal dot products computed in different matrices differ by less


@dataclass(frozen=True, slots=True, eq=False)
class AttentionOutput:
    """Result of attending to the tokens of one frame with L queries."""

    values: Tensor  # (O, L, V) attended values of O objects
    weight: Tensor  # (L,) log-sum-exp of the logits
    best: Tensor  # (L,) maximum dot product with a key


def attend(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> AttentionOutput:
    """Compute softmax(q keys^T + bias) values, without scaling.

    Args:
        q: (L, C).
        keys: (K, C).
        values: (O, K, V), for O objects.
        bias: (K,), added to the logits; finite.
    """
    columns = values.transpose(1, 2).flatten(0, 1).contiguous()  # (O * V, K)
    parts = []
    for some in onednn.in_blocks(q, len(keys)):
        logits = onednn.linear(some, keys, bias)
        best = logits.amax(-1)
        shares = logits.softmax(-1)
        # log-sum-exp = maximum logit - log of its softmax weight; both are available.
        parts.append((onednn.linear(shares, columns), best - shares.amax(-1).log(), best))
    read, weight, best = (torch.cat(each) for each in zip(*parts, strict=True))
    return AttentionOutput(read.unflatten(-1, (len(values), -1)).transpose(0, 1), weight, best)


def merge_softmax(values: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Merge the attention results of N frames into one softmax.

    Args:
        values: N of (L, V).
        weights: N of (L,), log-sum-exp.

    Returns:
        The values (L, V), and the weight of each frame (L, N).
    """
    shares = torch.stack(list(weights), dim=-1).softmax(-1)
    return (shares[:, None] @ torch.stack(list(values), dim=1))[:, 0], shares


def max_similarity(q: Tensor, keys: Tensor, best: Tensor, inside: Tensor) -> Tensor:
    """Maximum dot product of each query with the keys inside and outside a region: (L, 2).

    Args:
        q: (L, C).
        keys: (K, C); dot products are approximately in [-1, 1].
        best: (L,), the maximum over all keys.
        inside: (K,) bool.
    """
    few_are_inside = 2 * int(inside.sum()) <= len(inside)
    few = inside if few_are_inside else ~inside
    if few.any():
        to_few = onednn.linear(q, keys[few]).amax(-1)
        # The overall maximum is that of the larger set, except where the smaller set ties it.
        rows = torch.nonzero(to_few >= best - _TIE)[:, 0]
        theirs = [
            onednn.linear(some, keys).masked_fill(few, -1.0).amax(-1)
            for some in onednn.in_blocks(q[rows], len(keys))
        ]
        to_many = best.index_put((rows,), torch.cat(theirs))
    else:
        to_few, to_many = torch.full_like(best, -1.0), best
    maps = (to_few, to_many) if few_are_inside else (to_many, to_few)
    return torch.stack(maps, dim=-1).clamp(min=-1.0)
