"""Small building blocks of the compact network."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact import onednn


def grid_rotation(h: int, w: int, pairs: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines (h * w, pairs) of a 2-D rotary embedding.

    Half of the pairs rotate with y, half with x; wavelengths are 4 to 64 tokens, so that grids of
    another size or shape than in training stay within the trained range.
    """
    half = pairs // 2
    rates = math.pi / 2 / 2.0 ** torch.linspace(0.0, 4.0, half, device=like.device)
    y, x = torch.meshgrid(
        torch.arange(h, device=like.device),
        torch.arange(w, device=like.device),
        indexing="ij",
    )
    angles = torch.cat([y.reshape(-1, 1) * rates, x.reshape(-1, 1) * rates], dim=1)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the first 2 * pairs channels of x (..., L, C); the rest carry no position."""
    cos, sin = rotation
    n = cos.shape[-1]
    a, b, rest = x[..., :n], x[..., n : 2 * n], x[..., 2 * n :]
    return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], dim=-1)


class Linear(nn.Linear):
    """`torch.nn.Linear`, computed by oneDNN on a CPU if no gradient is needed."""

    def forward(self, x: Tensor) -> Tensor:
        return onednn.linear(x, self.weight, self.bias)


class PointwiseConv(nn.Conv2d):
    """1x1 convolution, computed by oneDNN on a CPU if no gradient is needed.

    torch gives 1x1 convolutions of one thread to a slow kernel of its own (docs/LOG.md).
    """

    def __init__(self, c_in: int, c_out: int, *, bias: bool = True) -> None:
        super().__init__(c_in, c_out, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if not onednn.usable(x):
            convolved: Tensor = super().forward(x)
            return convolved
        return onednn.linear(x.permute(0, 2, 3, 1), self.weight[:, :, 0, 0], self.bias).permute(
            0, 3, 1, 2
        )


class ConvRefine(nn.Module):
    """x + conv3x3(gelu(norm(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = x + self.conv(F.gelu(self.norm(x)))
        return refined


class Attention(nn.Module):
    """Multi-head attention with a separate inner width."""

    def __init__(self, width: int, inner: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (Linear(width, inner) for _ in range(3))
        self.out = Linear(inner, width)

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        rotation: tuple[Tensor, Tensor] | None = None,
        pooled: tuple[int, int] | None = None,
    ) -> Tensor:
        """Attend; the result is (B, L, width).

        Args:
            q, k, v: (B, L, width).
            rotation: of queries and keys, see `grid_rotation`.
            pooled: (h, w) of a grid on which keys and values are replaced by their 2x2 means.
        """
        q, k, v = self._split(self.q(q)), self._split(self.k(k)), self._split(self.v(v))
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        if pooled is not None:
            k, v = _pool(k, pooled), _pool(v, pooled)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.heads, -1))
        return heads.transpose(1, 2)


def _pool(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """2x2 means (B, heads, h * w / 4, C) of x (B, heads, h * w, C)."""
    h, w = grid
    cells = x.unflatten(2, (h // 2, 2, w // 2, 2))
    # Adding slices is four times as fast as a mean over two dimensions.
    upper, lower = (cells[:, :, :, y, :, 0] + cells[:, :, :, y, :, 1] for y in (0, 1))
    pooled: Tensor = ((upper + lower) / 4).flatten(2, 3)
    return pooled


class FeedForward(nn.Sequential):
    """Layer norm and two-layer perceptron; the caller adds the result to its input."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__(nn.LayerNorm(width), Linear(width, inner), nn.GELU(), Linear(inner, width))


class TwoWayBlock(nn.Module):
    """SAM's two-way decoder block: self-attention of the query tokens, and cross-attention between
    query tokens and image tokens in both directions."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.tokens = Attention(width, width)
        self.to_image = Attention(width, inner)
        self.to_tokens = Attention(width, inner)
        self.mlp = nn.Sequential(Linear(width, 2 * width), nn.GELU(), Linear(2 * width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))

    def forward(
        self, tokens: Tensor, token_embedding: Tensor, image: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """New query tokens (B, N, width) and image tokens (B, L, width).

        Args:
            tokens: (B, N, width) query tokens.
            token_embedding: added to the query tokens as queries and keys.
            image: (B, L, width).
            position: added to the image tokens as queries and keys.
        """
        q = tokens + token_embedding
        tokens = self.norms[0](tokens + self.tokens(q, q, tokens))
        tokens = self.norms[1](
            tokens + self.to_image(tokens + token_embedding, image + position, image)
        )
        tokens = self.norms[2](tokens + self.mlp(tokens))
        image = self.norms[3](
            image + self.to_tokens(image + position, tokens + token_embedding, tokens)
        )
        return tokens, image


def perceptron(c_in: int, hidden: int, c_out: int, bias: float | None = None) -> nn.Sequential:
    """Two linear layers with a GELU between; `bias` initializes the output bias."""
    last = Linear(hidden, c_out)
    if bias is not None:
        nn.init.constant_(last.bias, bias)
    return nn.Sequential(Linear(c_in, hidden), nn.GELU(), last)
