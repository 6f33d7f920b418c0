"""Mask decoder of the compact network: masks, predicted IoU, pointers and presence."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.classifier import fit_classifiers
from segment_concept.models.compact.layers import (
    Attention,
    ConvRefine,
    Linear,
    PointwiseConv,
    TwoWayBlock,
    perceptron,
)
from segment_concept.models.compact.memory_attention import SCORES, ConditionedTokens, Pointers
from segment_concept.models.compact.neck import CompactFeatures, Widths
from segment_concept.models.compact.roi import Rois
from segment_concept.tracking.segmenter import Proposals

MASKS = 3
WHOLE = MASKS - 1  # the mask of the whole object, which is used unless a policy chooses
CERTAIN = 10.0  # logit of a given mask or a certain presence, as in SAM 2


class MaskDecoder(nn.Module):
    """Conditioned tokens -> M masks, their predicted IoU, pointers and object presence."""

    EVIDENCE = 9  # features from which presence is predicted, see `_evidence`

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        d = widths.tokens
        self.widths = widths
        self.queries = nn.Parameter(torch.randn(MASKS + 2, d) * 0.2)  # masks, IoU, presence
        self.place = Linear(2, d)
        self.blocks = nn.ModuleList(TwoWayBlock(d, widths.inner) for _ in range(2))
        self.final = Attention(d, widths.inner)
        self.norm = nn.LayerNorm(d)
        self.up_eighth = PointwiseConv(d, 4 * widths.eighth)
        self.skip_eighth = PointwiseConv(widths.eighth, widths.eighth)
        self.prior_eighth = PointwiseConv(1, widths.eighth)
        self.similar_eighth = PointwiseConv(2, widths.eighth)
        self.score_eighth = PointwiseConv(SCORES, widths.eighth, bias=False)
        nn.init.zeros_(self.score_eighth.weight)
        self.refine_eighth = ConvRefine(widths.eighth)
        self.up_quarter = PointwiseConv(widths.eighth, 4 * widths.quarter)
        self.refine_quarter = ConvRefine(widths.quarter)
        self.kernels = nn.ModuleList(_kernel(d, widths.quarter + 1) for _ in range(MASKS))
        self.prior_weight = nn.Parameter(torch.tensor(3.0))
        self.iou = perceptron(d, 64, MASKS)
        self.presence = perceptron(d + self.EVIDENCE, 64, 1, bias=2.0)  # untrained: present
        self.identity = Linear(d, widths.identity)
        self.pointer = perceptron(2 * d, d, d)
        self.absent_pointer = nn.Parameter(torch.zeros(d))

    def forward(
        self,
        features: tuple[CompactFeatures, CompactFeatures],
        rois: Rois,
        conditioned: ConditionedTokens,
        pointers: Pointers,
        *,
        alternatives: bool,
    ) -> Proposals:
        """Decode one row per object. Outside the region of interest all logits are -CERTAIN.

        Args:
            features: of the whole images, one row per object, and of the regions of interest.
            rois: the region of interest of each object.
            conditioned: tokens of the regions of interest.
            pointers: remembered pointers of the objects.
            alternatives: decode all masks, from which one is to be chosen; otherwise the mask of
                the whole object alone.
        """
        chosen = range(MASKS) if alternatives else (WHOLE,)
        whole, part = features
        tokens, x = self._decode_tokens(rois, conditioned.tokens)
        similarity = rois.tokens(conditioned.similarity)
        scores = rois.cells(conditioned.scores, 2)
        kernels = torch.stack([self.kernels[i](tokens[:, i]) for i in chosen], dim=1)
        logits = self._masks(part, kernels, x, conditioned.prior, similarity, scores)
        logits = rois.scatter(logits, 4, -CERTAIN)
        iou = self.iou(tokens[:, MASKS]).sigmoid()[:, chosen[0] :]
        proposed = self.describe(whole, logits.detach().sigmoid())
        best = iou.argmax(dim=1)
        rows = torch.arange(len(iou), device=iou.device)
        evidence = self._evidence(
            proposed[rows, best], logits[rows, best].detach(), conditioned.similarity, pointers
        )
        presence = self.presence(torch.cat([tokens[:, MASKS + 1], evidence], dim=-1))[:, 0]
        return Proposals(logits, iou, proposed, presence)

    def describe(self, features: CompactFeatures, masks: Tensor) -> Tensor:
        """Pointers (O, M, pointer) of soft masks (O, M, h4, w4) in [0, 1].

        A learned part, from mean tokens inside and outside the mask; a unit identity vector; the
        unit mean of the frozen descriptors inside; and a classifier of frozen features.
        """
        inside = F.avg_pool2d(masks, 4).flatten(2)  # (O, M, L)
        fg = _pool(inside, features.tokens)
        bg = _pool(1 - inside, features.tokens)
        return torch.cat(
            [
                self.pointer(torch.cat([fg, bg], dim=-1)),
                F.normalize(self.identity(fg), dim=-1),
                F.normalize(_pool(inside, features.descriptor), dim=-1),
                fit_classifiers(features.fine, features.coarse, F.avg_pool2d(masks, 2)),
            ],
            dim=-1,
        )

    def hide_absent(self, pointers: Tensor, visible: Tensor) -> Tensor:
        """Replace the pointers (O, ..., pointer) of objects that are not `visible` (O,)."""
        blank = F.pad(self.absent_pointer, (0, self.widths.pointer - self.widths.tokens))
        shape = (-1, *[1] * (pointers.ndim - 1))
        return torch.where(visible.view(shape), pointers, blank)

    def _decode_tokens(self, rois: Rois, x: Tensor) -> tuple[Tensor, Tensor]:
        """Query tokens (O, MASKS + 2, tokens) and image tokens (O, l, tokens) after attention."""
        h, w = rois.grid
        y, z = torch.meshgrid(
            torch.linspace(-3, 3, h, device=x.device),
            torch.linspace(-3, 3, w, device=x.device),
            indexing="ij",
        )
        waves = torch.stack([z, y], dim=-1).flatten(0, 1).expand(len(x), -1, -1)
        position = self.place(rois.tokens(waves).sin().to(x.dtype))
        embedding = self.queries.expand(len(x), -1, -1)
        tokens = embedding
        for block in self.blocks:
            tokens, x = block(tokens, embedding, x, position)
        return self.norm(tokens + self.final(tokens + embedding, x + position, x)), x

    def _masks(
        self,
        features: CompactFeatures,
        kernels: Tensor,
        x: Tensor,
        prior: Tensor,
        similarity: Tensor,
        scores: Tensor,
    ) -> Tensor:
        """Mask logits (O, M, 4h, 4w) of regions of interest of h x w tokens."""
        h, w = features.grid
        on_grid = x.transpose(1, 2).unflatten(-1, (h, w))
        prior = F.pixel_shuffle(prior.transpose(1, 2).unflatten(-1, (h, w)), 2)
        similarity = similarity.transpose(1, 2).unflatten(-1, (h, w))
        fine = F.pixel_shuffle(self.up_eighth(on_grid), 2) + self.skip_eighth(features.eighth)
        fine = fine + self.prior_eighth(prior)
        fine = fine + F.interpolate(self.similar_eighth(similarity), scale_factor=2, mode="nearest")
        fine = fine + self.score_eighth(scores)
        fine = self.refine_eighth(fine)
        fine = self.refine_quarter(F.pixel_shuffle(self.up_quarter(fine), 2) + features.quarter)
        logits = torch.einsum("omc,ochw->omhw", kernels[..., :-1], fine) / fine.shape[1] ** 0.5
        smooth = F.interpolate(prior, scale_factor=2, mode="bilinear")
        masks: Tensor = logits + kernels[..., -1, None, None] + self.prior_weight * smooth
        return masks

    def _evidence(
        self, pointer: Tensor, logits: Tensor, similarity: Tensor, remembered: Pointers
    ) -> Tensor:
        """(O, EVIDENCE): features that tell whether a mask shows the remembered object.

        Cosine of its pointer's two unit parts with the first and with the most similar remembered
        pointer (4); mean similarity under the mask (2) and its maximum (1); log area; mean score.
        """
        d, i = self.widths.tokens, self.widths.identity
        seen = ~remembered.hidden
        cosines = []
        for part in (slice(d, d + i), slice(d + i, self.widths.description)):
            cosine = (remembered.vectors[..., part] @ pointer[:, part, None])[..., 0]  # (O, P)
            cosines.append(cosine[:, :1])
            cosines.append(cosine.masked_fill(~seen, -1.0).amax(dim=1, keepdim=True))
        inside = F.avg_pool2d(logits[:, None].sigmoid(), 4).flatten(1)  # (O, L)
        area = inside.mean(dim=1, keepdim=True)
        weight = inside / (inside.sum(dim=1, keepdim=True) + 1e-3)
        matched = (weight[..., None] * similarity).sum(1)  # (O, 2)
        peak = (inside * similarity[..., 0]).amax(dim=1, keepdim=True)
        sure = (weight * inside).sum(1, keepdim=True)
        return torch.cat([*cosines, matched, peak, (area + 1e-4).log() / 4, sure], dim=-1)


def _kernel(width: int, channels: int) -> nn.Sequential:
    """Starts at zero: an untrained decoder returns the prior."""
    kernel = perceptron(width, width, channels)
    for parameter in kernel[-1].parameters():
        nn.init.zeros_(parameter)
    return kernel


def _pool(weights: Tensor, x: Tensor) -> Tensor:
    """Weighted means (O, M, C) of x (O, L, C) under weights (O, M, L)."""
    total = weights.sum(-1, keepdim=True) + 1e-3
    return (weights @ x) / total
