"""Prompts are refined by further passes, whose numbers are the policy's."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from segment_concept import Box, Frame, Mask, Points
from segment_concept.tracking.refinement import PromptQuery, PromptRefiner
from segment_concept.tracking.segmenter import Features, Proposals
from segment_concept.types import Prompt

FRAME = Frame(0, np.zeros((72, 120, 3), np.uint8))
CLICK, BOX = Points.on((20.0, 30.0)), Box(60, 20, 84, 38)


@dataclass
class GrowingSegmenter:
    """Raises the logits by 1 with each pass; the second of its two masks is the best."""

    encoded: list[tuple[int, int]] = field(default_factory=list)
    passes: list[tuple[Prompt, ...]] = field(default_factory=list)

    def encode(self, frames: Sequence[Frame]) -> Features[None]:
        self.encoded.append(frames[0].size)
        return Features(None, frames[0].size)

    def segment(
        self,
        features: Features[None],
        prompts: Sequence[Prompt],
        previous: Sequence[Tensor | None],
        recalls: Any,
        images: Any,
    ) -> Proposals:
        self.passes.append(tuple(prompts))
        start = torch.full((18, 30), -2.5)
        logits = torch.stack([(start if p is None else p) + 1 for p in previous])
        count = len(prompts)
        return Proposals(
            torch.stack([-logits, logits], dim=1),
            torch.tensor([[0.2, 0.8]]).expand(count, 2),
            torch.zeros(count, 2, 4),
            torch.ones(count),
        )


def refined(
    prompts: Sequence[Prompt],
    refiner: PromptRefiner,
    previous: Sequence[Tensor | None] | None = None,
) -> tuple[Proposals, GrowingSegmenter]:
    segmenter = GrowingSegmenter()
    count = len(prompts)
    features = segmenter.encode([FRAME])
    query = PromptQuery(features, prompts, previous or [None] * count, [None] * count, [0] * count)
    first = query.segment(segmenter)
    return refiner.refine(segmenter, FRAME, query, first), segmenter


def test_a_click_is_decoded_again_with_its_best_mask_before():
    found, segmenter = refined([BOX, CLICK], PromptRefiner(click_passes=4))
    assert segmenter.passes[1:4] == [(CLICK,)] * 3
    assert found.logits[1, 1].unique().tolist() == [1.5]  # -2.5 and four passes
    once, _ = refined([BOX, CLICK], PromptRefiner(click_passes=1))
    assert once.logits[1, 1].unique().tolist() == [-1.5]
    assert torch.equal(found.logits[0], once.logits[0])


def test_corrections_masks_and_clicks_with_a_box_get_one_pass():
    bitmap = np.zeros(FRAME.size, bool)
    bitmap[3:9, 3:9] = True
    prompts = [CLICK, BOX, Mask(bitmap), Points((CLICK.xy[0],), (True,), BOX)]
    before = torch.zeros(18, 30)
    found, segmenter = refined(prompts, PromptRefiner(), [before, before, None, None])
    assert len(segmenter.passes) == 1
    assert segmenter.encoded == [FRAME.size]
    assert found.logits[:, 1].amax((1, 2)).tolist() == [1.0, 1.0, -1.5, -1.5]


def test_a_box_is_decoded_again_on_a_crop_around_it():
    found, segmenter = refined([BOX], PromptRefiner())
    assert segmenter.encoded == [FRAME.size, (27, 36)]  # 1.5 times the box
    (inner,) = segmenter.passes[1]
    assert isinstance(inner, Box)
    assert (inner.x1 - inner.x0, inner.y1 - inner.y0) == (24, 18)
    assert found.iou.tolist() == [pytest.approx([0.2, 0.8])]


def test_masks_of_frame_and_crop_are_averaged_in_pixels_and_stay_in_doubt():
    segmenter = GrowingSegmenter()
    features = segmenter.encode([FRAME])
    query = PromptQuery(features, [BOX], [None], [None], [0])
    first = query.segment(segmenter)
    positive = replace(first, logits=first.logits.clone())
    positive.logits[0, 1] = 4.0  # and -1.5 in the crop: positive on average
    found = PromptRefiner(min_doubt=0.1).refine(segmenter, FRAME, query, positive)
    assert found.logits[0, 1].sigmoid().unique().tolist() == [pytest.approx(0.9)]
    assert torch.equal(found.logits[0, 0], positive.logits[0, 0])


def test_a_box_of_nearly_the_whole_frame_has_no_crop():
    _, segmenter = refined([Box(1, 1, 119, 71)], PromptRefiner())
    assert segmenter.encoded == [FRAME.size]
    assert len(segmenter.passes) == 1


@pytest.mark.parametrize(
    "box", [(0, 0, 9, 9), (100, 60, 120, 72), (50, 1, 52, 70), (3, 30, 118, 33)]
)
def test_the_crop_lies_in_the_frame_and_holds_the_box(box):
    x0, y0, x1, y1 = PromptRefiner().crop_around(Box(*box), FRAME.size)
    assert 0 <= x0 <= box[0] < box[2] <= x1 <= 120
    assert 0 <= y0 <= box[1] < box[3] <= y1 <= 72
    assert 0.45 < (x1 - x0) / (y1 - y0) < 2.2 or y1 - y0 == 72  # at most twice as long as wide


@pytest.mark.parametrize("wrong", [{"click_passes": 0}, {"crop_scale": 0.5}])
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        PromptRefiner(**wrong)
