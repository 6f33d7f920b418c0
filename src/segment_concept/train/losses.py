"""SAM 2's losses, with their published weights, as sums with counts.

A step of training is cut into micro-batches and dealt to processes. Sums that are divided by the
counts of the whole step do not depend on the cut.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.tracking.segmenter import Proposals

MASK_TERMS = ("focal", "dice", "iou_error", "presence")

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Published by SAM 2 and used by SeC: 20 focal, 1 dice, 1 IoU, 1 presence."""

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    presence: float = 1.0
    alpha: float = 0.25
    gamma: float = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Loss terms of one batch.

    Attributes:
        sums: the weighted sum of each term over its units (objects, tokens ...), with gradient.
        counts: the number of these units.
        measured: figures to look at, without gradient, as (sum, count).
    """

    sums: Mapping[str, Tensor]
    counts: Mapping[str, float]
    measured: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def total(self, counts: Mapping[str, float] | None = None) -> Tensor:
        """The loss: every sum divided by its count, added up.

        Args:
            counts: those of the whole step; None for those of this batch.
        """
        counts = self.counts if counts is None else counts
        return torch.stack([self.sums[term] / max(1.0, counts[term]) for term in self.sums]).sum()

    def figures(self) -> dict[str, tuple[float, float]]:
        """Terms and measured figures as (sum, count)."""
        terms = {term: (total.item(), self.counts[term]) for term, total in self.sums.items()}
        return {**terms, **self.measured}

    def __add__(self, other: "Losses") -> "Losses":
        return Losses(
            _merged(self.sums, other.sums, lambda a, b: a + b),
            _merged(self.counts, other.counts, lambda a, b: a + b),
            merge_figures(self.measured, other.measured),
        )


@dataclass(frozen=True, slots=True, eq=False)
class MeanLoss:
    """A mean over some clips, and mean figures to look at, without gradient."""

    total: Tensor
    measured: Mapping[str, float]

    @classmethod
    def of(cls, losses: Losses, prefix: str = "") -> "MeanLoss":
        """The loss of a batch, its figures named with a prefix."""
        means = {
            prefix + name: total / max(1.0, count)
            for name, (total, count) in losses.figures().items()
        }
        return cls(losses.total(), means)


def merge_figures(
    first: Mapping[str, tuple[float, float]], second: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Figures (sum, count) of two batches together."""
    return _merged(first, second, lambda a, b: (a[0] + b[0], a[1] + b[1]))


def _merged(
    first: Mapping[str, Value], second: Mapping[str, Value], add: Callable[[Value, Value], Value]
) -> dict[str, Value]:
    both = dict(first)
    for name, value in second.items():
        both[name] = add(both[name], value) if name in both else value
    return both


def mask_losses(
    logits: Tensor,
    iou: Tensor,
    presence: Tensor,
    truth: Tensor,
    weights: LossWeights,
) -> Losses:
    """Losses of O x M proposed masks, all counted by object, visible or not.

    Only the mask of each object for which focal and dice together are least is taught its shape;
    all M learn their IoU; an absent object teaches nothing but its absence.

    Args:
        logits: (O, M, H, W) of the masks; those of objects that are predicted to be absent are
            NO_OBJECT_LOGIT.
        iou: (O, M) predicted IoU.
        presence: (O,) logits.
        truth: (O, H, W) in [0, 1].
        weights: of the terms.
    """
    found = judge(logits, iou, truth[:, None].expand_as(logits), weights)
    rows = torch.arange(len(truth), device=truth.device)
    shape = found.focal[rows, found.best], found.dice[rows, found.best]
    losses = shape_losses(found, shape, weights) + presence_losses(presence, found, weights)
    return Losses(losses.sums, dict.fromkeys(losses.sums, float(len(truth))), losses.measured)


def proposal_losses(
    proposals: Proposals, truth: Tensor, weights: LossWeights, *, judge_presence: bool = True
) -> Losses:
    """The same terms for masks of half the truth's size, shapes counted by visible object.

    The mask to be taught is chosen, and its IoU is judged, on the mask's own grid; its shape is
    taught at the size of the truth.

    Args:
        proposals: logits (O, M, h, w) and scores.
        truth: (O, 2h, 2w), how much of every pixel belongs to the object, in [0, 1].
        weights: of the terms.
        judge_presence: false on prompted frames, where presence is given.
    """
    coarse = F.avg_pool2d(truth[:, None], 2).expand_as(proposals.logits)
    found = judge(proposals.logits, proposals.iou, coarse, weights)
    rows = torch.arange(len(truth), device=truth.device)
    chosen = proposals.logits[rows, found.best][:, None]
    fine = F.interpolate(chosen, scale_factor=2.0, mode="bilinear")
    shape = focal(fine, truth[:, None], weights)[:, 0], dice(fine, truth[:, None])[:, 0]
    losses = shape_losses(found, shape, weights)
    if not judge_presence:
        return losses
    return losses + presence_losses(proposals.presence, found, weights)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What O x M masks are worth; `best` is the mask of each object to be taught."""

    focal: Tensor  # (O, M)
    dice: Tensor  # (O, M)
    iou_error: Tensor  # (O,) mean over the masks
    iou: Tensor  # (O,) true IoU of the mask that is predicted to be best
    best: Tensor  # (O,)
    visible: Tensor  # (O,) 1 or 0


def judge(logits: Tensor, iou: Tensor, truth: Tensor, weights: LossWeights) -> Judged:
    """Compare masks (O, M, h, w) with the truth, expanded to the same shape."""
    focals, dices = focal(logits, truth, weights), dice(logits, truth)
    overlap = hard_iou(logits.detach(), truth)
    rows = torch.arange(len(truth), device=truth.device)
    return Judged(
        focal=focals,
        dice=dices,
        iou_error=(iou - overlap).abs().mean(1),
        iou=overlap[rows, iou.argmax(dim=1)],
        best=(weights.focal * focals + weights.dice * dices).detach().argmin(dim=1),
        visible=(truth[:, 0].flatten(1).sum(1) > 0).to(logits.dtype),
    )


def shape_losses(found: Judged, shape: tuple[Tensor, Tensor], weights: LossWeights) -> Losses:
    """Focal, dice (each (O,), in `shape`) and IoU terms of the visible objects."""
    visible, count = found.visible, found.visible.sum().item()
    sums = {
        "focal": weights.focal * (shape[0] * visible).sum(),
        "dice": weights.dice * (shape[1] * visible).sum(),
        "iou_error": weights.iou * (found.iou_error * visible).sum(),
    }
    iou = ((found.iou * visible).sum().item(), count)
    return Losses(sums, dict.fromkeys(sums, count), {"iou": iou})


def presence_losses(presence: Tensor, found: Judged, weights: LossWeights) -> Losses:
    """The term of all objects' presence (logits (O,))."""
    count = float(len(presence))
    cross = F.binary_cross_entropy_with_logits(presence, found.visible, reduction="sum")
    right = ((presence.detach() > 0) == (found.visible > 0)).sum().item()
    return Losses(
        {"presence": weights.presence * cross},
        {"presence": count},
        {"presence_right": (right, count)},
    )


def focal(logits: Tensor, truth: Tensor, weights: LossWeights) -> Tensor:
    """Focal loss (Lin et al., 2017), mean over pixels: (O, M) of (O, M, h, w)."""
    cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    score = logits.sigmoid()
    right = score * truth + (1 - score) * (1 - truth)
    share = weights.alpha * truth + (1 - weights.alpha) * (1 - truth)
    return (share * (1 - right) ** weights.gamma * cross).flatten(2).mean(-1)


def dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - (2 overlap + 1) / (sum + 1), as SAM 2: (O, M) of (O, M, h, w)."""
    score = logits.sigmoid()
    overlap = (score * truth).flatten(2).sum(-1)
    return 1 - (2 * overlap + 1) / (score.flatten(2).sum(-1) + truth.flatten(2).sum(-1) + 1)


def hard_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU of the thresholded masks: (O, M) of (O, M, h, w)."""
    mask, there = logits > 0, truth > 0.5
    both = (mask & there).flatten(2).sum(-1)
    either = (mask | there).flatten(2).sum(-1)
    return both / either.clamp(min=1)
