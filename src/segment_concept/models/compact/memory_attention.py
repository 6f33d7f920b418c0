"""The compact network's memory: how it is written, and how a picture is conditioned on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.layers import (
    Attention,
    FeedForward,
    Linear,
    grid_rotation,
    rotate,
)
from segment_concept.models.compact.neck import CompactFeatures, Widths
from segment_concept.models.compact.roi import Rois
from segment_concept.models.compact.streaming_attention import (
    AttentionOutput,
    attend,
    max_similarity,
    merge_softmax,
)
from segment_concept.runtime.parallel import side_by_side

PROMPT_CHANNELS = 5  # mask, binary mask, clicks on the object, clicks off it, box
AGES = 5  # embeddings of a memory's age, which is one of:
PROMPTED, NEWEST, SECOND, OLDER, SAME_FRAME = range(AGES)  # the last: a prompt of this frame
CELLS = 4  # 2x2 mask cells of a token
FAR = SECOND, OLDER  # ages that the second attention does not ask
_HIDDEN = -1e4  # logarithm of the weight of what is not there


@dataclass(frozen=True, slots=True, eq=False)
class RememberedFrame:
    """One frame, as the objects that remember it and look at the same picture have it."""

    keys: Tensor  # (L, 2 * match)
    objects: tuple[int, ...]  # whose
    ages: tuple[int, ...]  # for each of them, index of the age embedding
    values: Tensor  # (len(objects), L, value + CELLS)


@dataclass(frozen=True, slots=True, eq=False)
class Pointers:
    """Of O objects, P each, padded; at least one, so that none is a case apart."""

    vectors: Tensor  # (O, P, pointer)
    ages: Tensor  # (O, P) index of the age embedding
    scales: Tensor  # (O, P) factors on their keys
    hidden: Tensor  # (O, P) bool: padding, or the object was not seen

    def __getitem__(self, rows: slice | Tensor) -> "Pointers":
        return Pointers(self.vectors[rows], self.ages[rows], self.scales[rows], self.hidden[rows])


@dataclass(frozen=True, slots=True, eq=False)
class MemoryBatch:
    """Memories of O objects, each of at least one frame."""

    frames: tuple[RememberedFrame, ...]
    pointers: Pointers


@dataclass(frozen=True, slots=True, eq=False)
class FrameAttention:
    """What one object gets of one frame that it remembers."""

    frame: RememberedFrame
    place: int  # of the object among those of the frame
    values: Tensor  # (L, value + CELLS)
    weight: Tensor  # (L,) see `AttentionOutput`
    best: Tensor  # (L,)

    @property
    def age(self) -> int:
        return self.frame.ages[self.place]

    @property
    def known(self) -> Tensor:
        """(L, value + CELLS) what the object remembers of the frame."""
        return self.frame.values[self.place]


@dataclass(frozen=True, slots=True, eq=False)
class PaddedMemory:
    """What each of O objects remembers, N frames of L tokens in a row, padded."""

    keys: Tensor  # (O, N * L, 2 * match)
    values: Tensor  # (O, N * L, value + CELLS)
    ages: Tensor  # (O, N)
    missing: Tensor  # (O, N) bool: padding

    def __getitem__(self, rows: slice | Tensor) -> "PaddedMemory":
        return PaddedMemory(self.keys[rows], self.values[rows], self.ages[rows], self.missing[rows])

    @property
    def every(self) -> int:
        """Tokens of a frame."""
        return self.keys.shape[1] // self.ages.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class MemoryReadout:
    """What O objects make of all that they heard about a picture."""

    values: Tensor  # (O, L, value)
    prior: Tensor  # (O, L, CELLS) the mask, as its cells are remembered: in [-1, 1]
    similar: Tensor  # (O, L, 2) the best match inside what it was, and outside

    def __getitem__(self, rows: Tensor) -> "MemoryReadout":
        return MemoryReadout(self.values[rows], self.prior[rows], self.similar[rows])


def joined(parts: Sequence[MemoryReadout]) -> MemoryReadout:
    """Of all objects of all parts."""
    return MemoryReadout(
        torch.cat([read.values for read in parts]),
        torch.cat([read.prior for read in parts]),
        torch.cat([read.similar for read in parts]),
    )


QueryMemory: TypeAlias = Callable[[Tensor], Tensor]


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

    def attend_frames(
        self, picture: CompactFeatures, memory: MemoryBatch
    ) -> list[list[FrameAttention]]:
        """Image asks image: of every object, what each frame answers to it.

        The question is the same for all objects that look at a picture, which has a row for each.
        """
        k, sharpness = self.widths.match, self.log_sharpness[0].exp()

        def of(frame: RememberedFrame) -> AttentionOutput:
            query = picture.query[frame.objects[0]] * sharpness
            return attend(query, frame.keys[:, :k], frame.values)

        heard: list[list[FrameAttention]] = [[] for _ in picture.tokens]
        for frame, answer in zip(memory.frames, side_by_side(of, memory.frames), strict=True):
            for n, o in enumerate(frame.objects):
                heard[o].append(
                    FrameAttention(frame, n, answer.values[n], answer.weight, answer.best)
                )
        return heard

    def read(self, query: Tensor, heard: Sequence[FrameAttention]) -> MemoryReadout:
        """What one object makes of the answers to a picture's `query` (L, match)."""
        v = self.widths.value
        values = self._together(0, heard, [(h.values, h.weight) for h in heard], pointers=None)
        similar = self._similar(query, heard)
        return MemoryReadout(values[None, :, :v], values[None, :, v:], similar[None])

    def read_memory_batched(self, query: Tensor, memory: PaddedMemory) -> MemoryReadout:
        """What O objects make of all that they remember, of `query` (O, L, match).

        The same as `hear` and `read`, for a device that likes large matrices better than small.
        """
        k, v, sharpness = self.widths.match, self.widths.value, self.log_sharpness[0].exp()
        logits = query @ memory.keys[..., :k].transpose(1, 2)  # (O, L, N * L)
        values = self._at_once(0, logits * sharpness, memory)
        inside = memory.values[..., v:].mean(-1) > 0
        there = ~memory.missing.repeat_interleave(memory.every, dim=1)
        best = [
            logits.masked_fill(~(part & there)[:, None], -1.0).amax(-1)
            for part in (inside, ~inside)
        ]
        similar = torch.stack(best, dim=-1).clamp(min=-1.0)
        return MemoryReadout(values[..., :v], values[..., v:], similar)

    def forward(
        self, part: CompactFeatures, windows: Rois, read: MemoryReadout, again: QueryMemory
    ) -> tuple[Tensor, Tensor]:
        """What O objects have read, thought over within their windows.

        Args:
            part: of the picture, the windows.
            windows: with l tokens.
            read: of the whole picture.
            again: answers the objects' own questions (O, l, match) by (O, l, value + CELLS): see
                `answers` and `answers_batched`.

        Returns:
            Tokens (O, l, tokens) and the prior (O, l, CELLS) in [-1, 1].
        """
        v, grid = self.widths.value, windows.size
        x = part.tokens + self.out_first(windows.tokens(read.values))
        x = x + self.similar(windows.tokens(read.similar))
        x = x + self.mlp_first(x)
        normed = self.norm_self(x)
        rotation = grid_rotation(*grid, self.widths.pairs // 2, x)
        x = x + self.attention(normed, normed, normed, rotation, pooled=grid)
        cos, sin = (
            windows.tokens(each.expand(len(x), -1, -1))
            for each in grid_rotation(*windows.grid, self.widths.pairs, x)
        )
        asked = rotate(F.normalize(self.query(self.norm_query(x)), dim=-1), (cos, sin))
        second = again(asked * self.log_sharpness[1].exp())
        x = x + self.out_second(second[..., :v])
        x = x + self.mlp_second(x)
        mix = self.prior_mix.softmax(0)
        prior = mix[0] * windows.tokens(read.prior) + mix[1] * second[..., v:]
        return self.norm_out(x), prior

    def _similar(self, query: Tensor, heard: Sequence[FrameAttention]) -> Tensor:
        """(L, 2): the best match of every token inside what an object was and outside."""
        best = torch.stack([h.best for h in heard]).amax(0) / self.log_sharpness[0].exp()
        keys = torch.cat([h.frame.keys[:, : self.widths.match] for h in heard])
        cells = torch.cat([h.known[:, self.widths.value :] for h in heard])
        return max_similarity(query, keys, best, cells.mean(-1) > 0)

    def answers(self, heard: Sequence[FrameAttention], pointers: Pointers) -> QueryMemory:
        """What one object's own questions are answered by prompts, newest frame and pointers.

        Older frames answer the first attention alone: here they changed nothing (docs/LOG.md), and
        every object pays for itself.
        """
        k = self.widths.match
        keys, values, unseen = self._pointed(pointers)
        near = [h for h in heard if h.age not in FAR]

        def again(q: Tensor) -> Tensor:
            parts = [attend(q[0], h.frame.keys[:, k:], h.known[None]) for h in near]
            own = [(answer.values[0], answer.weight) for answer in parts]
            pointed = attend(q[0], keys[0], values, unseen[0])
            return self._together(1, near, own, pointed)[None]

        return again

    def answers_batched(self, near: PaddedMemory, pointers: Pointers) -> QueryMemory:
        """The same of O objects, given what they remember of prompts and newest frame."""
        k = self.widths.match
        keys, values, unseen = self._pointed(pointers)

        def again(q: Tensor) -> Tensor:
            logits = q @ near.keys[..., k:].transpose(1, 2)
            pointed = q @ keys.transpose(1, 2) + unseen[:, None]
            return self._at_once(1, logits, near, (pointed, values))

        return again

    def _pointed(self, pointers: Pointers) -> tuple[Tensor, Tensor, Tensor]:
        """Keys (O, P, match), values (O, P, value + CELLS) and bias (O, P) of pointers."""
        described = pointers.vectors + self.pointer_age[pointers.ages]
        keys = F.normalize(self.pointer_key(described), dim=-1) * pointers.scales[..., None]
        values = F.pad(self.pointer_value(described), (0, CELLS))
        return keys, values, torch.zeros_like(pointers.scales).masked_fill(pointers.hidden, _HIDDEN)

    def _at_once(
        self,
        layer: int,
        logits: Tensor,
        memory: PaddedMemory,
        pointed: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """As `_together`, of O objects, given their logits (O, L, N * L): (O, L, value + CELLS)."""
        bias = self.age_bias[layer][memory.ages].masked_fill(memory.missing, _HIDDEN)
        logits = logits + bias.repeat_interleave(memory.every, dim=1)[:, None]
        values, count = memory.values, logits.shape[-1]
        if pointed is not None:
            logits = torch.cat([logits, pointed[0]], dim=-1)
            values = torch.cat([values, pointed[1]], dim=1)
        weights = logits.softmax(-1)
        shares = weights[..., :count].unflatten(-1, (-1, memory.every)).sum(-1)
        read = weights @ values
        aged: Tensor = read + F.pad(shares @ self.age[memory.ages], (0, CELLS))
        return aged

    def _together(
        self,
        layer: int,
        heard: Sequence[FrameAttention],
        answers: Sequence[tuple[Tensor, Tensor]],
        pointers: AttentionOutput | None,
    ) -> Tensor:
        """(L, value + CELLS) what one object makes of all answers; frames also tell their age.

        `answers` are values (L, value + CELLS) and weight (L,) of each of the frames `heard`.
        """
        ages = torch.tensor([h.age for h in heard], device=self.age.device)
        biases = self.age_bias[layer][ages].unbind()
        values = [value for value, _ in answers]
        weights = [weight + bias for (_, weight), bias in zip(answers, biases, strict=True)]
        if pointers is not None:
            values.append(pointers.values[0])
            weights.append(pointers.weight)
        read, shares = merge_softmax(values, weights)
        return read + F.pad(shares[:, : len(heard)] @ self.age[ages], (0, CELLS))
