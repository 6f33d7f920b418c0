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

NO_KEY = -1e4  # a logit lower than any


@dataclass(frozen=True, slots=True, eq=False)
class AttentionOutput:
    """Result of attending to the tokens of one frame with L queries."""

    values: Tensor  # (O, L, V) attended values of O objects
    weight: Tensor  # (L,) log-sum-exp of the logits
    best: Tensor  # (L, G) maximum logit of each group of keys


@dataclass(frozen=True, slots=True, eq=False)
class KeyGroups:
    """K keys in an order in which those that belong to the same objects are consecutive."""

    order: Tensor  # (K,) indices
    sizes: tuple[int, ...]  # of G groups, which sum to K
    members: Tensor  # (O, G) bool: the keys of the group belong to the object

    @classmethod
    def of(cls, inside: Tensor) -> "KeyGroups":
        """Groups of keys by the objects that they belong to: `inside` is (O, K) bool."""
        groups = [torch.arange(inside.shape[1], device=inside.device)]
        for own in inside:
            halves = [(group[own[group]], group[~own[group]]) for group in groups]
            groups = [half for both in halves for half in both if len(half)]
        first = torch.stack([group[0] for group in groups])
        sizes = tuple(len(group) for group in groups)
        return cls(torch.cat(groups), sizes, inside[:, first])

    def best(self, best: Tensor, o: int) -> Tensor:
        """(L, 2) maximum inside object `o` and outside of it, from that of each group (L, G).

        It is `NO_KEY` where there are no such keys; infinity would have no gradient.
        """
        inside = self.members[o]
        parts = (best.masked_fill(others, NO_KEY) for others in (~inside, inside))
        return torch.stack([part.amax(-1) for part in parts], -1)


def attend(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    bias: Tensor | None = None,
    sizes: Sequence[int] | None = None,
) -> AttentionOutput:
    """Compute softmax(q keys^T + bias) values, without scaling.

    Args:
        q: (L, C).
        keys: (K, C).
        values: (O, K, V), for O objects.
        bias: (K,), added to the logits; finite.
        sizes: of G consecutive groups of keys, see `AttentionOutput.best`; by default one group.
    """
    groups = list(sizes or (len(keys),))
    columns = values.transpose(1, 2).flatten(0, 1).contiguous()  # (O * V, K)
    parts = []
    for some in onednn.in_blocks(q, len(keys)):
        logits = onednn.linear(some, keys, bias)
        best = torch.stack([part.amax(-1) for part in logits.split(groups, -1)], -1)
        shares = logits.softmax(-1)
        # log-sum-exp = maximum logit - log of its softmax weight; both are available.
        weight = best.amax(-1) - shares.amax(-1).log()
        parts.append((onednn.linear(shares, columns), weight, best))
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
