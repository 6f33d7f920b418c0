"""The compact model's concept of an object, and whether a proposed mask shows that object.

A concept is the mean appearance of the object in its keyframes, in frozen features of the backbone.
SeC's concept comes from a language model and also changes the masks. This one decides only whether
the object is in the query frame: a network that read keyframes and query, its presence logit, the
predicted IoU and masks that depended on the concept added nothing (measurements in docs/LOG.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.layers import Linear
from segment_concept.tracking.segmenter import Concept, Proposals

FEATURES = 2  # memory's presence, the similarity
_MOST = 6.0  # limit of memory's presence logit, which is higher than its errors justify
_EMPTY = 1e-3  # tokens, added to the area of a mask: no division by 0
_RIDGE = 1e-2  # of the mean channel variance, added to each: channels outnumber the examples


def masked_mean(descriptor: Tensor, grid: tuple[int, int], masks: Tensor) -> Tensor:
    """(O, C): mean of features (O, L, C) under masks (O, H, W) in [0, 1]; 0 if a mask is empty."""
    weights = F.adaptive_avg_pool2d(masks, grid).flatten(1)[:, :, None]
    return (weights * descriptor).sum(1) / (weights.sum(1) + _EMPTY)


@dataclass(frozen=True, slots=True, eq=False)
class VerifierInput:
    """One proposed mask for each of O objects with a concept."""

    descriptor: Tensor  # (O, L, descriptor) frozen features of the frame
    grid: tuple[int, int]  # (h16, w16), L tokens
    masks: Tensor  # (O, h, w) mask logits
    prototype: Tensor  # (O, descriptor), see `Verifier.prototype`
    memory: Tensor  # (O,) presence logits from memory

    @classmethod
    def of(
        cls,
        descriptor: Tensor,
        grid: tuple[int, int],
        proposals: Proposals,
        concepts: Sequence[Concept],
    ) -> "VerifierInput":
        """The mask with the highest predicted IoU of each of O objects.

        Args:
            descriptor: (O, L, descriptor) frozen features, one row per object.
            grid: (h16, w16), L tokens.
            proposals: with presence logits from memory.
            concepts: one per object, see `Verifier.prototype`.
        """
        best = proposals.iou.argmax(1)
        return cls(
            descriptor=descriptor,
            grid=grid,
            masks=proposals.logits[torch.arange(len(best), device=best.device), best],
            prototype=torch.stack([concept.embedding for concept in concepts]),
            memory=proposals.presence,
        )


class Verifier(nn.Module):
    """Logistic regression on two features: the logit that a proposed mask shows the object.

    Untrained it is the presence logit of memory.

    Args:
        channels: of the frozen features.
    """

    centre: Tensor
    whiten: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("whiten", torch.eye(channels))
        self.weigh = Linear(FEATURES, 1)
        with torch.no_grad():
            self.weigh.weight.copy_(torch.tensor([[1.0, 0.0]]))
            self.weigh.bias.zero_()

    def prototype(self, keyframes: Tensor) -> Tensor:
        """(descriptor,) unit vector: mean of the whitened features of K keyframes.

        Args:
            keyframes: (K, descriptor) mean frozen features under the object's masks.
        """
        return F.normalize(self._whitened(keyframes).mean(0), dim=-1)

    def features(self, given: VerifierInput) -> Tensor:
        """(O, FEATURES) inputs of the regression."""
        covered = given.masks > 0
        mean = masked_mean(given.descriptor, given.grid, covered.to(given.descriptor.dtype))
        similarity = (self._whitened(mean) * given.prototype).sum(-1)
        similarity = similarity * covered.flatten(1).any(1)  # 0 for an empty mask
        return torch.stack([given.memory.clamp(-_MOST, _MOST), similarity], dim=-1)

    def forward(self, features: Tensor) -> Tensor:
        """(O,) logits from features (O, FEATURES)."""
        logits: Tensor = self.weigh(features)[:, 0]
        return logits

    def _whitened(self, descriptors: Tensor) -> Tensor:
        return F.normalize((descriptors - self.centre) @ self.whiten, dim=-1)

    @torch.no_grad()
    def measure(self, descriptors: Tensor) -> None:
        """Set center and (half-strength) ZCA whitening from frozen features (N, descriptor)."""
        self.centre.copy_(descriptors.mean(0))
        covariance = torch.cov((descriptors - self.centre).T)
        ridge = _RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
        variances, axes = torch.linalg.eigh(covariance + ridge)
        self.whiten.copy_(axes @ torch.diag(variances**-0.25) @ axes.T)
