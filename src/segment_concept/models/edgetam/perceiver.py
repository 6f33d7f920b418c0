"""EdgeTAM's perceiver: a memory map condensed to few tokens (Zhou et al. 2025, arXiv 2501.07256).

Learned tokens read the map twice. `latents` of them read all of it; `side` x `side` read a window
each and keep its place. Parameters have the names of transformers' module, which runs one object at
a time only.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Perceiver(nn.Module):
    """Memory maps -> condensed memories.

    Args:
        width: channels M of maps and tokens.
        latents: tokens that read the whole map.
        side: rows and columns of tokens that read a window.
        layers: how often they read.
        mlp: inner width of the feed-forward blocks.
    """

    def __init__(self, width: int, latents: int, side: int, layers: int, mlp: int) -> None:
        super().__init__()
        self.side = side
        self.latents_1d = nn.Parameter(torch.randn(latents, width))
        self.latents_2d = nn.Parameter(torch.randn(side * side, width))
        self.layers = nn.ModuleList(PerceiverLayer(width, mlp) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, maps: Tensor, places: Tensor) -> Tensor:
        """(O, latents + side * side, M), in float32 or as the maps.

        Args:
            maps: (O, M, h, h), h a multiple of `side`.
            places: (1, M, h, h) position of each cell, for tokens that read the whole map.
        """
        rows, width = maps.shape[:2]
        whole = self._read(self.latents_1d.expand(rows, -1, -1), _tokens(maps), _tokens(places))
        windows = maps.unflatten(2, (self.side, -1)).unflatten(4, (self.side, -1))
        cells = windows.permute(0, 2, 4, 3, 5, 1).reshape(rows * self.side**2, -1, width)
        placed = self._read(self.latents_2d.repeat(rows, 1)[:, None], cells, None)
        condensed: Tensor = self.layer_norm(torch.cat([whole, placed.view(rows, -1, width)], dim=1))
        return condensed

    def _read(self, latents: Tensor, cells: Tensor, places: Tensor | None) -> Tensor:
        for layer in self.layers:
            latents = layer(latents, cells, places)
        return latents


class PerceiverLayer(nn.Module):
    """Latents read cells, then each other; a feed-forward block after each."""

    def __init__(self, width: int, mlp: int) -> None:
        super().__init__()
        self.cross_attention = Attention(width)
        self.mlp = FeedForward(width, mlp)
        self.self_attention = Attention(width)
        self.self_mlp = FeedForward(width, mlp)
        self.layer_norm_input = nn.LayerNorm(width)
        self.layer_norm_latents = nn.LayerNorm(width)
        self.layer_norm_self = nn.LayerNorm(width)

    def forward(self, latents: Tensor, cells: Tensor, places: Tensor | None) -> Tensor:
        """(R, L, M) latents, from latents (R, L, M), cells (R, N, M) and places (1, N, M)."""
        asked, read = self.layer_norm_latents(latents), self.layer_norm_input(cells)
        latents = latents + cast(Tensor, self.cross_attention(asked, read, places))
        latents = latents + cast(Tensor, self.mlp(latents))
        own = self.layer_norm_self(latents)
        latents = latents + cast(Tensor, self.self_attention(own, own, None))
        return latents + cast(Tensor, self.self_mlp(latents))


class Attention(nn.Module):
    """One head. Places are added to keys and to values, as published."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, queries: Tensor, cells: Tensor, places: Tensor | None) -> Tensor:
        q, k, v = self.q_proj(queries), self.k_proj(cells), self.v_proj(cells)
        if places is not None:
            k, v = k + places, v + places
        mixed = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])
        out: Tensor = self.o_proj(mixed[:, 0])
        return out


class FeedForward(nn.Module):
    """Normalization and two layers with GELU between them."""

    def __init__(self, width: int, mlp: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(width)
        self.up_proj = nn.Linear(width, mlp, bias=False)
        self.down_proj = nn.Linear(mlp, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.gelu(self.up_proj(self.layer_norm(tokens))))
        return out


def _tokens(maps: Tensor) -> Tensor:
    """(O, h * w, M)."""
    return maps.flatten(2).transpose(1, 2)
