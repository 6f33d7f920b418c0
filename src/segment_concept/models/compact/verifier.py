"""Verification: does a proposed mask show the object of the keyframes?

Compares mean frozen features under masks; nothing here needs the tracker.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.layers import Linear

FEATURES = 4  # memory's presence, the concept's, the predicted IoU, the similarity
_EMPTY = 1e-3  # tokens, added to the area of a mask: no division by 0
_RIDGE = 1e-2  # of the mean channel variance, added to each: channels outnumber the examples


@dataclass(frozen=True, slots=True, eq=False)
class KeyframeDescriptor:
    """Mean frozen features of one keyframe of one object."""

    inside: Tensor  # (descriptor,) under the object's mask
    outside: Tensor  # (descriptor,) elsewhere


def describe_keyframe(
    descriptor: Tensor, grid: tuple[int, int], mask: Tensor
) -> KeyframeDescriptor:
    """Describe a keyframe.

    Args:
        descriptor: (L, descriptor) frozen features of the frame.
        grid: (h16, w16), L tokens.
        mask: (H, W) of the object, in [0, 1].
    """
    share = mask[None].to(descriptor.dtype)
    return KeyframeDescriptor(
        masked_mean(descriptor[None], grid, share)[0],
        masked_mean(descriptor[None], grid, 1 - share)[0],
    )


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
    concept: Tensor  # (O,) presence logits from the concept
    iou: Tensor  # (O,) predicted IoU of the masks


class Verifier(nn.Module):
    """Logistic regression on four features: the logit that a proposed mask shows the object.

    Untrained it is the sum of the presence logits of memory and concept.

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
            self.weigh.weight.copy_(torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
            self.weigh.bias.zero_()

    def prototype(self, keyframes: Sequence[KeyframeDescriptor]) -> Tensor:
        """(descriptor,) unit vector: mean of the whitened object features of the keyframes."""
        whitened = self._whitened(torch.stack([keyframe.inside for keyframe in keyframes]))
        return F.normalize(whitened.mean(0), dim=-1)

    def features(self, given: VerifierInput) -> Tensor:
        """(O, FEATURES) inputs of the regression."""
        covered = given.masks > 0
        mean = masked_mean(given.descriptor, given.grid, covered.to(given.descriptor.dtype))
        similarity = (self._whitened(mean) * given.prototype).sum(-1)
        similarity = similarity * covered.flatten(1).any(1)  # 0 for an empty mask
        return torch.stack([given.memory, given.concept, given.iou, similarity], dim=-1)

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
