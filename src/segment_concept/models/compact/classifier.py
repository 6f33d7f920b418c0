"""A linear classifier of one object's frozen features on one frame.

Ridge regression from frozen features at a place to the share of it that a mask covers (+1 inside,
-1 outside), with the same total weight for the object and for its surroundings. It is fitted to
every remembered mask without training, so that it tells the object from *its own* background
however little both resemble the training clips. Attention copies labels of the most similar
places; a classifier weighs the channels that differ (Robinson et al., CVPR 2020, "Learning Fast and
Robust Target Models", train one in the same way).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.models.compact.backbone import CHANNELS

CLASSIFIER = sum(CHANNELS) + 1  # weights of the channels of all levels, and an offset
# Weights of the levels of stride 4, 8, 16, 32, and the numbers below: docs/LOG.md.
_LEVELS = (1.5, 1.5, 1.0, 0.5)
# Nearly as good as the exact solution, which needs a matrix product of all pairs of channels.
_STEPS, _RIDGE = 8, 0.1
_EMPTY = 1e-3


def classifier_inputs(f4: Tensor, f8: Tensor, coarsest: Tensor) -> tuple[Tensor, Tensor]:
    """Features at stride 8 (B, F, h8, w8) and at stride 16 (B, C, h16, w16) of four levels.

    Every level is scaled to the same norm at every place.

    Args:
        f4: standardized level of stride 4, and
        f8: of stride 8.
        coarsest: those of strides 16 and 32, both on the grid of stride 16, side by side.
    """
    levels = F.avg_pool2d(f4, 2), f8, *coarsest.split(CHANNELS[2:], dim=1)
    parts = [
        level * (weight * level.shape[1] ** 0.5 / (level.norm(dim=1, keepdim=True) + _EMPTY))
        for level, weight in zip(levels, _LEVELS, strict=True)
    ]
    return torch.cat(parts[:2], dim=1), torch.cat(parts[2:], dim=1)


@torch.no_grad()
def fit_classifiers(fine: Tensor, coarse: Tensor, masks: Tensor) -> Tensor:
    """Classifiers (O, M, CLASSIFIER), by conjugate gradients.

    Args:
        fine: (O, F, h8, w8), and
        coarse: (O, C, h16, w16), as `classifier_inputs` returns them.
        masks: (O, M, h8, w8) share of each place that a mask covers, in [0, 1].
    """
    scores, sums = _linear_map(fine, coarse)
    outside = 1 - masks
    weight = masks / (masks.sum((-2, -1), keepdim=True) + _EMPTY)
    weight = (weight + outside / (outside.sum((-2, -1), keepdim=True) + _EMPTY)) / 2
    residual = sums(weight * (masks - outside))
    direction, found = residual, torch.zeros_like(residual)
    square = residual.square().sum(-1, keepdim=True)
    for _ in range(_STEPS):
        product = sums(weight * scores(direction)) + _RIDGE * direction
        step = square / ((direction * product).sum(-1, keepdim=True) + _EMPTY**4)
        found = found + step * direction
        residual = residual - step * product
        before, square = square, residual.square().sum(-1, keepdim=True)
        direction = residual + square / (before + _EMPTY**4) * direction
    return found


@torch.no_grad()
def classify(fine: Tensor, coarse: Tensor, classifiers: Tensor) -> Tensor:
    """Scores (O, M, h8, w8) in [-1, 1]: +1 is the object.

    Args:
        fine: (O, F, h8, w8), and
        coarse: (O, C, h16, w16), as `classifier_inputs` returns them.
        classifiers: (O, M, CLASSIFIER), as `fit_classifiers` returns them, or means of several.
    """
    scores, _ = _linear_map(fine, coarse)
    return scores(classifiers).clamp(-1, 1)


def _linear_map(
    fine: Tensor, coarse: Tensor
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Classifiers (O, M, CLASSIFIER) -> scores (O, M, h8, w8), and the transposed map.

    What is linear in the channels commutes with the enlargement of stride 16 to stride 8, so that
    only scores are enlarged.
    """
    size, small = fine.shape[-2:], coarse.shape[-2:]
    rows, columns = (_enlargement(n, m, fine) for n, m in zip(small, size, strict=True))
    fine, coarse, width = fine.flatten(2), coarse.flatten(2), fine.shape[1]

    def scores(classifiers: Tensor) -> Tensor:
        near, far, offset = classifiers.split((width, coarse.shape[1], 1), dim=-1)
        enlarged = rows @ (far @ coarse).unflatten(-1, small) @ columns.T
        found: Tensor = (near @ fine).unflatten(-1, size) + enlarged + offset[..., None]
        return found

    def sums(values: Tensor) -> Tensor:
        reduced = (rows.T @ values @ columns).flatten(2)
        near = values.flatten(2) @ fine.transpose(1, 2)
        return torch.cat(
            [near, reduced @ coarse.transpose(1, 2), values.sum((-2, -1))[..., None]], dim=-1
        )

    return scores, sums


def _enlargement(length: int, to: int, like: Tensor) -> Tensor:
    """The matrix (to, length) of linear interpolation."""
    unit = torch.eye(length, device=like.device, dtype=like.dtype)[None]
    return F.interpolate(unit, size=to, mode="linear")[0].T
