"""Small holes and islands of masks. Holes are those that SAM 2's compiled extension finds."""

import cv2
import numpy as np
import torch
from torch import Tensor

FILLED = 0.1  # SAM 2 sets the logits of a filled hole to this
UNLIKE = -0.2  # of scores; a lower mean is that of background (docs/LOG.md)


def small_regions(inside: Tensor, largest: int) -> Tensor:
    """(..., H, W) bool: pixels of 8-connected regions of `inside` of at most `largest` pixels.

    The regions are found on the CPU, wherever the tensor is.
    """
    planes = inside.detach().cpu().numpy().astype(np.uint8).reshape(-1, *inside.shape[-2:])
    small = np.zeros(planes.shape, np.bool_)
    for plane, found in zip(planes, small, strict=True):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(plane, connectivity=8)
        few = stats[:, cv2.CC_STAT_AREA] <= largest
        few[0] = False  # what is not inside
        if count > 1 and few.any():
            found[:] = few[labels]
    return torch.from_numpy(small).reshape(inside.shape).to(inside.device)


def fill_holes(logits: Tensor, largest: int) -> Tensor:
    """Logits (..., H, W) in which regions of at most `largest` pixels of background are filled.

    As `fill_holes_in_mask_scores` of SAM 2; `largest` is its `fill_hole_area`, 0 for none.
    """
    if largest <= 0 or not logits.numel():
        return logits
    return torch.where(small_regions(logits <= 0, largest), FILLED, logits)


def lower_islands(
    logits: Tensor, share: float, limit: float, scores: Tensor | None = None
) -> Tensor:
    """Logits (..., h, w), at most `limit` in 8-connected regions that are not the object's.

    These are below `share` of their mask, or have a mean score below `UNLIKE`. The largest region
    of a mask stays. The regions are found on the CPU, wherever the tensor is.

    Args:
        logits: of masks.
        share: of the area of a mask.
        limit: a logit.
        scores: (..., h, w) in [-1, 1], +1 where all looks like the object; by default unknown.
    """
    planes = (logits.detach() > 0).cpu().numpy().view(np.uint8).reshape(-1, *logits.shape[-2:])
    islands = np.zeros(planes.shape, np.bool_)
    known = np.zeros(planes.shape, np.float32)
    if scores is not None:
        known[:] = scores.expand(logits.shape).cpu().numpy().reshape(planes.shape)
    for plane, score, found in zip(planes, known, islands, strict=True):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(plane, connectivity=8)
        if count <= 2:  # the background and at most one region
            continue
        areas = stats[1:, cv2.CC_STAT_AREA]
        unlike = np.bincount(labels.ravel(), score.ravel())[1:] < UNLIKE * areas
        lowered = (areas < areas.max()) & ((areas < share * areas.sum()) | unlike)
        found[:] = np.append(False, lowered)[labels]
    if not islands.any():
        return logits
    at = torch.from_numpy(islands).reshape(logits.shape).to(logits.device)
    return torch.where(at, logits.clamp(max=limit), logits)
