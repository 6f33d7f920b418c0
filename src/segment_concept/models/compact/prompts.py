"""Prompts as maps on the mask grid (stride 4 of the network's input)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.models.compact.memory_encoder import PROMPT_CHANNELS
from segment_concept.types import Bitmap, Box, Points

CLICK_RADIUS = 2.5  # of a click's disc, in cells of the mask grid


def mask_maps(masks: Tensor) -> Tensor:
    """(O, PROMPT_CHANNELS, h4, w4) of soft masks (O, h4, w4) in [0, 1]."""
    maps = torch.stack([masks, (masks > 0.5).to(masks.dtype)], dim=1)
    return F.pad(maps, (0, 0, 0, 0, 0, PROMPT_CHANNELS - 2))


def mask_area(bitmap: Bitmap, size: Sequence[int], like: Tensor) -> Tensor:
    """(h4, w4): share of each cell that a mask (H, W) covers."""
    mask = torch.from_numpy(bitmap).to(like.device, like.dtype)
    return F.adaptive_avg_pool2d(mask[None], (size[0], size[1]))[0]


def prompt_maps(
    prompt: Points | Box,
    previous: Tensor | None,
    video_size: tuple[int, int],
    like: Tensor,
) -> Tensor:
    """(PROMPT_CHANNELS, h4, w4): rough mask, binary mask, clicks on and off the object, box.

    Args:
        prompt: in pixels of the video.
        previous: mask logits (h4, w4) to refine; without them, box or clicks are the rough mask.
        video_size: (H, W).
        like: (..., h4, w4), gives grid, device and dtype.
    """
    h, w = like.shape[-2:]
    scale = (w / video_size[1], h / video_size[0])
    box = prompt if isinstance(prompt, Box) else prompt.box
    clicks = [] if isinstance(prompt, Box) else list(zip(prompt.xy, prompt.foreground, strict=True))
    on, off = (
        _discs([xy for xy, is_on in clicks if is_on == wanted], scale, (h, w), like)
        for wanted in (True, False)
    )
    inside = torch.zeros(h, w, device=like.device, dtype=like.dtype)
    if box is not None:
        inside = _box_area(box, scale, (h, w), like)
    if previous is not None:
        rough = previous.detach().sigmoid()
    else:
        rough = inside if box is not None else on
    return torch.stack([rough, (rough > 0.5).to(like.dtype), on, off, inside])


def _box_area(box: Box, scale: tuple[float, float], size: tuple[int, int], like: Tensor) -> Tensor:
    """Share of every cell that lies inside the box."""
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
    """Soft discs around points; 0 everywhere if there is no point."""
    y = torch.arange(size[0], device=like.device, dtype=like.dtype)[:, None] + 0.5
    x = torch.arange(size[1], device=like.device, dtype=like.dtype)[None] + 0.5
    total = torch.zeros(size, device=like.device, dtype=like.dtype)
    for px, py in points:
        distance = ((x - px * scale[0]) ** 2 + (y - py * scale[1]) ** 2).sqrt()
        total = torch.maximum(total, (CLICK_RADIUS + 0.5 - distance).clamp(0, 1))
    return total
