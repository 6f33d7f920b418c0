"""Attention to memories, one remembered frame after another.

The softmax over all remembered tokens is taken in two steps: within every frame, and then over the
frames by what each of them weighs (the logarithm of its sum of exponentials). The result is the
same. The weights within a frame are alike for all objects that ask with the same query, and are
made once for them, whatever else each of them remembers; no matrix is larger than of one frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segment_concept.models.compact import onednn

_TIE = 1e-4  # two products of the same vectors in other matrices differ by less


@dataclass(frozen=True, slots=True, eq=False)
class AttentionOutput:
    """What L queries get of one frame's tokens."""

    values: Tensor  # (O, L, V) mean values, for O objects
    weight: Tensor  # (L,) logarithm of the sum of exponentials
    best: Tensor  # (L,) the greatest product with a key


def attend(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> AttentionOutput:
    """softmax(q keys' + bias) values, with nothing scaled.

    Args:
        q: (L, C).
        keys: (K, C).
        values: (O, K, V) of O objects.
        bias: (K,) on the logarithm of the weights; finite.
    """
    columns = values.transpose(1, 2).flatten(0, 1).contiguous()  # (O * V, K)
    parts = []
    for some in onednn.in_blocks(q, len(keys)):
        logits = onednn.linear(some, keys, bias)
        best = logits.amax(-1)
        shares = logits.softmax(-1)
        # log sum exp = greatest logit - log of its share: both are at hand.
        parts.append((onednn.linear(shares, columns), best - shares.amax(-1).log(), best))
    read, weight, best = (torch.cat(each) for each in zip(*parts, strict=True))
    return AttentionOutput(read.unflatten(-1, (len(values), -1)).transpose(0, 1), weight, best)


def merge_softmax(values: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """One softmax of the answers of N frames.

    Args:
        values: N of (L, V).
        weights: N of (L,), logarithmic.

    Returns:
        (L, V), and the frames' shares (L, N).
    """
    shares = torch.stack(list(weights), dim=-1).softmax(-1)
    return (shares[:, None] @ torch.stack(list(values), dim=1))[:, 0], shares


def max_similarity(q: Tensor, keys: Tensor, best: Tensor, inside: Tensor) -> Tensor:
    """(L, 2): the greatest product of each query with a key inside and with one outside.

    Args:
        q: (L, C).
        keys: (K, C), products about in [-1, 1].
        best: (L,) the greatest product with any key.
        inside: (K,) bool.
    """
    few_are_inside = 2 * int(inside.sum()) <= len(inside)
    few = inside if few_are_inside else ~inside
    if few.any():
        to_few = onednn.linear(q, keys[few]).amax(-1)
        # The best of all is the many's, but where one of the few is as good.
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
