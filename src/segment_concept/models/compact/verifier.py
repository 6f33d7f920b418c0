"""What a mask covers of a picture, in frozen features."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.layers import Linear

_EMPTY = 1e-3  # tokens: added to a mask's area, so that an empty one divides


@dataclass(frozen=True, slots=True, eq=False)
class KeyframeDescriptor:
    """What is kept of one keyframe of one object."""

    inside: Tensor  # (raw,) mean feature of the object
    outside: Tensor  # (raw,) and of everything else


def describe_keyframe(raw: Tensor, grid: tuple[int, int], mask: Tensor) -> KeyframeDescriptor:
    """A keyframe from its frozen features (L, raw) and the object's mask (H, W) in [0, 1]."""
    share = mask[None].to(raw.dtype)
    return KeyframeDescriptor(
        masked_mean(raw[None], grid, share)[0], masked_mean(raw[None], grid, 1 - share)[0]
    )


def masked_mean(raw: Tensor, grid: tuple[int, int], masks: Tensor) -> Tensor:
    """(O, raw): the mean of features (O, L, raw) under masks (O, H, W) in [0, 1]; 0 under none."""
    weights = F.adaptive_avg_pool2d(masks, grid).flatten(1)[:, :, None]
    return (weights * raw).sum(1) / (weights.sum(1) + _EMPTY)


FIGURES = 4  # memory's presence, the concept's, the overlap that is expected, the likeness
_RIDGE = 1e-2  # of a channel's mean variance, added to each: there are more channels than things


@dataclass(frozen=True, slots=True, eq=False)
class VerifierInput:
    """Proposals for O objects, whose concepts were asked on this frame."""

    raw: Tensor  # (O, L, raw) frozen features of the query
    grid: tuple[int, int]  # (h16, w16) of them
    masks: Tensor  # (O, h, w) logits of each proposal
    known: Tensor  # (O, raw) by `Verifier.known`
    memory: Tensor  # (O,) what memory says of presence, logits
    concept: Tensor  # (O,) what the concept says of it
    overlap: Tensor  # (O,) the overlap that is expected


class Verifier(nn.Module):
    """From a proposal and keyframes to the logit of its being right.

    Untrained it is the sum of what memory and the concept say of presence.

    Args:
        raw: channels of the frozen features.
    """

    centre: Tensor
    whiten: Tensor

    def __init__(self, raw: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(raw))
        self.register_buffer("whiten", torch.eye(raw))
        self.weigh = Linear(FIGURES, 1)
        with torch.no_grad():
            self.weigh.weight.copy_(torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
            self.weigh.bias.zero_()

    def known(self, keyframes: Sequence[KeyframeDescriptor]) -> Tensor:
        """(raw,) what the keyframes of one object have in common."""
        seen = self._whitened(torch.stack([mark.inside for mark in keyframes]))
        return F.normalize(seen.mean(0), dim=-1)

    def figures(self, asked: VerifierInput) -> Tensor:
        """(O, FIGURES) of every object's proposal."""
        covers = asked.masks > 0
        seen = self._whitened(masked_mean(asked.raw, asked.grid, covers.to(asked.raw.dtype)))
        likeness = (seen * asked.known).sum(-1)
        likeness = likeness * covers.flatten(1).any(1)  # nothing is like nothing
        return torch.stack([asked.memory, asked.concept, asked.overlap, likeness], dim=-1)

    def forward(self, asked: VerifierInput) -> Tensor:
        """(O,) logits of each proposal's being the object."""
        logits: Tensor = self.weigh(self.figures(asked))[:, 0]
        return logits

    def _whitened(self, features: Tensor) -> Tensor:
        return F.normalize((features - self.centre) @ self.whiten, dim=-1)

    @torch.no_grad()
    def measure(self, features: Tensor) -> None:
        """Set centre and whitening by frozen features (N, raw) of many places."""
        self.centre.copy_(features.mean(0))
        covariance = torch.cov((features - self.centre).T)
        ridge = _RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
        variances, axes = torch.linalg.eigh(covariance + ridge)
        self.whiten.copy_(axes @ torch.diag(variances**-0.25) @ axes.T)
