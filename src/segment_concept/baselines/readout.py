"""Read memory by similarity, and let objects compete for pixels. Pure functions without weights.

The similarity is XMem's anisotropic L2 (Cheng and Schwing 2022, equation 3); Cutie keeps it.
"""

import math

import torch
from torch import Tensor

PROBABILITY_FLOOR = 1e-7  # as published; keeps the logit of a binary mask finite


def similarity(key: Tensor, shrinkage: Tensor, query: Tensor, selection: Tensor) -> Tensor:
    """Similarity of memory tokens and query pixels, at most 0.

    Args:
        key: (C, N) memory keys.
        shrinkage: (N,) sharpness of each memory token, at least 1.
        query: (C, Q) query keys.
        selection: (C, Q) which channels each query cares for, scores.

    Returns:
        (N, Q): `-shrinkage * sum_c selection * (key - query)^2 / sqrt(C)`, in the expanded form
        that needs no (C, N, Q) tensor.
    """
    own = key.square().T @ selection
    cross = key.T @ (query * selection)
    theirs = (selection * query.square()).sum(dim=0)
    distance = own - 2 * cross + theirs
    return -distance * shrinkage[:, None] / math.sqrt(len(key))


def top_k_affinity(similarity_NQ: Tensor, top_k: int) -> Tensor:
    """(N, Q) weights: a softmax over the `top_k` nearest tokens of every query, 0 elsewhere.

    With fewer than `top_k` tokens (very small frames) all are used. The releases divide plain
    exponentials, which is 0 / 0 for a pixel that is similar to no token; a softmax has the same
    value wherever theirs is defined.
    """
    values, rows = similarity_NQ.topk(min(top_k, len(similarity_NQ)), dim=0)
    return torch.zeros_like(similarity_NQ).scatter_(0, rows, values.softmax(dim=0))


def full_affinity(similarity_NQ: Tensor) -> Tensor:
    """(N, Q) weights: a softmax over all tokens, for consolidation."""
    return similarity_NQ.softmax(dim=0)


def aggregate(scores: Tensor) -> Tensor:
    """Object scores (O, H, W) to competing logits (O + 1, H, W), background first.

    The background score is the product of (1 - score) (STM, Oh et al. 2019).
    A softmax over the rows gives the probabilities.
    """
    background = (1 - scores).prod(dim=0, keepdim=True)
    rows = torch.cat([background, scores]).clamp(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return (rows / (1 - rows)).log()


def others(masks: Tensor) -> Tensor:
    """(O, H, W) sum of the masks of all other objects."""
    return masks.sum(dim=0, keepdim=True) - masks
