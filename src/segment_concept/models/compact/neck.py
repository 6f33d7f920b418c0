"""What the compact network knows of an image before any object: the neck over the frozen trunk."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.backbone import CHANNELS
from segment_concept.models.compact.layers import (
    Attention,
    ConvRefine,
    FeedForward,
    Linear,
    grid_rotation,
    rotate,
)
from segment_concept.models.compact.roi import Rois


@dataclass(frozen=True, slots=True)
class Widths:
    """Channel counts; `pairs` of the `match` channels carry position."""

    tokens: int = 128
    match: int = 64
    pairs: int = 12
    value: int = 64
    eighth: int = 48
    quarter: int = 24
    identity: int = 64
    inner: int = 64

    @property
    def raw(self) -> int:
        """Channels of the frozen descriptor: the trunk's two coarsest levels."""
        return CHANNELS[2] + CHANNELS[3]

    @property
    def pointer(self) -> int:
        return self.tokens + self.identity + self.raw


@dataclass(frozen=True, slots=True, eq=False)
class CompactFeatures:
    """What is known of B images before any object. L = h16 * w16 tokens."""

    tokens: Tensor  # (B, L, tokens)
    eighth: Tensor  # (B, eighth, h8, w8)
    quarter: Tensor  # (B, quarter, h4, w4)
    query: Tensor  # (B, L, match)
    keys: Tensor  # (B, L, 2 * match), of the first and the second cross-attention
    raw: Tensor  # (B, L, raw)

    def levels(self) -> tuple[Tensor, ...]:
        return self.tokens, self.eighth, self.quarter, self.query, self.keys, self.raw

    def __getitem__(self, images: Tensor | slice) -> "CompactFeatures":
        return CompactFeatures(*(level[images] for level in self.levels()))

    def within(self, windows: Rois) -> "CompactFeatures":
        """What is known of a part of each image."""
        tokens, eighth, quarter, query, keys, raw = self.levels()
        return CompactFeatures(
            tokens=windows.tokens(tokens),
            eighth=windows.cells(eighth, 2),
            quarter=windows.cells(quarter, 4),
            query=windows.tokens(query),
            keys=windows.tokens(keys),
            raw=windows.tokens(raw),
        )

    @property
    def grid(self) -> tuple[int, int]:
        h8, w8 = self.eighth.shape[-2:]
        return h8 // 2, w8 // 2


class Neck(nn.Module):
    """Trunk levels -> the picture."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        d, k = widths.tokens, widths.match
        for i, channels in enumerate(CHANNELS):
            self.register_buffer(f"mean{i}", torch.zeros(1, channels, 1, 1))
            self.register_buffer(f"deviation{i}", torch.ones(1, channels, 1, 1))
        self.to_tokens = nn.Conv2d(CHANNELS[2] + CHANNELS[3] + 4 * CHANNELS[1], d, 1)
        self.refine = ConvRefine(d)
        self.eighth = nn.Conv2d(CHANNELS[1], widths.eighth, 1)
        self.down = nn.Conv2d(d, widths.eighth, 1)
        self.quarter = nn.Conv2d(CHANNELS[0], widths.quarter, 1)
        self.norm = nn.LayerNorm(d)
        self.attention = Attention(d, d)
        self.mlp = FeedForward(d, 2 * d)
        self.match_norm = nn.LayerNorm(d)
        self.query = Linear(d, k)
        self.keys = Linear(d, 2 * k)
        self.pairs = widths.pairs
        self.widths = widths
        nn.init.orthogonal_(self.query.weight)
        nn.init.zeros_(self.query.bias)
        self.keys.weight.data.copy_(self.query.weight.data.repeat(2, 1))
        nn.init.zeros_(self.keys.bias)

    def raw(self, trunk: Sequence[Tensor]) -> Tensor:
        """The frozen descriptors alone, (B, L, raw)."""
        return _coarsest(self._levels(trunk)).flatten(2).transpose(1, 2)

    def _levels(self, trunk: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        f4, f8, f16, f32 = (
            (level - getattr(self, f"mean{i}")) / getattr(self, f"deviation{i}")
            for i, level in enumerate(trunk)
        )
        return f4, f8, f16, f32

    def forward(self, trunk: Sequence[Tensor]) -> CompactFeatures:
        f4, f8, _, _ = levels = self._levels(trunk)
        raw = _coarsest(levels)
        x = self.refine(self.to_tokens(torch.cat([raw, F.pixel_unshuffle(f8, 2)], dim=1)))
        eighth = self.eighth(f8) + F.interpolate(self.down(x), scale_factor=2, mode="nearest")
        h, w = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2)
        normed = self.norm(tokens)
        head_rotation = grid_rotation(h, w, self.pairs // 2, tokens)
        tokens = tokens + self.attention(normed, normed, normed, head_rotation)
        tokens = tokens + self.mlp(tokens)
        rotation = grid_rotation(h, w, self.pairs, tokens)
        normed = self.match_norm(tokens)
        keys = self.keys(normed).unflatten(-1, (2, -1))
        keys = rotate(F.normalize(keys, dim=-1).transpose(-2, -3), rotation).transpose(-2, -3)
        return CompactFeatures(
            tokens=tokens,
            eighth=eighth,
            quarter=self.quarter(f4),
            query=rotate(F.normalize(self.query(normed), dim=-1), rotation),
            keys=keys.flatten(-2),
            raw=raw.flatten(2).transpose(1, 2),
        )


def _coarsest(levels: Sequence[Tensor]) -> Tensor:
    """The two coarsest levels on the grid of stride 16, (B, raw, h, w)."""
    f16, f32 = levels[2:]
    return torch.cat([f16, F.interpolate(f32, size=f16.shape[-2:], mode="bilinear")], dim=1)
