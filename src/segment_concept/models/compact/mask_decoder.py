"""The compact network's mask decoder: masks, their quality, pointers and presence."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.layers import (
    Attention,
    ConvRefine,
    Linear,
    TwoWayBlock,
    perceptron,
)
from segment_concept.models.compact.memory_attention import Pointers
from segment_concept.models.compact.neck import CompactFeatures, Widths
from segment_concept.models.compact.roi import Rois

MASKS = 3
CERTAIN = 10.0  # logit of a mask or a presence that is beyond doubt, as in SAM 2


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
        picture: CompactFeatures,
        part: CompactFeatures,
        windows: Rois,
        conditioned: tuple[Tensor, Tensor, Tensor],
        remembered: Pointers,
        informed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits (O, M, h4, w4), IoU scores (O, M), pointers (O, M, pointer), presence (O,).

        With `informed` tokens (O, l, tokens) masks are made of those, and presence is judged by
        what memory alone says and by the masks: a concept speaks about presence for itself.

        Args:
            picture: the whole of it, a row per object.
            part: of it, the windows.
            windows: in which each object is looked for, l tokens.
            conditioned: of the windows, tokens (O, l, tokens) and the prior (O, l, CELLS); of the
                whole picture, the similarity maps (O, L, 2).
            remembered: of the objects.
            informed: see above.
        """
        tokens, x = self._look(windows, conditioned[0])
        judge = tokens[:, MASKS + 1]
        if informed is not None:
            tokens, x = self._look(windows, informed)
        near = windows.tokens(conditioned[2])
        logits = self._masks(part, tokens, x, conditioned[1], near)
        logits = windows.scatter(logits, 4, -CERTAIN)
        iou = self.iou(tokens[:, MASKS]).sigmoid()
        pointers = self.describe(picture, logits.detach().sigmoid())
        best = iou.argmax(dim=1)
        rows = torch.arange(len(iou), device=iou.device)
        evidence = self._evidence(
            pointers[rows, best], logits[rows, best].detach(), conditioned[2], remembered
        )
        presence = self.presence(torch.cat([judge, evidence], dim=-1))[:, 0]
        return logits, iou, pointers, presence

    def describe(self, picture: CompactFeatures, masks: Tensor) -> Tensor:
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

    def _look(self, windows: Rois, x: Tensor) -> tuple[Tensor, Tensor]:
        h, w = windows.grid
        y, z = torch.meshgrid(
            torch.linspace(-3, 3, h, device=x.device),
            torch.linspace(-3, 3, w, device=x.device),
            indexing="ij",
        )
        across = torch.stack([z, y], dim=-1).flatten(0, 1).expand(len(x), -1, -1)
        place = self.place(windows.tokens(across).sin().to(x.dtype))
        named = self.queries.expand(len(x), -1, -1)
        tokens = named
        for block in self.blocks:
            tokens, x = block(tokens, named, x, place)
        return self.norm(tokens + self.final(tokens + named, x + place, x)), x

    def _masks(
        self, picture: CompactFeatures, tokens: Tensor, x: Tensor, prior: Tensor, similar: Tensor
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
        self, pointer: Tensor, logits: Tensor, similar: Tensor, remembered: Pointers
    ) -> Tensor:
        """(O, EVIDENCE) what speaks for the mask being the object that is remembered."""
        d, i = self.widths.tokens, self.widths.identity
        seen = ~remembered.hidden
        likeness = []
        for part in (slice(d, d + i), slice(d + i, None)):
            cosine = (remembered.vectors[..., part] @ pointer[:, part, None])[..., 0]  # (O, P)
            likeness.append(cosine[:, :1])
            likeness.append(cosine.masked_fill(~seen, -1.0).amax(dim=1, keepdim=True))
        inside = F.avg_pool2d(logits[:, None].sigmoid(), 4).flatten(1)  # (O, L)
        area = inside.mean(dim=1, keepdim=True)
        weight = inside / (inside.sum(dim=1, keepdim=True) + 1e-3)
        matched = (weight[..., None] * similar).sum(1)  # (O, 2)
        peak = (inside * similar[..., 0]).amax(dim=1, keepdim=True)
        sure = (weight * inside).sum(1, keepdim=True)
        return torch.cat([*likeness, matched, peak, (area + 1e-4).log() / 4, sure], dim=-1)


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
