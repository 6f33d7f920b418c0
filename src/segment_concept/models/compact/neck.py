"""Neck of the compact network: image features that do not depend on any object."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.backbone import CHANNELS
from segment_concept.models.compact.classifier import CLASSIFIER, classifier_inputs
from segment_concept.models.compact.layers import (
    Attention,
    ConvRefine,
    FeedForward,
    Linear,
    PointwiseConv,
    grid_rotation,
    rotate,
)
from segment_concept.models.compact.roi import Rois


@dataclass(frozen=True, slots=True)
class Widths:
    """Channel counts. The first `2 * pairs` of the `match` channels are rotated by position."""

    tokens: int = 128
    match: int = 64
    pairs: int = 12
    value: int = 64
    eighth: int = 48
    quarter: int = 24
    identity: int = 64
    inner: int = 64

    @property
    def descriptor(self) -> int:
        """Channels of the frozen descriptor: the backbone's two coarsest levels."""
        return CHANNELS[2] + CHANNELS[3]

    @property
    def description(self) -> int:
        """Channels of an object pointer that are attended to and compared."""
        return self.tokens + self.identity + self.descriptor

    @property
    def pointer(self) -> int:
        """Channels of an object pointer, see `MaskDecoder.describe`."""
        return self.description + CLASSIFIER


@dataclass(frozen=True, slots=True, eq=False)
class CompactFeatures:
    """Features of B images, or of the image of each of B objects.

    L = h16 * w16 tokens at stride 16; h4 and h8 are the grid heights at strides 4 and 8.
    """

    tokens: Tensor  # (B, L, tokens)
    eighth: Tensor  # (B, eighth, h8, w8)
    quarter: Tensor  # (B, quarter, h4, w4)
    query: Tensor  # (B, L, match)
    keys: Tensor  # (B, L, 2 * match), for the first and the second cross-attention
    descriptor: Tensor  # (B, L, descriptor), standardized backbone features
    fine: Tensor  # (B, F, h8, w8), and
    coarse: Tensor  # (B, C, h16, w16): see `classifier_inputs`

    def __len__(self) -> int:
        return len(self.tokens)

    def map(self, change: Callable[[Tensor], Tensor]) -> "CompactFeatures":
        """Apply `change` to every tensor."""
        return CompactFeatures(*(change(getattr(self, field.name)) for field in fields(self)))

    def __getitem__(self, rows: Tensor | slice) -> "CompactFeatures":
        return self.map(lambda tensor: tensor[rows])

    def of_objects(self, images: Sequence[int]) -> "CompactFeatures":
        """One row per object: the image with index `images[i]`. A single image is not copied."""
        if len(self) == 1:
            return self.map(lambda tensor: tensor.expand(len(images), *tensor.shape[1:]))
        return self[torch.tensor(images, device=self.tokens.device)]

    def crop(self, rois: Rois) -> "CompactFeatures":
        """The region of interest of every row."""
        return CompactFeatures(
            tokens=rois.tokens(self.tokens),
            eighth=rois.cells(self.eighth, 2),
            quarter=rois.cells(self.quarter, 4),
            query=rois.tokens(self.query),
            keys=rois.tokens(self.keys),
            descriptor=rois.tokens(self.descriptor),
            fine=rois.cells(self.fine, 2),
            coarse=rois.cells(self.coarse, 1),
        )

    @property
    def grid(self) -> tuple[int, int]:
        """(h16, w16)."""
        h8, w8 = self.eighth.shape[-2:]
        return h8 // 2, w8 // 2


class Neck(nn.Module):
    """Backbone levels, standardized by stored channel statistics -> `CompactFeatures`."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        d, k = widths.tokens, widths.match
        for i, channels in enumerate(CHANNELS):
            self.register_buffer(f"mean{i}", torch.zeros(1, channels, 1, 1))
            self.register_buffer(f"deviation{i}", torch.ones(1, channels, 1, 1))
        self.to_tokens = PointwiseConv(CHANNELS[2] + CHANNELS[3] + 4 * CHANNELS[1], d)
        self.refine = ConvRefine(d)
        self.eighth = PointwiseConv(CHANNELS[1], widths.eighth)
        self.down = PointwiseConv(d, widths.eighth)
        self.quarter = PointwiseConv(CHANNELS[0], widths.quarter)
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

    def descriptor(self, levels: Sequence[Tensor]) -> Tensor:
        """Only the frozen descriptors (B, L, descriptor) of backbone levels."""
        return _coarsest(self._standardized(levels)).flatten(2).transpose(1, 2)

    def _standardized(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        f4, f8, f16, f32 = (
            (level - getattr(self, f"mean{i}")) / getattr(self, f"deviation{i}")
            for i, level in enumerate(levels)
        )
        return f4, f8, f16, f32

    def forward(self, levels: Sequence[Tensor]) -> CompactFeatures:
        """Features of B images from the four levels of `Backbone`."""
        f4, f8, _, _ = standardized = self._standardized(levels)
        descriptor = _coarsest(standardized)
        x = self.refine(self.to_tokens(torch.cat([descriptor, F.pixel_unshuffle(f8, 2)], dim=1)))
        eighth = self.eighth(f8) + F.interpolate(self.down(x), scale_factor=2, mode="nearest")
        h, w = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2)
        normed = self.norm(tokens)
        head_rotation = grid_rotation(h, w, self.pairs // 2, tokens)
        # Keys are means of 2x2 tokens: a third of the time, the same masks (docs/LOG.md).
        tokens = tokens + self.attention(normed, normed, normed, head_rotation, pooled=(h, w))
        tokens = tokens + self.mlp(tokens)
        rotation = grid_rotation(h, w, self.pairs, tokens)
        normed = self.match_norm(tokens)
        keys = self.keys(normed).unflatten(-1, (2, -1))
        fine, coarse = classifier_inputs(f4, f8, descriptor)
        keys = rotate(F.normalize(keys, dim=-1).transpose(-2, -3), rotation).transpose(-2, -3)
        return CompactFeatures(
            tokens=tokens,
            eighth=eighth,
            quarter=self.quarter(f4),
            query=rotate(F.normalize(self.query(normed), dim=-1), rotation),
            keys=keys.flatten(-2),
            descriptor=descriptor.flatten(2).transpose(1, 2),
            fine=fine,
            coarse=coarse,
        )


def _coarsest(levels: Sequence[Tensor]) -> Tensor:
    """The two coarsest levels on the grid of stride 16: (B, descriptor, h16, w16)."""
    f16, f32 = levels[2:]
    return torch.cat([f16, F.interpolate(f32, size=f16.shape[-2:], mode="bilinear")], dim=1)
