"""The compact network: neck, memory encoder, memory attention, mask decoder.

What it does differently from SAM 2.1, and why (measured in docs/LOG.md):
- cross-attention compares unit vectors, and its query and key projections start equal, so that
  an untrained network already propagates labels by similarity;
- the attention also carries the 2x2 mask cells of every memory token: a label-propagation prior
  that is added to the mask logits with a learned weight;
- the first cross-attention asks with features of the image alone. Its weights are then the same
  for every object that remembers the same frames and are computed once for all of them;
- softmax forgets how good the best match was, and "not here" cannot be said without it: the
  greatest similarity to object and to background is kept as two maps;
- object pointers are mask-pooled descriptors, compared across time to judge presence;
- a box or a click is a memory of the same frame with a rough mask: one path for all prompts.
"""

from collections.abc import Sequence
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
    TwoWayBlock,
    grid_rotation,
    perceptron,
    rotate,
)
from segment_concept.models.compact.trunk import CHANNELS

MASKS = 3
PROMPT_CHANNELS = 5  # mask, binary mask, clicks on the object, clicks off it, box
AGES = 5  # embeddings of a memory's age: prompted, newest, second, older, prompt of this frame
CELLS = 4  # 2x2 mask cells of a token


@dataclass(frozen=True, slots=True)
class Widths:
    """Channel counts; `pairs` of the `match` channels carry position."""

    tokens: int = 128
    match: int = 64
    pairs: int = 12
    value: int = 64
    eighth: int = 48
    quarter: int = 24
    identity: int = 64
    inner: int = 64

    @property
    def raw(self) -> int:
        """Channels of the frozen descriptor: the trunk's two coarsest levels."""
        return CHANNELS[2] + CHANNELS[3]

    @property
    def pointer(self) -> int:
        return self.tokens + self.identity + self.raw


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What is known of B images before any object. L = h16 * w16 tokens."""

    tokens: Tensor  # (B, L, tokens)
    eighth: Tensor  # (B, eighth, h8, w8)
    quarter: Tensor  # (B, quarter, h4, w4)
    query: Tensor  # (B, L, match)
    keys: Tensor  # (B, L, 2 * match), of the first and the second cross-attention
    raw: Tensor  # (B, L, raw)

    def levels(self) -> tuple[Tensor, ...]:
        return self.tokens, self.eighth, self.quarter, self.query, self.keys, self.raw

    def __getitem__(self, images: Tensor) -> "Picture":
        return Picture(*(level[images] for level in self.levels()))

    @property
    def grid(self) -> tuple[int, int]:
        h8, w8 = self.eighth.shape[-2:]
        return h8 // 2, w8 // 2


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


class Neck(nn.Module):
    """Trunk levels -> the picture."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        d, k = widths.tokens, widths.match
        for i, channels in enumerate(CHANNELS):
            self.register_buffer(f"mean{i}", torch.zeros(1, channels, 1, 1))
            self.register_buffer(f"deviation{i}", torch.ones(1, channels, 1, 1))
        self.to_tokens = nn.Conv2d(CHANNELS[2] + CHANNELS[3] + 4 * CHANNELS[1], d, 1)
        self.refine = ConvRefine(d)
        self.eighth = nn.Conv2d(CHANNELS[1], widths.eighth, 1)
        self.down = nn.Conv2d(d, widths.eighth, 1)
        self.quarter = nn.Conv2d(CHANNELS[0], widths.quarter, 1)
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

    def raw(self, trunk: Sequence[Tensor]) -> Tensor:
        """The frozen descriptors alone, (B, L, raw)."""
        return _coarsest(self._levels(trunk)).flatten(2).transpose(1, 2)

    def _levels(self, trunk: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        f4, f8, f16, f32 = (
            (level - getattr(self, f"mean{i}")) / getattr(self, f"deviation{i}")
            for i, level in enumerate(trunk)
        )
        return f4, f8, f16, f32

    def forward(self, trunk: Sequence[Tensor]) -> Picture:
        f4, f8, _, _ = levels = self._levels(trunk)
        raw = _coarsest(levels)
        x = self.refine(self.to_tokens(torch.cat([raw, F.pixel_unshuffle(f8, 2)], dim=1)))
        eighth = self.eighth(f8) + F.interpolate(self.down(x), scale_factor=2, mode="nearest")
        h, w = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2)
        normed = self.norm(tokens)
        head_rotation = grid_rotation(h, w, self.pairs // 2, tokens)
        tokens = tokens + self.attention(normed, normed, normed, head_rotation)
        tokens = tokens + self.mlp(tokens)
        rotation = grid_rotation(h, w, self.pairs, tokens)
        normed = self.match_norm(tokens)
        keys = self.keys(normed).unflatten(-1, (2, -1))
        keys = rotate(F.normalize(keys, dim=-1).transpose(-2, -3), rotation).transpose(-2, -3)
        return Picture(
            tokens=tokens,
            eighth=eighth,
            quarter=self.quarter(f4),
            query=rotate(F.normalize(self.query(normed), dim=-1), rotation),
            keys=keys.flatten(-2),
            raw=raw.flatten(2).transpose(1, 2),
        )


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

    def _bias(self, memory: Remembered, layer: int, tokens_each: int) -> Tensor:
        """(S, N * L), -inf on padding."""
        bias = self.age_bias[layer][memory.ages].masked_fill(memory.missing, float("-inf"))
        return bias.repeat_interleave(tokens_each, dim=1)

    def _first(self, picture: Picture, memory: Remembered, values: Tensor) -> tuple[Tensor, Tensor]:
        """Image asks image: one attention a set of frames, read out by all objects that share it.

        Every set belongs to one picture, so its query is that of any of its objects.
        """
        k = self.widths.match
        tokens_each = picture.tokens.shape[1]
        bias = self._bias(memory, 0, tokens_each)
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
        k = self.widths.match
        rotation = grid_rotation(*grid, self.widths.pairs, x)
        q = rotate(F.normalize(self.query(self.norm_query(x)), dim=-1), rotation)
        pointers = memory.pointers + self.pointer_age[memory.pointer_ages]
        keys = torch.cat(
            [
                memory.keys[..., k:][memory.set_of],
                F.normalize(self.pointer_key(pointers), dim=-1) * memory.pointer_scales[..., None],
            ],
            dim=1,
        )
        values = torch.cat([values, F.pad(self.pointer_value(pointers), (0, CELLS))], dim=1)
        bias = self._bias(memory, 1, x.shape[1])[memory.set_of]
        hidden = torch.zeros_like(pointers[..., 0]).masked_fill(memory.no_pointer, float("-inf"))
        bias = torch.cat([bias, hidden], dim=1)
        return onednn.attend(q * self.log_sharpness[1].exp(), keys, values, bias)


class MaskDecoder(nn.Module):
    """Conditioned tokens -> M masks, their predicted IoU, pointers and object presence."""

    EVIDENCE = 9

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        d = widths.tokens
        self.widths = widths
        self.queries = nn.Parameter(torch.randn(MASKS + 2, d) * 0.2)  # masks, IoU, presence
        self.place = Linear(2, d)
        self.blocks = nn.ModuleList(TwoWayBlock(d, widths.inner) for _ in range(2))
        self.final = Attention(d, widths.inner)
        self.norm = nn.LayerNorm(d)
        self.up_eighth = nn.Conv2d(d, 4 * widths.eighth, 1)
        self.skip_eighth = nn.Conv2d(widths.eighth, widths.eighth, 1)
        self.prior_eighth = nn.Conv2d(1, widths.eighth, 1)
        self.similar_eighth = nn.Conv2d(2, widths.eighth, 1)
        self.refine_eighth = ConvRefine(widths.eighth)
        self.up_quarter = nn.Conv2d(widths.eighth, 4 * widths.quarter, 1)
        self.refine_quarter = ConvRefine(widths.quarter)
        self.kernels = nn.ModuleList(_kernel(d, widths.quarter + 1) for _ in range(MASKS))
        self.prior_weight = nn.Parameter(torch.tensor(3.0))
        self.iou = perceptron(d, 64, MASKS)
        self.presence = perceptron(d + self.EVIDENCE, 64, 1, bias=2.0)  # until it has learnt: there
        self.identity = Linear(d, widths.identity)
        self.pointer = perceptron(2 * d, d, d)
        self.absent_pointer = nn.Parameter(torch.zeros(d))

    def forward(
        self,
        picture: Picture,
        conditioned: tuple[Tensor, Tensor, Tensor],
        memory: Remembered,
        informed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits (O, M, h4, w4), IoU scores (O, M), pointers (O, M, pointer), presence (O,).

        With `informed` tokens (O, L, tokens) masks are made of those, and presence is judged by
        what memory alone says and by the masks: a concept speaks about presence for itself.
        """
        tokens, x = self._look(picture, conditioned[0])
        judge = tokens[:, MASKS + 1]
        if informed is not None:
            tokens, x = self._look(picture, informed)
        logits = self._masks(picture, tokens, x, conditioned[1], conditioned[2])
        iou = self.iou(tokens[:, MASKS]).sigmoid()
        pointers = self.describe(picture, logits.detach().sigmoid())
        best = iou.argmax(dim=1)
        rows = torch.arange(len(iou), device=iou.device)
        evidence = self._evidence(
            pointers[rows, best], logits[rows, best].detach(), conditioned[2], memory
        )
        presence = self.presence(torch.cat([judge, evidence], dim=-1))[:, 0]
        return logits, iou, pointers, presence

    def describe(self, picture: Picture, masks: Tensor) -> Tensor:
        """Pointers (O, M, pointer) of soft masks (O, M, h4, w4): what is inside and around."""
        inside = F.avg_pool2d(masks, 4).flatten(2)  # (O, M, L)
        fg = _pool(inside, picture.tokens)
        bg = _pool(1 - inside, picture.tokens)
        return torch.cat(
            [
                self.pointer(torch.cat([fg, bg], dim=-1)),
                F.normalize(self.identity(fg), dim=-1),
                F.normalize(_pool(inside, picture.raw), dim=-1),
            ],
            dim=-1,
        )

    def conceal(self, pointers: Tensor, visible: Tensor) -> Tensor:
        """Pointers of objects that are not visible say so."""
        blank = F.pad(self.absent_pointer, (0, self.widths.pointer - self.widths.tokens))
        shape = (-1, *[1] * (pointers.ndim - 1))
        return torch.where(visible.view(shape), pointers, blank)

    def _look(self, picture: Picture, x: Tensor) -> tuple[Tensor, Tensor]:
        h, w = picture.grid
        y, z = torch.meshgrid(
            torch.linspace(-3, 3, h, device=x.device),
            torch.linspace(-3, 3, w, device=x.device),
            indexing="ij",
        )
        place = self.place(torch.stack([z, y], dim=-1).sin().flatten(0, 1).to(x.dtype))
        named = self.queries.expand(len(x), -1, -1)
        tokens = named
        for block in self.blocks:
            tokens, x = block(tokens, named, x, place)
        return self.norm(tokens + self.final(tokens + named, x + place, x)), x

    def _masks(
        self, picture: Picture, tokens: Tensor, x: Tensor, prior: Tensor, similar: Tensor
    ) -> Tensor:
        h, w = picture.grid
        on_grid = x.transpose(1, 2).unflatten(-1, (h, w))
        prior = F.pixel_shuffle(prior.transpose(1, 2).unflatten(-1, (h, w)), 2)
        similar = similar.transpose(1, 2).unflatten(-1, (h, w))
        fine = F.pixel_shuffle(self.up_eighth(on_grid), 2) + self.skip_eighth(picture.eighth)
        fine = fine + self.prior_eighth(prior)
        fine = fine + F.interpolate(self.similar_eighth(similar), scale_factor=2, mode="nearest")
        fine = self.refine_eighth(fine)
        fine = self.refine_quarter(F.pixel_shuffle(self.up_quarter(fine), 2) + picture.quarter)
        kernels = torch.stack([k(tokens[:, i]) for i, k in enumerate(self.kernels)], dim=1)
        logits = torch.einsum("omc,ochw->omhw", kernels[..., :-1], fine) / fine.shape[1] ** 0.5
        smooth = F.interpolate(prior, scale_factor=2, mode="bilinear")
        masks: Tensor = logits + kernels[..., -1, None, None] + self.prior_weight * smooth
        return masks

    def _evidence(
        self, pointer: Tensor, logits: Tensor, similar: Tensor, memory: Remembered
    ) -> Tensor:
        """(O, EVIDENCE) what speaks for the mask being the object that is remembered."""
        d, i = self.widths.tokens, self.widths.identity
        seen = ~memory.no_pointer
        likeness = []
        for part in (slice(d, d + i), slice(d + i, None)):
            cosine = (memory.pointers[..., part] @ pointer[:, part, None])[..., 0]  # (O, P)
            likeness.append(cosine[:, :1])
            likeness.append(cosine.masked_fill(~seen, -1.0).amax(dim=1, keepdim=True))
        inside = F.avg_pool2d(logits[:, None].sigmoid(), 4).flatten(1)  # (O, L)
        area = inside.mean(dim=1, keepdim=True)
        weight = inside / (inside.sum(dim=1, keepdim=True) + 1e-3)
        matched = (weight[..., None] * similar).sum(1)  # (O, 2)
        peak = (inside * similar[..., 0]).amax(dim=1, keepdim=True)
        sure = (weight * inside).sum(1, keepdim=True)
        return torch.cat([*likeness, matched, peak, (area + 1e-4).log() / 4, sure], dim=-1)


class CompactNetwork(nn.Module):
    """Everything behind the frozen trunk."""

    def __init__(self, widths: Widths | None = None) -> None:
        super().__init__()
        self.widths = widths or Widths()
        self.neck = Neck(self.widths)
        self.memory_encoder = MemoryEncoder(self.widths)
        self.memory_attention = MemoryAttention(self.widths)
        self.decoder = MaskDecoder(self.widths)
        # Both cross-attentions begin by comparing like with like.
        self.memory_attention.query.load_state_dict(self.neck.query.state_dict())

    def propose(
        self, picture: Picture, memory: Remembered
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `MaskDecoder.forward`; `picture` has a row per object."""
        conditioned = self.memory_attention(picture, memory)
        answer: tuple[Tensor, Tensor, Tensor, Tensor] = self.decoder(picture, conditioned, memory)
        return answer


def _coarsest(levels: Sequence[Tensor]) -> Tensor:
    """The two coarsest levels on the grid of stride 16, (B, raw, h, w)."""
    f16, f32 = levels[2:]
    return torch.cat([f16, F.interpolate(f32, size=f16.shape[-2:], mode="bilinear")], dim=1)


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


def _kernel(width: int, channels: int) -> nn.Sequential:
    """Of zeros: an untrained decoder shows the prior and nothing else."""
    kernel = perceptron(width, width, channels)
    for parameter in kernel[-1].parameters():
        nn.init.zeros_(parameter)
    return kernel


def _pool(weights: Tensor, x: Tensor) -> Tensor:
    """Weighted means (O, M, C) of x (O, L, C) under weights (O, M, L)."""
    total = weights.sum(-1, keepdim=True) + 1e-3
    return (weights @ x) / total
