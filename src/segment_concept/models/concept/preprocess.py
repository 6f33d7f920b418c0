"""From video frames to what the vision network reads: 448 x 448, ImageNet-normalised."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from segment_concept.models.concept.sizes import IMAGE_SIDE
from segment_concept.ops.keyframe_label import resize_bicubic
from segment_concept.types import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def pixel_values(images: Sequence[Image]) -> Tensor:
    """(B, 3, 448, 448) float32 of B pictures (H, W, 3) uint8, each of any size."""
    resized = np.stack([resize_bicubic(image, IMAGE_SIDE) for image in images])
    pixels = torch.from_numpy(resized).permute(0, 3, 1, 2).float().div(255)
    mean = torch.tensor(IMAGENET_MEAN)[:, None, None]
    std = torch.tensor(IMAGENET_STD)[:, None, None]
    return (pixels - mean) / std
