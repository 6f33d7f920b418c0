"""Small holes and islands of masks, as SAM 2's compiled extension finds them."""

import cv2
import numpy as np
import torch
from torch import Tensor

FILLED = 0.1  # SAM 2 sets the logits of a filled hole to this


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
