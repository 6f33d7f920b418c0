"""The compact model's concept encoder beside another segmenter.

SAM 2.1 and EdgeTAM have no `token_attn`, so a concept cannot be put into their features. Where the
concept encoder is queried, the compact model reads the frame with its own backbone, and its
verifier decides from the keyframes whether the best mask that the segmenter proposes shows the
object at all. The verifier was fitted to the compact model's own proposals.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import torch
from torch import Tensor

from segment_concept.models.compact.concept_encoder import CompactConceptEncoder
from segment_concept.models.compact.neck import CompactFeatures
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.models.compact.verifier import Verifier, VerifierInput
from segment_concept.models.sam2.network import SamNetwork
from segment_concept.models.sam2.segmenter import Sam2Features, Sam2Options, Sam2Segmenter
from segment_concept.tracking.concept import ConceptRequest
from segment_concept.tracking.memory import Recall
from segment_concept.tracking.segmenter import Concept, Features, Proposals
from segment_concept.types import Frame


@dataclass(frozen=True, slots=True, eq=False)
class LocatedConcept(Concept):
    """A concept, and the compact model's features (1, ...) of the frame for which it was made."""

    features: CompactFeatures | None = None


class SeparateConceptEncoder:
    """Implements `ConceptEncoder` with a compact model that reads frames on its own.

    Args:
        compact: the model.
        encoder: its concept encoder.
    """

    def __init__(self, compact: CompactSegmenter, encoder: CompactConceptEncoder) -> None:
        self.compact, self._encoder = compact, encoder

    @property
    def device(self) -> torch.device:
        """Device of the compact model."""
        return self.compact.device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the compact model."""
        return self.compact.dtype

    def move(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """See `tracking.placement.Movable`. The compact model stays in float32."""
        self.compact.move(device, None)
        self._encoder.move(device, None)

    @torch.inference_mode()
    def encode(
        self, requests: Sequence[ConceptRequest], query: Frame, features: Features[Any]
    ) -> Sequence[Concept | None]:
        """One concept per request; the segmenter's `features` are not read.

        Raises:
            InputError: a request has no keyframe.
        """
        own = self.compact.encode([query])
        return [
            None if each is None else LocatedConcept(each.embedding, own.maps)
            for each in self._encoder.encode(requests, query, own)
        ]


class VerifyingSegmenter(Sam2Segmenter):
    """A segmenter whose presence logits are verified where there is a concept.

    Args:
        network: SAM 2.1 or EdgeTAM.
        options: of the segmenter.
        verifier: the compact model's.
    """

    def __init__(
        self, network: SamNetwork, options: Sam2Options | None, verifier: Verifier
    ) -> None:
        super().__init__(network, options)
        self._verifier = verifier

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and deepcopy, see `Sam2Segmenter`."""
        return type(self), (self.network, self.options, self._verifier)

    def with_options(self, options: Sam2Options) -> "VerifyingSegmenter":
        """The same network with other options."""
        return VerifyingSegmenter(self.network, options, self._verifier)

    def propose(
        self,
        features: Features[Sam2Features],
        recalls: Sequence[Recall],
        concepts: Sequence[Concept | None],
        images: Sequence[int],
    ) -> Proposals:
        """Three masks per row; rows with a concept have the verifier's presence logit."""
        known = {i: c for i, c in enumerate(concepts) if isinstance(c, LocatedConcept)}
        nothing = [None] * len(recalls)
        if not known:
            return super().propose(features, recalls, nothing, images)
        # without a threshold, pointers are those of a visible object
        visible = [replace(r, presence_threshold=-inf) for r in recalls]
        proposals = super().propose(features, visible, nothing, images)
        verified = self._verified(proposals[[*known]], [*known.values()])
        rows = torch.tensor([*known], device=verified.device)
        presence = proposals.presence.index_put((rows,), verified)
        thresholds = presence.new_tensor([r.presence_threshold for r in recalls])
        pointers = torch.where(
            (presence > thresholds)[:, None, None],
            proposals.pointers,
            self.network.no_object_pointer,
        )
        return replace(proposals, presence=presence, pointers=pointers)

    def _verified(self, proposals: Proposals, concepts: Sequence[LocatedConcept]) -> Tensor:
        """(R,) presence logits of the best mask of each row."""
        maps = [c.features for c in concepts if c.features is not None]
        raw = torch.cat([m.descriptor for m in maps])
        given = VerifierInput.of(raw, maps[0].grid, proposals, concepts)
        verified: Tensor = self._verifier(self._verifier.features(given))
        return verified
