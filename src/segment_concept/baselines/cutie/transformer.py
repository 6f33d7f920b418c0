"""Cutie's object transformer: pixel readout and object memory attend to each other."""

import torch
from torch import Tensor, nn

from segment_concept.baselines.blocks import GatedResBlock
from segment_concept.baselines.cutie.objects import (
    CrossAttention,
    FeedForward,
    PositionGrid,
    SelfAttention,
    TokensWithPositions,
)
from segment_concept.baselines.readout import aggregate

AREA_FLOOR = 1e-4  # as published, so that an empty summary is zero


class TransformerBlock(nn.Module):
    """Queries attend to pixels and to each other; then pixels attend to queries."""

    def __init__(self, channels: int, heads: int, inner: int) -> None:
        super().__init__()
        self.read_from_pixel = CrossAttention(channels, heads, norm=True)
        self.self_attn = SelfAttention(channels, heads)
        self.ffn = FeedForward(channels, inner)
        self.read_from_query = CrossAttention(channels, heads, norm=False)
        self.pixel_ffn = nn.ModuleDict({"conv": GatedResBlock(channels)})

    def forward(
        self, pixels: Tensor, pixel_positions: Tensor, query: TokensWithPositions, blocked: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update pixels (O, C, h, w) with positions (O, h * w, C), and queries (O, S, C).

        `blocked` (O * heads, S, h * w) is true where attention is not allowed. Returns both.
        """
        grid = pixels.shape[-2:]
        pixel = TokensWithPositions(pixels.flatten(start_dim=2).transpose(1, 2), pixel_positions)
        query = query._replace(tokens=self.read_from_pixel(query, pixel, blocked))
        query = query._replace(tokens=self.self_attn(query))
        query = query._replace(tokens=self.ffn(query.tokens))
        read = self.read_from_query(pixel, query)
        return self.pixel_ffn["conv"](read.transpose(1, 2).unflatten(-1, grid)), query.tokens


class ObjectTransformer(nn.Module):
    """Half of the queries attend to the foreground of an object, half to its background."""

    def __init__(self, channels: int, queries: int, heads: int, inner: int, blocks: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_init = nn.Embedding(queries, channels)
        self.query_emb = nn.Embedding(queries, channels)
        self.summary_to_query_init = nn.Linear(channels, channels)
        self.summary_to_query_emb = nn.Linear(channels, channels)
        self.pixel_init_proj = nn.Conv2d(channels, channels, 1)
        self.pixel_emb_proj = nn.Conv2d(channels, channels, 1)
        self.spatial_pe = PositionGrid(channels)
        self.blocks = nn.ModuleList(TransformerBlock(channels, heads, inner) for _ in range(blocks))
        # one more than blocks: the checkpoints have the last one, used in training only
        self.mask_pred = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Conv2d(channels, 1, 1)) for _ in range(blocks + 1)
        )

    def forward(self, readout: Tensor, summaries: Tensor) -> Tensor:
        """readout (O, C, h, w), summaries (O, S, C + 1) -> (O, C, h, w)."""
        objects = summaries[..., :-1] / (summaries[..., -1:] + AREA_FLOOR)
        query = TokensWithPositions(
            self.query_init.weight + self.summary_to_query_init(objects),
            self.query_emb.weight + self.summary_to_query_emb(objects),
        )
        position = self.spatial_pe(readout.shape[-2:]) + self.pixel_emb_proj(readout)
        pixel_positions = position.flatten(start_dim=2).transpose(1, 2)
        pixels: Tensor = self.pixel_init_proj(readout)
        for block, mask_pred in zip(self.blocks, self.mask_pred, strict=False):
            blocked = self.blocked(mask_pred(pixels)[:, 0])
            pixels, tokens = block(pixels, pixel_positions, query, blocked)
            query = query._replace(tokens=tokens)
        return pixels

    def blocked(self, logits: Tensor) -> Tensor:
        """Blocked attention of queries: logits (O, h, w) -> (O * heads, S, h * w) bool.

        A query that is blocked everywhere may attend to everything.
        """
        competing = aggregate(logits.sigmoid())
        inside_OP = (competing[1:] >= competing.amax(dim=0)).flatten(start_dim=1)
        half = self.query_init.num_embeddings // 2
        outside_first = torch.stack([~inside_OP, inside_OP], dim=1)
        blocked = outside_first.repeat_interleave(half, dim=1)
        blocked &= ~blocked.all(dim=-1, keepdim=True)
        return blocked.repeat_interleave(self.heads, dim=0)
