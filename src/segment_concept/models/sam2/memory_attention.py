"""SAM 2's memory attention: the image's tokens look at each other, then at what is remembered.

The official parameters under transformers' names. Unlike transformers' module it knows objects
whose memories differ in length (a mask over the keys), memories of any width, and many objects
on one image (what they have in common is computed once). One head, as in every checkpoint.
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
    """What O objects attend to: first the tokens of maps, then those that have no place."""

    keys: Tensor  # (O, N, M) with positions added
    values: Tensor  # (O, N, M)
    placed: int  # the first `placed` of the N tokens are whole grids, and are rotated
    real: Tensor | None = None  # (O, N) bool: False for padding; None where nothing is padded


class MemoryAttention(nn.Module):
    """Image features, conditioned on memory tokens.

    Args:
        width: channels C of the image's tokens.
        memory_width: channels M of memory tokens.
        layers: how many times it looks.
        mlp: inner width of the feed-forward parts.
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
            images: (O,) which of the B images each object is on.
        """
        h, w = features.shape[-2:]
        rotation = grid_rotation(h, w, features.shape[1], features.device)
        tokens = (features + POSITION_WEIGHT * positions).flatten(2).transpose(1, 2)
        for i, module in enumerate(self.layers):
            layer = cast(MemoryAttentionLayer, module)
            tokens = layer.look(tokens, rotation)
            if i == 0:  # so far every object on an image sees the same
                tokens = tokens[images]
            tokens = layer.recall(tokens, memory, rotation)
        normed: Tensor = self.layer_norm(tokens)
        return normed.transpose(1, 2).reshape(len(images), -1, h, w)


class MemoryAttentionLayer(nn.Module):
    """One look at the image, one at the memory, one feed-forward part."""

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

    def look(self, tokens: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """The tokens after they looked at each other."""
        normed = self.layer_norm1(tokens)
        own = MemoryTokens(normed, normed, placed=normed.shape[1])
        looked: Tensor = tokens + self.dropout(self.self_attn(normed, own, rotation))
        return looked

    def recall(
        self, tokens: Tensor, memory: MemoryTokens, rotation: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The tokens after they looked at the memory."""
        seen = self.cross_attn_image(self.layer_norm2(tokens), memory, rotation)
        tokens = tokens + self.dropout(seen)
        inner = self.dropout(F.relu(self.linear1(self.layer_norm3(tokens))))
        recalled: Tensor = tokens + self.dropout(self.linear2(inner))
        return recalled


class Attention(nn.Module):
    """One head; queries and the keys that have a place are rotated."""

    def __init__(self, width: int, memory_width: int, dropout: float) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(memory_width, width)
        self.v_proj = nn.Linear(memory_width, width)
        self.o_proj = nn.Linear(width, width)
        self.dropout = dropout

    def forward(
        self, queries: Tensor, memory: MemoryTokens, rotation: tuple[Tensor, Tensor]
    ) -> Tensor:
        q = rotate(self.q_proj(queries), rotation)
        k, v = self.k_proj(memory.keys), self.v_proj(memory.values)
        if memory.placed:
            placed, free = k[:, : memory.placed], k[:, memory.placed :]
            k = torch.cat([rotate(placed, rotation), free], dim=1)
        seen = F.scaled_dot_product_attention(
            q[:, None],
            k[:, None],
            v[:, None],
            attn_mask=None if memory.real is None else memory.real[:, None, None],
            dropout_p=self.dropout if self.training else 0.0,
        )
        out: Tensor = self.o_proj(seen[:, 0])
        return out
