"""Memory encoder of the compact network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.layers import ConvRefine, Linear, PointwiseConv
from segment_concept.models.compact.neck import CompactFeatures, Widths

PROMPT_CHANNELS = 5  # mask, binary mask, clicks on the object, clicks off it, box


class MemoryEncoder(nn.Module):
    """Image features and an object's mask -> memory values: learned channels and mask cells."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        v = widths.value
        self.mask_in = PointwiseConv(16 * PROMPT_CHANNELS, 64)
        self.mask_mix = nn.Sequential(nn.GroupNorm(1, 64), nn.GELU(), PointwiseConv(64, v))
        self.image_in = Linear(widths.tokens, v)
        self.mix = nn.Sequential(ConvRefine(v), nn.GroupNorm(1, v), PointwiseConv(v, v))
        self.absent = nn.Parameter(torch.zeros(v))

    def forward(self, features: CompactFeatures, hints: Tensor, visible: Tensor) -> Tensor:
        """Memory values (O, L, value + CELLS).

        Args:
            features: one row per object.
            hints: (O, PROMPT_CHANNELS, h4, w4) in [0, 1], see `prompts`.
            visible: (O,) 0 or 1.
        """
        h, w = features.grid
        image = self.image_in(features.tokens).transpose(1, 2).unflatten(-1, (h, w))
        mask = self.mask_mix(self.mask_in(F.pixel_unshuffle(hints * 2 - 1, 4)))
        value = self.mix(mask + image).flatten(2).transpose(1, 2)
        value = value + (1 - visible)[:, None, None] * self.absent
        cells = F.pixel_unshuffle(F.avg_pool2d(hints[:, :1], 2), 2).flatten(2).transpose(1, 2)
        return torch.cat([value, cells * 2 - 1], dim=-1)
