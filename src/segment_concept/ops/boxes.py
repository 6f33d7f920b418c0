"""Bounding boxes of masks, and the IoU of two boxes."""

from typing import TypeAlias

import torch
from torch import Tensor

Corners: TypeAlias = tuple[float, float, float, float]  # x0, y0, x1, y1; may be empty

NOWHERE: Corners = (0.0, 0.0, 0.0, 0.0)  # the box of an empty mask, as SAMURAI has it


def boxes_around(masks: Tensor) -> list[Corners]:
    """The boxes around N masks (N, H, W) bool; `NOWHERE` for an empty one.

    Corners are indices of the outermost pixels, both inclusive: a box of one pixel has no area.
    """
    sides = []
    for inside in (masks.any(dim=1), masks.any(dim=2)):  # columns, rows: (N, W), (N, H)
        at = inside.int()
        sides.append((at.argmax(dim=1), at.shape[1] - 1 - at.flip(1).argmax(dim=1)))
    (x0, x1), (y0, y1) = sides
    corners = torch.stack([x0, y0, x1, y1], dim=1) * masks.flatten(1).any(dim=1)[:, None]
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in corners.tolist()]


def box_iou(a: Corners, b: Corners) -> float:
    """Intersection over union of two boxes; 0 if the union has no area."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / either if either else 0.0
