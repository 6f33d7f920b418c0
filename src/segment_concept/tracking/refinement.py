"""Refinement of prompts: more than one decoder pass for a click or a box.

A policy beside the session: it calls `Segmenter.segment` and `Segmenter.encode`, and needs no
knowledge of the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.tracking.memory import Recall
from segment_concept.tracking.segmenter import Features, Proposals, Segmenter
from segment_concept.types import Box, Frame, Points, Prompt


@dataclass(frozen=True, slots=True, eq=False)
class PromptQuery:
    """Prompts of O objects on one encoded frame: the arguments of `Segmenter.segment`."""

    features: Features[Any]
    prompts: Sequence[Prompt]
    previous: Sequence[Tensor | None]
    recalls: Sequence[Recall | None]
    images: Sequence[int]

    def __getitem__(self, rows: Sequence[int]) -> "PromptQuery":
        """The query of some of the objects."""
        return PromptQuery(
            self.features,
            [self.prompts[i] for i in rows],
            [self.previous[i] for i in rows],
            [self.recalls[i] for i in rows],
            [self.images[i] for i in rows],
        )

    def segment(self, segmenter: Segmenter) -> Proposals:
        """One decoder pass."""
        return segmenter.segment(
            self.features, self.prompts, self.previous, self.recalls, self.images
        )


@dataclass(frozen=True, slots=True)
class PromptRefiner:
    """Repeats the decoder pass of first prompts. Corrections and given masks are left alone.

    A click says little about the extent of an object: it is decoded `click_passes` times, each
    time with the best mask of the pass before. A box is decoded a second time on an enlarged crop
    around it, and the mean of both masks is used. Defaults were chosen on held-out frames for the
    compact network, with earlier weights (docs/LOG.md). More passes make boxes worse.

    Attributes:
        click_passes: decoder passes of a click without a box, at least 1.
        crop_scale: size of the crop relative to the box, at least 1.
        min_crop: smallest crop, as a fraction of the frame's sides; smaller crops have too few
            pixels.
        min_doubt: the mean's mask scores stay within [min_doubt, 1 - min_doubt].
    """

    click_passes: int = 3
    crop_scale: float = 1.5
    min_crop: float = 0.15
    min_doubt: float = 0.01

    def __post_init__(self) -> None:
        if self.click_passes < 1:
            raise ValueError(f"click_passes must be at least 1, got {self.click_passes}")
        if self.crop_scale < 1:
            raise ValueError(f"crop_scale must be at least 1, got {self.crop_scale}")

    def refine(
        self, segmenter: Segmenter, frame: Frame, query: PromptQuery, proposals: Proposals
    ) -> Proposals:
        """Refine the result of the first pass over a query on one frame."""
        first = [i for i, previous in enumerate(query.previous) if previous is None]
        rows = {i: proposals[[i]] for i in range(len(proposals))}
        clicks = [i for i in first if _is_click(query.prompts[i])]
        for _ in range(self.click_passes - 1 if clicks else 0):
            again = replace(query[clicks], previous=[best_mask(rows[i]) for i in clicks])
            found = again.segment(segmenter)
            rows |= {i: found[[n]] for n, i in enumerate(clicks)}
        for i in first:
            prompt = query.prompts[i]
            if isinstance(prompt, Box):
                rows[i] = self._with_crop(segmenter, frame, prompt, rows[i])
        return Proposals.cat([rows[i] for i in range(len(proposals))])

    def _with_crop(
        self, segmenter: Segmenter, frame: Frame, box: Box, proposal: Proposals
    ) -> Proposals:
        """The proposal of a box, one row, whose best mask is the mean with that of the crop.

        The mean is taken at the frame's resolution; the share of each mask cell that it covers
        becomes the cell's score.
        """
        x0, y0, x1, y1 = self.crop_around(box, frame.size)
        if (y1 - y0, x1 - x0) == frame.size:
            return proposal
        crop = Frame(frame.index, np.ascontiguousarray(frame.rgb[y0:y1, x0:x1]))
        inner = Box(box.x0 - x0, box.y0 - y0, box.x1 - x0, box.y1 - y0)
        near = PromptQuery(segmenter.encode([crop]), [inner], [None], [None], [0]).segment(
            segmenter
        )
        mean = _resize(best_mask(proposal), frame.size)
        mean[y0:y1, x0:x1] = (mean[y0:y1, x0:x1] + _resize(best_mask(near), crop.size)) / 2
        h, w = proposal.logits.shape[-2:]
        covered = F.adaptive_avg_pool2d((mean > 0).to(mean.dtype)[None], (h, w))
        logits = proposal.logits.clone()
        logits[0, proposal.iou[0].argmax()] = torch.logit(covered[0], self.min_doubt)
        return replace(proposal, logits=logits)

    def crop_around(self, box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 of the crop in a frame of size (H, W); its aspect is 0.5 to 2."""
        h, w = size
        across, down = self.crop_scale * (box.x1 - box.x0), self.crop_scale * (box.y1 - box.y0)
        crop_w = round(min(w, max(across, down / 2, self.min_crop * w, 1)))
        crop_h = round(min(h, max(down, across / 2, self.min_crop * h, 1)))
        x0 = min(max(0, round((box.x0 + box.x1 - crop_w) / 2)), w - crop_w)
        y0 = min(max(0, round((box.y0 + box.y1 - crop_h) / 2)), h - crop_h)
        return x0, y0, x0 + crop_w, y0 + crop_h


def _is_click(prompt: Prompt) -> bool:
    return isinstance(prompt, Points) and prompt.box is None


def best_mask(proposal: Proposals) -> Tensor:
    """Logits (h, w) of the mask with the highest predicted IoU, of one row."""
    return proposal.logits[0, proposal.iou[0].argmax()]


def _resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits[None, None], size, mode="bilinear")[0, 0]
