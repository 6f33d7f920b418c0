"""The compact model's concept path: what an object is, read from keyframes, and how it is injected.

Of the same kind as SeC's: keyframes with the object marked and an unmarked query go through a
transformer, a learnt `[SEG]` token reads out one vector, and that vector, seen as 4 tokens, is
attended to by the query's image features; the result is averaged with what memory says.

What differs from SeC, and why (docs/LOG.md has the measurements):
- the images are the frozen trunk's two coarsest levels, already computed for tracking;
- the transformer sees of the query how like each of its cells is to the marked object and to what
  is around it, and nothing else: half a million parameters cannot learn to compare as a language
  model does, and shown the features themselves it learns its training's things by heart;
- the concept's half of the average is memory's tokens plus what the concept adds, and that begins
  at zero: an untrained concept path changes nothing;
- the concept also speaks about presence, whether the object is in the query at all, and about
  place: a map of the tokens that answer to it, which needs nothing of the tracker to be learnt;
- what the tracker then proposes is compared with the keyframes once more (`verification`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.layers import Attention, FeedForward, Linear, grid_rotation
from segment_concept.models.compact.neck import CompactFeatures, Widths
from segment_concept.models.compact.verifier import KeyframeDescriptor, Verifier, VerifierInput

_LIKENESS = 4  # maps: to the object and to what is around it, in frozen and in learnt features
_SOFTNESS = 12.0  # keyframes are told apart before the best match is taken: a soft maximum


@dataclass(frozen=True, slots=True)
class ConceptWidths:
    """Channel counts of the concept path."""

    tokens: int = 128
    layers: int = 3
    heads: int = 4
    likeness: int = 48  # channels of the learnt comparison
    concept: int = 256  # of the vector, as SeC's
    parts: int = 4  # tokens that the vector is seen as


class ConceptNetwork(nn.Module):
    """Keyframes and a query -> the concept (concept,) of every object."""

    def __init__(self, widths: Widths, concept: ConceptWidths) -> None:
        super().__init__()
        d = concept.tokens
        self.widths = concept
        self.compare = Linear(widths.raw, concept.likeness, bias=False)
        self.likeness = Linear(_LIKENESS, d)
        self.roles = nn.Parameter(torch.randn(2, d) * 0.02)  # of the query's cells, and [SEG]
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(concept.layers))
        self.attentions = nn.ModuleList(
            Attention(d, d, concept.heads) for _ in range(concept.layers)
        )
        self.mlps = nn.ModuleList(FeedForward(d, 2 * d) for _ in range(concept.layers))
        self.norm = nn.LayerNorm(d)
        self.out = nn.Sequential(Linear(d, d), nn.ReLU(), Linear(d, concept.concept))

    def forward(
        self,
        keyframes: Sequence[Sequence[KeyframeDescriptor]],
        query: Tensor,
        grid: tuple[int, int],
    ) -> Tensor:
        """Concepts (O, concept).

        Args:
            keyframes: of each object, at least one.
            query: (O, L, raw) frozen features of the frame on which each object is looked for.
            grid: (h16, w16) of the query.
        """
        x = torch.stack(
            [self._sequence(marks, raw, grid) for marks, raw in zip(keyframes, query, strict=True)]
        )
        for norm, attention, mlp in zip(self.norms, self.attentions, self.mlps, strict=True):
            normed = norm(x)
            x = x + attention(normed, normed, normed)
            x = x + mlp(x)
        concepts: Tensor = self.out(self.norm(x[:, 0]))
        return concepts

    def _sequence(
        self, marks: Sequence[KeyframeDescriptor], raw: Tensor, grid: tuple[int, int]
    ) -> Tensor:
        """The tokens (1 + l, tokens) of one object: [SEG] and the query's cells at stride 32."""
        asked, seg = self.roles
        likeness = self._likeness(marks, raw).T.reshape(1, _LIKENESS, *grid)
        cells = F.avg_pool2d(likeness, 2, ceil_mode=True).flatten(2)[0].T
        return torch.cat([seg[None], self.likeness(cells) + asked])

    def _likeness(self, marks: Sequence[KeyframeDescriptor], raw: Tensor) -> Tensor:
        """(L, 4): how like every token of the query is to the object and to what is around it."""
        maps = []
        for project in (nn.Identity(), self.compare):
            tokens = F.normalize(project(raw), dim=-1)
            for part in ("inside", "outside"):
                known = F.normalize(
                    project(torch.stack([getattr(mark, part) for mark in marks])), dim=-1
                )
                each = _SOFTNESS * (tokens @ known.T)
                maps.append(each.logsumexp(-1) / _SOFTNESS)
        return torch.stack(maps, dim=-1)


class ConceptPath(nn.Module):
    """The network that forms concepts, and what the tracker does with one."""

    def __init__(self, widths: Widths, concept: ConceptWidths | None = None) -> None:
        super().__init__()
        self.widths = concept or ConceptWidths()
        d, part = widths.tokens, self.widths.concept // self.widths.parts
        self.network = ConceptNetwork(widths, self.widths)
        self.pairs = widths.pairs
        self.norm_self = nn.LayerNorm(d)
        self.attention = Attention(d, d)
        self.norm_cross = nn.LayerNorm(d)
        self.parts = Linear(part, d)
        self.cross = Attention(d, widths.inner)
        self.mlp = FeedForward(d, 2 * d)
        self.norm_out = nn.LayerNorm(d)
        self.out = Linear(d, d)
        self.describe = Linear(widths.raw, self.widths.likeness)
        self.wanted = Linear(self.widths.concept, self.widths.likeness + 1)
        self.place = Linear(1, d)
        self.presence = Linear(self.widths.concept, 1)
        self.verification = Verifier(widths.raw)
        for layer in (self.out, self.presence):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def form(
        self,
        keyframes: Sequence[Sequence[KeyframeDescriptor]],
        query: Tensor,
        grid: tuple[int, int],
        reserves: Sequence[float],
    ) -> Tensor:
        """(O, concept + raw + 1): of every object its concept, what its keyframes have in common,
        and by how much it must be more than likely that a proposal is it (logits).

        The other arguments are those of the network.
        """
        common = torch.stack([self.verification.known(marks) for marks in keyframes])
        held_back = common.new_tensor(reserves)[:, None]
        return torch.cat([self.network(keyframes, query, grid), common, held_back], dim=-1)

    def present(
        self, picture: CompactFeatures, masks: Tensor, iou: Tensor, presence: Tensor, formed: Tensor
    ) -> Tensor:
        """(O,) presence logits of proposals on whose frame the concept was asked.

        Args:
            picture: a row per object.
            masks: (O, M, h4, w4) logits of each object's masks.
            iou: (O, M) the overlap that is expected of each.
            presence: (O,) what memory says.
            formed: (O, concept + raw + 1) by `form`.
        """
        concepts, common, reserves = self._parts(formed)
        overlap, best = iou.max(1)
        chosen = masks[torch.arange(len(masks), device=masks.device), best]
        told = self.presence(concepts)[:, 0]
        asked = VerifierInput(picture.raw, picture.grid, chosen, common, presence, told, overlap)
        logits: Tensor = self.verification(asked)
        return logits - reserves

    def _parts(self, formed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        concept = self.widths.concept
        return formed[:, :concept], formed[:, concept:-1], formed[:, -1]

    def where(self, raw: Tensor, concepts: Tensor) -> Tensor:
        """(O, L) logits: which tokens of frozen features (O, L, raw) answer to each concept."""
        wanted = self.wanted(concepts)
        likeness = self.describe(raw) @ wanted[:, :-1, None] / self.widths.likeness**0.5
        logits: Tensor = likeness[..., 0] + wanted[:, -1:]
        return logits

    def inject(self, picture: CompactFeatures, remembered: Tensor, formed: Tensor) -> Tensor:
        """Memory-conditioned tokens (O, L, tokens), averaged with the concept's.

        Args:
            picture: a row per object.
            remembered: (O, L, tokens) what memory made of it.
            formed: (O, concept + raw + 1) by `form`.
        """
        concepts, _, _ = self._parts(formed)
        h, w = picture.grid
        where = self.where(picture.raw, concepts)
        x = picture.tokens + self.place(where.tanh()[..., None])
        normed = self.norm_self(x)
        rotation = grid_rotation(h, w, self.pairs // 2, x)
        x = x + self.attention(normed, normed, normed, rotation)
        parts = self.parts(concepts.unflatten(-1, (self.widths.parts, -1)))
        x = x + self.cross(self.norm_cross(x), parts, parts)
        x = x + self.mlp(x)
        by_concept: Tensor = remembered + self.out(self.norm_out(x))
        return (remembered + by_concept) / 2
