"""prompts."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.models.compact.memory_attention import PROMPT_CHANNELS
from segment_concept.types import Bitmap, Box

CLICK_RADIUS = 2.5  # of a click's disc, in pixels of the decoder's grid


def _mask_hints(masks: Tensor) -> Tensor:
    """(O, PROMPT_CHANNELS, h4, w4) of soft masks (O, h4, w4)."""
    hints = torch.stack([masks, (masks > 0.5).to(masks.dtype)], dim=1)
    return F.pad(hints, (0, 0, 0, 0, 0, PROMPT_CHANNELS - 2))


def _shrink(bitmap: Bitmap, size: Sequence[int], like: Tensor) -> Tensor:
    mask = torch.from_numpy(bitmap).to(like.device, like.dtype)
    return F.adaptive_avg_pool2d(mask[None], (size[0], size[1]))[0]


def _fill(box: Box, scale: tuple[float, float], size: tuple[int, int], like: Tensor) -> Tensor:
    """How much of every cell lies inside the box."""
    spans = []
    for low, high, factor, cells in (
        (box.y0, box.y1, scale[1], size[0]),
        (box.x0, box.x1, scale[0], size[1]),
    ):
        at = torch.arange(cells, device=like.device, dtype=like.dtype)
        spans.append(
            ((at + 1).clamp(max=high * factor) - at.clamp(min=low * factor)).clamp(min=0, max=1)
        )
    return spans[0][:, None] * spans[1]


def _discs(
    points: Sequence[tuple[float, float]],
    scale: tuple[float, float],
    size: tuple[int, int],
    like: Tensor,
) -> Tensor:
    """Soft discs around points; 0 everywhere where there is none."""
    y = torch.arange(size[0], device=like.device, dtype=like.dtype)[:, None] + 0.5
    x = torch.arange(size[1], device=like.device, dtype=like.dtype)[None] + 0.5
    total = torch.zeros(size, device=like.device, dtype=like.dtype)
    for px, py in points:
        distance = ((x - px * scale[0]) ** 2 + (y - py * scale[1]) ** 2).sqrt()
        total = torch.maximum(total, (CLICK_RADIUS + 0.5 - distance).clamp(0, 1))
    return total
