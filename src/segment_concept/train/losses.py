"""SAM 2's losses, with their published weights."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.tracking.segmenter import Proposals


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
    """Means over the objects of a batch; `measured` are figures to look at, without gradient."""

    total: Tensor
    measured: dict[str, float]


def proposal_losses(
    proposals: Proposals, truth: Tensor, weights: LossWeights, *, judge_presence: bool = True
) -> Losses:
    """Losses of O x M proposed masks.

    Only the best of the M masks is taught its shape; all learn their IoU; an absent object
    teaches nothing but its absence.

    Args:
        proposals: logits (O, M, h, w) and scores.
        truth: (O, 2h, 2w), how much of every pixel belongs to the object, in [0, 1].
        weights: of the terms.
        judge_presence: false on prompted frames, where presence is given.
    """
    visible = (truth.flatten(1).sum(1) > 0).to(truth.dtype)
    count = visible.sum().clamp(min=1)
    coarse = F.avg_pool2d(truth[:, None], 2).expand_as(proposals.logits)
    shape = weights.focal * focal(proposals.logits, coarse, weights) + weights.dice * dice(
        proposals.logits, coarse
    )
    rows = torch.arange(len(truth), device=truth.device)
    best = shape.detach().argmin(dim=1)
    fine = F.interpolate(proposals.logits[rows, best][:, None], scale_factor=2.0, mode="bilinear")
    focal_term = (focal(fine, truth[:, None], weights)[:, 0] * visible).sum() / count
    dice_term = (dice(fine, truth[:, None])[:, 0] * visible).sum() / count
    overlap = hard_iou(proposals.logits.detach(), coarse)
    iou_error = (proposals.iou - overlap).abs().mean(1)
    iou_term = (iou_error * visible).sum() / count
    total = weights.focal * focal_term + weights.dice * dice_term + weights.iou * iou_term
    chosen = overlap[rows, proposals.iou.argmax(dim=1)]
    measured = {
        "focal": focal_term.item(),
        "dice": dice_term.item(),
        "iou_error": iou_term.item(),
        "iou": ((chosen * visible).sum() / count).item(),
    }
    if judge_presence:
        presence = F.binary_cross_entropy_with_logits(proposals.presence, visible)
        total = total + weights.presence * presence
        measured["presence"] = presence.item()
        right = (proposals.presence.detach() > 0) == (visible > 0)
        measured["presence_right"] = right.to(truth.dtype).mean().item()
    return Losses(total, measured)


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
