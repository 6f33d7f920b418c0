"""Cutie's object memory: position encoding, object summaries and attention."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PositionGrid(nn.Module):
    """Sine-cosine position encoding: half of the channels for x, half for y."""

    SCALE = 32.0  # position of the last row and column
    TEMPERATURE = 128.0

    inv_freq: Tensor  # (C / 4,)

    def __init__(self, channels: int) -> None:
        super().__init__()
        axis = channels // 2
        steps = torch.arange(0, axis, 2).float() / axis
        self.register_buffer("inv_freq", 1.0 / self.TEMPERATURE**steps)

    def forward(self, grid: tuple[int, int]) -> Tensor:
        """(C, h, w)."""
        height, width = grid
        y_Ch, x_Cw = self._axis(height), self._axis(width)
        return torch.cat(
            [
                x_Cw[:, None, :].expand(-1, height, -1),
                y_Ch[:, :, None].expand(-1, -1, width),
            ]
        )

    def _axis(self, length: int) -> Tensor:
        """(C / 2, length): sine and cosine of each frequency, interleaved."""
        positions = torch.arange(length, device=self.inv_freq.device, dtype=self.inv_freq.dtype)
        angle = self.inv_freq[:, None] * (positions / (positions[-1] + 1e-6) * self.SCALE)
        return torch.stack([angle.sin(), angle.cos()], dim=1).flatten(0, 1)


class ObjectSummarizer(nn.Module):
    """Summarizes an object on a frame by weighted sums over its pixels and over the rest."""

    def __init__(self, channels: int, summaries: int) -> None:
        super().__init__()
        self.summaries = summaries
        self.pos_enc = PositionGrid(channels)
        self.input_proj = nn.Linear(channels, channels)
        self.feature_pred = _two_layers(channels, channels)
        self.weights_pred = _two_layers(channels, summaries)

    def forward(self, masks: Tensor, values: Tensor) -> Tensor:
        """masks (O, H, W), values (O, C, h, w) -> (O, S, C + 1): sums, and their weights' sum.

        The first half of the S summaries covers the object, the second half the rest.
        """
        grid = values.shape[-2:]
        inside_O1hw = F.interpolate(masks[:, None], grid, mode="area")
        half = self.summaries // 2
        regions = torch.cat(
            [inside_O1hw.expand(-1, half, -1, -1), (1 - inside_O1hw).expand(-1, half, -1, -1)],
            dim=1,
        )
        x = self.input_proj(values.movedim(1, -1)) + self.pos_enc(grid).movedim(0, -1)
        weights = self.weights_pred(x).sigmoid() * regions.movedim(1, -1)
        sums = torch.einsum("ohwc,ohws->osc", self.feature_pred(x), weights)
        return torch.cat([sums, weights.sum(dim=(1, 2))[..., None]], dim=-1)


class TokensWithPositions(NamedTuple):
    """Tokens (O, N, C) and their position embeddings, of the same shape."""

    tokens: Tensor
    positions: Tensor


class CrossAttention(nn.Module):
    """Cross-attention; queries are normalized first if `norm`."""

    def __init__(self, channels: int, heads: int, *, norm: bool) -> None:
        super().__init__()
        self.cross_attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norm = nn.LayerNorm(channels) if norm else nn.Identity()

    def forward(
        self, x: TokensWithPositions, memory: TokensWithPositions, blocked: Tensor | None = None
    ) -> Tensor:
        """(O, N, C). `blocked` (O * heads, N, M) is true where attention is not allowed."""
        x = TokensWithPositions(self.norm(x.tokens), x.positions)
        return _attend(self.cross_attn, x, memory, blocked)


class SelfAttention(nn.Module):
    """Self-attention with pre-normalization."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: TokensWithPositions) -> Tensor:
        """(O, N, C)."""
        x = TokensWithPositions(self.norm(x.tokens), x.positions)
        return _attend(self.self_attn, x, x, None)


def _attend(
    attention: nn.MultiheadAttention,
    x: TokensWithPositions,
    memory: TokensWithPositions,
    blocked: Tensor | None,
) -> Tensor:
    """Attention with positions added to queries and keys, not to values."""
    attended: Tensor = attention(
        x.tokens + x.positions,
        memory.tokens + memory.positions,
        memory.tokens,
        attn_mask=blocked,
        need_weights=False,
    )[0]
    return x.tokens + attended


class FeedForward(nn.Module):
    """Feed-forward layers around a skip, with pre-normalization."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, inner)
        self.linear2 = nn.Linear(inner, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(O, N, C) -> the same shape."""
        following: Tensor = x + self.linear2(F.relu(self.linear1(self.norm(x))))
        return following


def _two_layers(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, outputs))
