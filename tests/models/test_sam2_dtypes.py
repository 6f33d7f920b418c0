"""SAM 2.1 in half precision: how far its logits are from those in float32."""

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.tiny_weights import tiny_weights_file
from segment_concept.checkpoints.sam2.load import load_sam2
from segment_concept.models.sam2.sizes import HieraWiring
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Box, Frame, Mask, ObjectId, Points, Prompt

WIRING = HieraWiring(1, (8, 4, 8, 4), (3,))
FRAMES, HEIGHT, WIDTH = 6, 96, 160


def disc(frame: int) -> np.ndarray:
    """(H, W) of a disc that moves to the right."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return (x - 46 - 3 * frame) ** 2 + (y - 58) ** 2 < 22**2


def frame_of(index: int) -> Frame:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    rgb = np.stack([x + 20, 2 * y, 160 - x], -1).clip(0, 255).astype(np.uint8)
    rgb[disc(index)] = (230, 40, 30)
    return Frame(index, rgb)


def logits(dtype: torch.dtype, prompt: Prompt) -> Tensor:
    """(T, 1, H, W) of a short video."""
    weights = tiny_weights_file("sam2")
    session = Tracker(load_sam2(weights, dtype=dtype, image_side=128, wiring=WIRING)).session()
    return torch.stack(
        [
            session.step(frame_of(i), {ObjectId(1): prompt} if i == 0 else {}).logits
            for i in range(FRAMES)
        ]
    )


@pytest.mark.parametrize("prompt", [Mask(disc(0)), Box(24, 36, 68, 80), Points([(46, 58)], [1])])
def test_half_precision_stays_close_to_float32(prompt: Prompt) -> None:
    exact = logits(torch.float32, prompt)
    assert exact.max() - exact.min() > 15
    for dtype, most, mean in ((torch.bfloat16, 0.5, 0.06), (torch.float16, 0.05, 0.006)):
        difference = (logits(dtype, prompt) - exact).abs()
        assert difference.max() < most
        assert difference.mean() < mean
