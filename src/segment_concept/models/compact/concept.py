"""The compact model's concept path: encode an object from keyframes, and use the result.

The design follows SeC: keyframes with a marked object and an unmarked query frame go through a
transformer, and a learned `[SEG]` token yields one vector.

Differences from SeC, with the reasons (measurements in docs/LOG.md):
- The concept decides whether the object is in the query, and changes no mask: masks decoded from
  image features that attended to the concept, as in SeC, were not better.
- The images are the two coarsest levels of the frozen backbone, already computed for tracking.
- The transformer sees only how similar each cell of the query is to the object and to its
  surroundings: with half a million parameters it cannot learn to compare features, and overfits
  to the training objects if it sees them.
- The concept predicts presence (is the object in the query at all?), which can be trained without
  the tracker. In training it also predicts location (a map of tokens).
- The mask that the tracker then proposes is compared with the keyframes once more (`verifier`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.layers import Attention, FeedForward, Linear
from segment_concept.models.compact.neck import CompactFeatures, Widths
from segment_concept.models.compact.verifier import KeyframeDescriptor, Verifier, VerifierInput
from segment_concept.tracking.segmenter import Concept, Proposals

_SIMILARITIES = 4  # maps: to object and surroundings, in frozen and in learned features
_SHARPNESS = 12.0  # of the soft maximum over keyframes


@dataclass(frozen=True, slots=True)
class ConceptWidths:
    """Channel counts of the concept path."""

    tokens: int = 128
    layers: int = 3
    heads: int = 4
    likeness: int = 48  # channels of the learned comparison
    concept: int = 256  # of the vector, as in SeC


class ConceptNetwork(nn.Module):
    """Keyframes and a query frame -> one concept embedding per object."""

    def __init__(self, widths: Widths, concept: ConceptWidths) -> None:
        super().__init__()
        d = concept.tokens
        self.widths = concept
        self.compare = Linear(widths.descriptor, concept.likeness, bias=False)
        self.likeness = Linear(_SIMILARITIES, d)
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
        """Concept embeddings (O, concept).

        Args:
            keyframes: at least one per object.
            query: (O, L, descriptor) frozen features of the frame where each object is searched.
            grid: (h16, w16) of the query.
        """
        x = torch.stack(
            [
                self._sequence(descriptors, descriptor, grid)
                for descriptors, descriptor in zip(keyframes, query, strict=True)
            ]
        )
        for norm, attention, mlp in zip(self.norms, self.attentions, self.mlps, strict=True):
            normed = norm(x)
            x = x + attention(normed, normed, normed)
            x = x + mlp(x)
        embeddings: Tensor = self.out(self.norm(x[:, 0]))
        return embeddings

    def _sequence(
        self, keyframes: Sequence[KeyframeDescriptor], query: Tensor, grid: tuple[int, int]
    ) -> Tensor:
        """Tokens (1 + l, tokens) of one object: [SEG] and the query's cells at stride 32."""
        query_role, seg = self.roles
        maps = self._similarities(keyframes, query).T.reshape(1, _SIMILARITIES, *grid)
        cells = F.avg_pool2d(maps, 2, ceil_mode=True).flatten(2)[0].T
        return torch.cat([seg[None], self.likeness(cells) + query_role])

    def _similarities(self, keyframes: Sequence[KeyframeDescriptor], query: Tensor) -> Tensor:
        """(L, 4) similarity of every token of the query to the object and its surroundings."""
        maps = []
        for project in (nn.Identity(), self.compare):
            tokens = F.normalize(project(query), dim=-1)
            for part in ("inside", "outside"):
                known = F.normalize(
                    project(torch.stack([getattr(each, part) for each in keyframes])), dim=-1
                )
                each = _SHARPNESS * (tokens @ known.T)
                maps.append(each.logsumexp(-1) / _SHARPNESS)
        return torch.stack(maps, dim=-1)


class ConceptPath(nn.Module):
    """Concept network, and what is predicted from a concept."""

    def __init__(self, widths: Widths, concept: ConceptWidths | None = None) -> None:
        super().__init__()
        self.widths = concept or ConceptWidths()
        self.network = ConceptNetwork(widths, self.widths)
        self.describe = Linear(widths.descriptor, self.widths.likeness)
        self.wanted = Linear(self.widths.concept, self.widths.likeness + 1)
        self.presence = Linear(self.widths.concept, 1)
        self.verification = Verifier(widths.descriptor)
        nn.init.zeros_(self.presence.weight)
        nn.init.zeros_(self.presence.bias)

    def encode(
        self,
        keyframes: Sequence[Sequence[KeyframeDescriptor]],
        query: Tensor,
        grid: tuple[int, int],
    ) -> list[Concept]:
        """Concepts of O objects. Arguments as for `ConceptNetwork`."""
        embeddings = self.network(keyframes, query, grid)
        prototypes = [self.verification.prototype(each) for each in keyframes]
        return [Concept(*each) for each in zip(embeddings, prototypes, strict=True)]

    def verifier_input(
        self,
        features: CompactFeatures,
        proposals: Proposals,
        concepts: Sequence[Concept],
    ) -> VerifierInput:
        """The best mask of each of O objects with a concept, for verification.

        Args:
            features: one row per object.
            proposals: with presence logits from memory.
            concepts: one per object, by `encode`.
        """
        best_iou, best = proposals.iou.max(1)
        return VerifierInput(
            descriptor=features.descriptor,
            grid=features.grid,
            masks=proposals.logits[torch.arange(len(best), device=best.device), best],
            prototype=torch.stack([_prototype(concept) for concept in concepts]),
            memory=proposals.presence,
            concept=self.presence(torch.stack([c.embedding for c in concepts]))[:, 0],
            iou=best_iou,
        )

    def localize(self, descriptor: Tensor, embeddings: Tensor) -> Tensor:
        """(O, L) logits: which tokens of frozen features (O, L, descriptor) show the object."""
        wanted = self.wanted(embeddings)
        similarity = self.describe(descriptor) @ wanted[:, :-1, None] / self.widths.likeness**0.5
        logits: Tensor = similarity[..., 0] + wanted[:, -1:]
        return logits


def _prototype(concept: Concept) -> Tensor:
    assert concept.prototype is not None, "ConceptPath.encode gives every concept a prototype"
    return concept.prototype
