"""Whether what a proposal covers is the object that its keyframes show.

Asked together with a concept. The concept network looks for the object in the whole query before
anything is proposed; here the frozen features under the proposal's mask are compared with those
under the keyframes' masks. Nothing of that comparison is learnt by gradient: a projection that was,
knew its training's things by heart and told other things apart worse than the frozen features do
(docs/LOG.md). Features are whitened half way, so that what all things share counts less, and four
figures are weighed by logistic regression, on proposals made while tracking training clips.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.layers import Linear
from segment_concept.models.compact.marks import Marked, pooled

FIGURES = 4  # memory's presence, the concept's, the overlap that is expected, the likeness
_RIDGE = 1e-2  # of a channel's mean variance, added to each: there are more channels than things


class Verification(nn.Module):
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

    def known(self, keyframes: Sequence[Marked]) -> Tensor:
        """(raw,) what the keyframes of one object have in common."""
        seen = self._whitened(torch.stack([mark.inside for mark in keyframes]))
        return F.normalize(seen.mean(0), dim=-1)

    def figures(
        self,
        raw: Tensor,
        grid: tuple[int, int],
        masks: Tensor,
        known: Tensor,
        judged: Sequence[Tensor],
    ) -> Tensor:
        """(O, FIGURES) of every object's proposal.

        Args:
            raw: (O, L, raw) frozen features of the query.
            grid: (h16, w16) of them.
            masks: (O, h, w) logits of each proposal.
            known: (O, raw) what `known` said of each object.
            judged: memory's presence, the concept's, the overlap that is expected; each (O,).
        """
        covers = masks > 0
        seen = self._whitened(pooled(raw, grid, covers.to(raw.dtype)))
        likeness = (seen * known).sum(-1) * covers.flatten(1).any(1)  # nothing is like nothing
        return torch.stack([*judged, likeness], dim=-1)

    def forward(
        self,
        raw: Tensor,
        grid: tuple[int, int],
        masks: Tensor,
        known: Tensor,
        judged: Sequence[Tensor],
    ) -> Tensor:
        """(O,) logits of each proposal's being the object. The arguments are those of `figures`."""
        logits: Tensor = self.weigh(self.figures(raw, grid, masks, known, judged))[:, 0]
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
