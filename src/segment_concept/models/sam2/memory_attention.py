"""SAM 2's memory attention: self-attention of the image tokens, cross-attention to memory tokens.

The official parameters under transformers' names. Unlike transformers' module it supports memories
of any width, and many objects on one image (the shared part is computed once). The objects of a
call have memories of equal length, so that no mask keeps fast attention kernels from being used.
One head, as in every checkpoint.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.sam2.positions import grid_rotation, rotate

POSITION_WEIGHT = 0.1  # of the image's own positions, as published


@dataclass(frozen=True, slots=True, eq=False)
class MemoryTokens:
    """Memory tokens of O objects: first those of maps, then those without a grid position."""

    keys: Tensor  # (O, N, M) with positions added
    values: Tensor  # (O, N, M)
    placed: int  # the first `placed` of the N tokens are whole grids; their keys are rotated
    rotation: Tensor | None = None  # of those grids; None for the image's grid


class MemoryAttention(nn.Module):
    """Conditions image features on memory tokens.

    Args:
        width: channels C of the image's tokens.
        memory_width: channels M of memory tokens.
        layers: number of layers.
        mlp: inner width of the feed-forward blocks.
        dropout: in training only; 0.1 as published.
    """

    def __init__(
        self, width: int, memory_width: int, layers: int, mlp: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MemoryAttentionLayer(width, memory_width, mlp, dropout) for _ in range(layers)
        )
        self.layer_norm = nn.LayerNorm(width)

    def forward(
        self, features: Tensor, positions: Tensor, memory: MemoryTokens, images: Tensor
    ) -> Tensor:
        """(O, C, h, w) features of O objects.

        Args:
            features: (B, C, h, w) of B images.
            positions: (1, C, h, w).
            memory: tokens of the O objects.
            images: (O,) index of each object's image.
        """
        h, w = features.shape[-2:]
        rotation = grid_rotation(h, w, features.shape[1], features.device)
        placed = torch.add(features, positions, alpha=POSITION_WEIGHT)
        tokens = placed.flatten(2).transpose(1, 2)
        for i, module in enumerate(self.layers):
            layer = cast(MemoryAttentionLayer, module)
            tokens = layer.attend_self(tokens, rotation)
            if i == 0:  # the same for all objects of an image up to here
                tokens = tokens[images]
            tokens = layer.attend_memory(tokens, memory, rotation)
        normed: Tensor = self.layer_norm(tokens)
        return normed.transpose(1, 2).reshape(len(images), -1, h, w)


class MemoryAttentionLayer(nn.Module):
    """Self-attention, cross-attention to memory, feed-forward block."""

    def __init__(self, width: int, memory_width: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(width, width, dropout)
        self.cross_attn_image = Attention(width, memory_width, dropout)
        self.linear1 = nn.Linear(width, mlp)
        self.linear2 = nn.Linear(mlp, width)
        self.layer_norm1 = nn.LayerNorm(width)
        self.layer_norm2 = nn.LayerNorm(width)
        self.layer_norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def attend_self(self, tokens: Tensor, rotation: Tensor) -> Tensor:
        """Self-attention with residual: (B, L, C)."""
        normed = self.layer_norm1(tokens)
        own = MemoryTokens(normed, normed, placed=normed.shape[1])
        attended: Tensor = tokens + self.dropout(self.self_attn(normed, own, rotation))
        return attended

    def attend_memory(self, tokens: Tensor, memory: MemoryTokens, rotation: Tensor) -> Tensor:
        """Cross-attention and feed-forward block, with residuals: (O, L, C)."""
        attended = self.cross_attn_image(self.layer_norm2(tokens), memory, rotation)
        tokens = tokens + self.dropout(attended)
        inner = self.dropout(F.relu(self.linear1(self.layer_norm3(tokens))))
        conditioned: Tensor = tokens + self.dropout(self.linear2(inner))
        return conditioned


class Attention(nn.Module):
    """Single-head attention; queries and the keys of grid tokens are rotated."""

    def __init__(self, width: int, memory_width: int, dropout: float) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(memory_width, width)
        self.v_proj = nn.Linear(memory_width, width)
        self.o_proj = nn.Linear(width, width)
        self.dropout = dropout

    def forward(self, queries: Tensor, memory: MemoryTokens, rotation: Tensor) -> Tensor:
        q = rotate(self.q_proj(queries), rotation)
        k, v = self.k_proj(memory.keys), self.v_proj(memory.values)
        if memory.placed:
            turned = rotation if memory.rotation is None else memory.rotation
            placed, free = k[:, : memory.placed], k[:, memory.placed :]
            k = torch.cat([rotate(placed, turned), free], dim=1)
        mixed = F.scaled_dot_product_attention(
            q[:, None],
            k[:, None],
            v[:, None],
            dropout_p=self.dropout if self.training else 0.0,
        )
        out: Tensor = self.o_proj(mixed[:, 0])
        return out
