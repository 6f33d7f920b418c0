"""From video frames to what the vision network reads: 448 x 448, ImageNet-normalised."""

from collections.abc import Sequence

import torch
from torch import Tensor

from segment_concept.models.concept.sizes import IMAGE_SIDE
from segment_concept.ops.resize import normalized_square
from segment_concept.types import Image


def pixel_values(images: Sequence[Image]) -> Tensor:
    """(B, 3, 448, 448) float32 of B pictures (H, W, 3) uint8, each of any size."""
    return torch.stack([normalized_square(image, IMAGE_SIDE) for image in images])
