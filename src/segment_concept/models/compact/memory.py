"""The compact network's memory: how it is written, and how a picture is conditioned on it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact import onednn
from segment_concept.models.compact.layers import (
    Attention,
    ConvRefine,
    FeedForward,
    Linear,
    grid_rotation,
    rotate,
)
from segment_concept.models.compact.picture import Picture, Widths

PROMPT_CHANNELS = 5  # mask, binary mask, clicks on the object, clicks off it, box
AGES = 5  # embeddings of a memory's age, which is one of:
PROMPTED, NEWEST, SECOND, OLDER, SAME_FRAME = range(AGES)  # the last: a prompt of this frame
CELLS = 4  # 2x2 mask cells of a token


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """Memories of O objects, padded to the longest; N maps of L tokens, P pointers."""

    keys: Tensor  # (S, N * L, 2 * match); S sets of frames, each shared by some objects
    set_of: Tensor  # (O,) which set an object remembers
    values: Tensor  # (O, N * L, value + CELLS)
    ages: Tensor  # (S, N) index of the age embedding
    missing: Tensor  # (S, N) bool: padding
    pointers: Tensor  # (O, P, pointer)
    pointer_ages: Tensor  # (O, P)
    pointer_scales: Tensor  # (O, P) factors on the pointers' keys
    no_pointer: Tensor  # (O, P) bool: padding or an object that was not seen


class MemoryEncoder(nn.Module):
    """A picture and an object's mask on it -> memory values (O, L, value + CELLS)."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        v = widths.value
        self.mask_in = nn.Conv2d(16 * PROMPT_CHANNELS, 64, 1)
        self.mask_mix = nn.Sequential(nn.GroupNorm(1, 64), nn.GELU(), nn.Conv2d(64, v, 1))
        self.image_in = Linear(widths.tokens, v)
        self.mix = nn.Sequential(ConvRefine(v), nn.GroupNorm(1, v), nn.Conv2d(v, v, 1))
        self.absent = nn.Parameter(torch.zeros(v))

    def forward(self, picture: Picture, hints: Tensor, visible: Tensor) -> Tensor:
        """`hints` (O, PROMPT_CHANNELS, h4, w4) in [0, 1]; `visible` (O,) 0 or 1."""
        h, w = picture.grid
        image = self.image_in(picture.tokens).transpose(1, 2).unflatten(-1, (h, w))
        mask = self.mask_mix(self.mask_in(F.pixel_unshuffle(hints * 2 - 1, 4)))
        value = self.mix(mask + image).flatten(2).transpose(1, 2)
        value = value + (1 - visible)[:, None, None] * self.absent
        cells = F.pixel_unshuffle(F.avg_pool2d(hints[:, :1], 2), 2).flatten(2).transpose(1, 2)
        return torch.cat([value, cells * 2 - 1], dim=-1)


class MemoryAttention(nn.Module):
    """A picture, conditioned on what each object remembers."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        d, k, v = widths.tokens, widths.match, widths.value
        self.widths = widths
        self.age = nn.Parameter(torch.zeros(AGES, v))
        self.age_bias = nn.Parameter(torch.zeros(2, AGES))
        self.log_sharpness = nn.Parameter(torch.tensor([3.3, 3.3]))  # e^3.3 = 27
        self.out_first = Linear(v, d)
        self.similar = Linear(2, d)
        self.mlp_first = FeedForward(d, 2 * d)
        self.norm_self = nn.LayerNorm(d)
        self.attention = Attention(d, d)
        self.norm_query = nn.LayerNorm(d)
        self.query = Linear(d, k)
        self.pointer_age = nn.Parameter(torch.zeros(AGES, widths.pointer))
        self.pointer_key = Linear(widths.pointer, k)
        self.pointer_value = Linear(widths.pointer, v)
        self.out_second = Linear(v, d)
        self.mlp_second = FeedForward(d, 2 * d)
        self.norm_out = nn.LayerNorm(d)
        self.prior_mix = nn.Parameter(torch.zeros(2))

    def forward(self, picture: Picture, memory: Remembered) -> tuple[Tensor, Tensor, Tensor]:
        """`picture` has a row per object. Returns tokens (O, L, tokens), the prior (O, L, CELLS)
        in [-1, 1] and the similarity maps (O, L, 2) to object and background."""
        tokens_each = picture.tokens.shape[1]
        age = self.age[memory.ages].repeat_interleave(tokens_each, dim=1)[memory.set_of]
        v = self.widths.value
        values = torch.cat([memory.values[..., :v] + age, memory.values[..., v:]], dim=-1)
        first, similar = self._first(picture, memory, values)
        x = picture.tokens + self.out_first(first[..., :v]) + self.similar(similar)
        x = x + self.mlp_first(x)
        normed = self.norm_self(x)
        h, w = picture.grid
        x = x + self.attention(
            normed, normed, normed, grid_rotation(h, w, self.widths.pairs // 2, x)
        )
        second = self._second(x, picture.grid, memory, values)
        x = x + self.out_second(second[..., :v])
        x = x + self.mlp_second(x)
        mix = self.prior_mix.softmax(0)
        prior = mix[0] * first[..., v:] + mix[1] * second[..., v:]
        return self.norm_out(x), prior, similar

    def _bias(self, layer: int, ages: Tensor, missing: Tensor, tokens_each: int) -> Tensor:
        """(S, N * L), -inf on padding."""
        bias = self.age_bias[layer][ages].masked_fill(missing, float("-inf"))
        return bias.repeat_interleave(tokens_each, dim=1)

    def _first(self, picture: Picture, memory: Remembered, values: Tensor) -> tuple[Tensor, Tensor]:
        """Image asks image: one attention a set of frames, read out by all objects that share it.

        Every set belongs to one picture, so its query is that of any of its objects.
        """
        k = self.widths.match
        tokens_each = picture.tokens.shape[1]
        bias = self._bias(0, memory.ages, memory.missing, tokens_each)
        inside = values[..., self.widths.value :].mean(-1) > 0  # (O, N * L)
        read, similar = [values[:0]] * len(values), [values[:0]] * len(values)
        for s, missing in enumerate(memory.missing):
            rows = torch.nonzero(memory.set_of == s)[:, 0].tolist()
            there = slice(int((~missing).sum()) * tokens_each)  # padding comes last
            query, keys = picture.query[rows[0]], memory.keys[s, there, :k]
            sharp = query * self.log_sharpness[0].exp()
            flat = values[rows, there].permute(1, 0, 2).flatten(1)  # (N * L, rows * V)
            together = onednn.attend(sharp[None], keys[None], flat[None], bias[s, None, there])[0]
            blocks = onednn.in_blocks(query, len(keys))
            maps = [_similar(onednn.linear(q, keys), inside[rows, there]) for q in blocks]
            own = together.unflatten(-1, (len(rows), -1)).unbind(1)
            for row, of_values, of_likeness in zip(rows, own, torch.cat(maps, dim=1), strict=True):
                read[row], similar[row] = of_values, of_likeness
        return torch.stack(read), torch.stack(similar)

    def _second(
        self, x: Tensor, grid: tuple[int, int], memory: Remembered, values: Tensor
    ) -> Tensor:
        """What an object's own tokens ask of prompts, the two newest frames, and pointers.

        Older frames answer the first attention alone: here they changed nothing (docs/LOG.md), and
        every object pays for itself.
        """
        k = self.widths.match
        rotation = grid_rotation(*grid, self.widths.pairs, x)
        q = rotate(F.normalize(self.query(self.norm_query(x)), dim=-1), rotation)
        near = (memory.ages != OLDER) & ~memory.missing  # (S, N)
        most = int(near.sum(1).max())
        chosen = (~near).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
        ages, missing = memory.ages.gather(1, chosen), ~near.gather(1, chosen)
        pointers = memory.pointers + self.pointer_age[memory.pointer_ages]
        keys = torch.cat(
            [
                _maps(memory.keys[..., k:], chosen, x.shape[1])[memory.set_of],
                F.normalize(self.pointer_key(pointers), dim=-1) * memory.pointer_scales[..., None],
            ],
            dim=1,
        )
        values = _maps(values, chosen[memory.set_of], x.shape[1])
        values = torch.cat([values, F.pad(self.pointer_value(pointers), (0, CELLS))], dim=1)
        bias = self._bias(1, ages, missing, x.shape[1])[memory.set_of]
        hidden = torch.zeros_like(pointers[..., 0]).masked_fill(memory.no_pointer, float("-inf"))
        bias = torch.cat([bias, hidden], dim=1)
        return onednn.attend(q * self.log_sharpness[1].exp(), keys, values, bias)


def _maps(x: Tensor, chosen: Tensor, tokens_each: int) -> Tensor:
    """(B, M * L, C): of x (B, N * L, C) the maps that are chosen, (B, M)."""
    rows = torch.arange(len(x), device=x.device)[:, None]
    found: Tensor = x.unflatten(1, (-1, tokens_each))[rows, chosen].flatten(1, 2)
    return found


def _similar(likeness: Tensor, inside: Tensor) -> Tensor:
    """(O, L, 2): of the likeness (L, K) the greatest to keys of each object and to the others.

    Args:
        likeness: of tokens to keys, about in [-1, 1].
        inside: (O, K) bool, which keys are an object's.
    """
    best = likeness.amax(-1)
    return torch.stack([_best_of_two(likeness, best, part) for part in inside])


def _best_of_two(likeness: Tensor, best: Tensor, inside: Tensor) -> Tensor:
    few_are_inside = 2 * int(inside.sum()) <= len(inside)
    few = inside if few_are_inside else ~inside
    if few.any():
        to_few = likeness[:, torch.nonzero(few)[:, 0]].amax(-1)
        # The best of all is the many's, but where one of the few is as good.
        rows = torch.nonzero(to_few >= best)[:, 0]
        theirs = likeness[rows].masked_fill(few, -1.0).amax(-1)
        to_many = best.index_put((rows,), theirs)
    else:
        to_few, to_many = torch.full_like(best, -1.0), best
    maps = (to_few, to_many) if few_are_inside else (to_many, to_few)
    return torch.stack(maps, dim=-1).clamp(min=-1.0)
