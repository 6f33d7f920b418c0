"""What a mask covers of a picture, in frozen features."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

_EMPTY = 1e-3  # tokens: added to a mask's area, so that an empty one divides


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """What is kept of one keyframe of one object."""

    inside: Tensor  # (raw,) mean feature of the object
    outside: Tensor  # (raw,) and of everything else


def marked(raw: Tensor, grid: tuple[int, int], mask: Tensor) -> Marked:
    """A keyframe from its frozen features (L, raw) and the object's mask (H, W) in [0, 1]."""
    share = mask[None].to(raw.dtype)
    return Marked(pooled(raw[None], grid, share)[0], pooled(raw[None], grid, 1 - share)[0])


def pooled(raw: Tensor, grid: tuple[int, int], masks: Tensor) -> Tensor:
    """(O, raw): the mean of features (O, L, raw) under masks (O, H, W) in [0, 1]; 0 under none."""
    weights = F.adaptive_avg_pool2d(masks, grid).flatten(1)[:, :, None]
    return (weights * raw).sum(1) / (weights.sum(1) + _EMPTY)
