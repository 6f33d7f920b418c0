"""SAM 2.1's image encoder: Hiera (arXiv:2306.00989) and a feature pyramid.

The parameters and results of transformers' `Sam2VisionModel`, in fewer operations. That module
computes attention weights over heads which nothing reads, pads windows that need no padding, copies
tokens twice after attention, and computes its position embedding anew on every call.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.sam2.constants import ConstantCache
from segment_concept.models.sam2.sizes import HieraSizes

# From the official configurations and code, the same for all checkpoints.
PATCH, PATCH_STRIDE, PATCH_PADDING = 7, 4, 3
POOL = 2  # between stages, queries and the residual are halved in each direction
MLP_RATIO = 4
NORM_EPS = 1e-6
TOP_DOWN = (2, 3)  # levels of the pyramid to which the next coarser one is added
LEVELS = 3  # finest levels that are returned


class ImageEncoder(nn.Module):
    """Images to features at 1/4, 1/8 and 1/16 of their side.

    Args:
        trunk: shapes of Hiera.
        width: channels C of the features.
    """

    def __init__(self, trunk: HieraSizes, width: int) -> None:
        super().__init__()
        self.backbone = Hiera(trunk)
        self.neck = Neck(trunk.widths, width)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, S / 4, S / 4), (B, C, S / 8, S / 8) and (B, C, S / 16, S / 16).

        Args:
            pixels: (B, 3, S, S), normalized.
        """
        levels: tuple[Tensor, Tensor, Tensor] = self.neck(self.backbone(pixels))
        return levels


class Hiera(nn.Module):
    """A transformer of four stages; windows of tokens attend to themselves."""

    def __init__(self, sizes: HieraSizes) -> None:
        super().__init__()
        window = sizes.wiring.windows[0]
        self.patch_embed = _PatchEmbedding(sizes.width)
        self.pos_embed = nn.Parameter(
            torch.zeros(1, sizes.width, sizes.background, sizes.background)
        )
        self.pos_embed_window = nn.Parameter(torch.zeros(1, sizes.width, window, window))
        self.blocks = nn.ModuleList(_blocks(sizes))
        self.stage_ends = tuple(end - 1 for end in accumulate(sizes.blocks))
        self._constants = ConstantCache()

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Tokens (B, h, w, C) at the end of every stage, finest first."""
        tokens = self.patch_embed(pixels)
        tokens = tokens + self._positions(tokens.shape[1], tokens.shape[2])
        ends = []
        for i, block in enumerate(self.blocks):
            tokens = block(tokens)
            if i in self.stage_ends:
                ends.append(tokens)
        return ends

    def _positions(self, h: int, w: int) -> Tensor:
        """(1, h, w, C): an embedding of the image, interpolated, and one repeated per window."""
        weights = (self.pos_embed, self.pos_embed_window)
        return self._constants.get((h, w), weights, lambda: self._compute_positions(h, w))

    def _compute_positions(self, h: int, w: int) -> Tensor:
        background = F.interpolate(self.pos_embed, size=(h, w), mode="bicubic")
        side = self.pos_embed_window.shape[-1]
        window = self.pos_embed_window.tile(1, 1, h // side, w // side)
        return (background + window).permute(0, 2, 3, 1)

    def _apply(self, fn: Any, recurse: bool = True) -> "Hiera":
        self._constants.clear()
        return cast(Hiera, super()._apply(fn, recurse))  # type: ignore[no-untyped-call]


class _PatchEmbedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, width, PATCH, stride=PATCH_STRIDE, padding=PATCH_PADDING)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, S / 4, S / 4, C)."""
        tokens: Tensor = self.projection(pixels)
        return tokens.permute(0, 2, 3, 1)


def _blocks(sizes: HieraSizes) -> Iterator["Block"]:
    """As published, the first block of a stage has the window of the stage before."""
    wiring, number = sizes.wiring, 0
    for stage, blocks in enumerate(sizes.blocks):
        for i in range(blocks):
            first = i == 0 and stage > 0
            before = stage - 1 if first else stage
            window = 0 if number in wiring.global_blocks else wiring.windows[before]
            yield Block(
                sizes.widths[before],
                sizes.widths[stage],
                wiring.heads * 2**stage,
                window,
                pooled=first,
            )
            number += 1


class Block(nn.Module):
    """Attention within windows and a feed-forward block, each with a residual.

    Args:
        width_in: channels of the input.
        width: channels of the output.
        heads: of the attention.
        window: side of the windows in tokens of the input; 0 to attend to the whole image.
        pooled: halve the number of tokens in each direction.
    """

    def __init__(self, width_in: int, width: int, heads: int, window: int, *, pooled: bool) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(width_in, eps=NORM_EPS)
        self.attn = _Attention(width_in, width, heads, pooled=pooled)
        self.layer_norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = _FeedForward(width)
        if width_in != width:
            self.proj = nn.Linear(width_in, width)
        self.window, self.pooled = window, pooled

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, h, w, C), or (B, h / 2, w / 2, C) if pooled."""
        normed = self.layer_norm1(tokens)
        residual = _pool(self.proj(normed)) if self.pooled else tokens
        tokens = residual + self.attn(normed, self.window)
        conditioned: Tensor = tokens + self.mlp(self.layer_norm2(tokens))
        return conditioned


class _Attention(nn.Module):
    def __init__(self, width_in: int, width: int, heads: int, *, pooled: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(width_in, 3 * width)
        self.proj = nn.Linear(width, width)
        self.heads, self.pooled = heads, pooled

    def forward(self, tokens: Tensor, window: int) -> Tensor:
        """(B, h, w, C) or, if pooled, half of it in each direction."""
        b, h, w, _ = tokens.shape
        side_h, side_w = (window, window) if window else (h, w)
        rows, columns = -(-h // side_h), -(-w // side_w)  # of windows, rounded up
        windows = _windows(tokens, (side_h, side_w)) if window else tokens
        qkv = self.qkv(windows)  # (B * windows, side_h, side_w, 3 C)
        query, key, value = qkv.reshape(len(qkv), side_h * side_w, 3, self.heads, -1).unbind(2)
        if self.pooled:
            query = _pool(query.reshape(len(qkv), side_h, side_w, -1))
            h, w, side_h, side_w = h // POOL, w // POOL, side_h // POOL, side_w // POOL
            query = query.reshape(len(qkv), side_h * side_w, self.heads, -1)
        mixed = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (query, key, value)))
        # back to the map in one copy: (B, rows, side_h, columns, side_w, heads, C / heads)
        grid = mixed.transpose(1, 2).unflatten(1, (side_h, side_w))
        grid = grid.unflatten(0, (b, rows, columns)).permute(0, 1, 3, 2, 4, 5, 6)
        whole = grid.reshape(b, rows * side_h, columns * side_w, -1)
        attended: Tensor = self.proj(whole[:, :h, :w])
        return attended


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj_in = nn.Linear(width, MLP_RATIO * width)
        self.proj_out = nn.Linear(MLP_RATIO * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.proj_out(F.gelu(self.proj_in(tokens)))
        return out


class Neck(nn.Module):
    """A feature pyramid: every level projected to one width, the coarser one added to some."""

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(w, width, 1) for w in reversed(widths))

    def forward(self, stages: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The `LEVELS` finest levels (B, C, h, w), finest first, of all stages (B, h, w, C)."""
        levels: list[Tensor] = []  # coarsest first
        for conv, (number, tokens) in zip(
            self.convs, reversed(list(enumerate(stages))), strict=True
        ):
            level = conv(tokens.permute(0, 3, 1, 2))
            if levels and number in TOP_DOWN:
                level = level + F.interpolate(levels[-1], scale_factor=2.0, mode="nearest")
            levels.append(level)
        return tuple(levels[-LEVELS:][::-1])


def _windows(tokens: Tensor, side: tuple[int, int]) -> Tensor:
    """(B * windows, side, side, C) of (B, h, w, C); zeros fill windows that reach beyond it."""
    b, h, w, c = tokens.shape
    missing_h, missing_w = -h % side[0], -w % side[1]
    if missing_h or missing_w:
        tokens = F.pad(tokens, (0, 0, 0, missing_w, 0, missing_h))
    rows, columns = tokens.shape[1] // side[0], tokens.shape[2] // side[1]
    grid = tokens.reshape(b, rows, side[0], columns, side[1], c)
    return grid.transpose(2, 3).reshape(-1, *side, c)


def _pool(tokens: Tensor) -> Tensor:
    """(B, h / 2, w / 2, C) maxima of (B, h, w, C)."""
    return F.max_pool2d(tokens.permute(0, 3, 1, 2), POOL).permute(0, 2, 3, 1)
