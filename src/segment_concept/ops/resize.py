"""Resize frames and masks to the square input of a network."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Picture
from torch import Tensor

from segment_concept.ops.device_resize import MOST_SHRINKING, square_on_device
from segment_concept.ops.device_values import constant_tensors
from segment_concept.types import Bitmap, Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def resize_bicubic(rgb: Image, side: int) -> Image:
    """(side, side, 3) uint8: bicubic and antialiased as in PIL; the aspect ratio is not kept."""
    picture = Picture.fromarray(np.ascontiguousarray(rgb))
    resized: Image = np.array(picture.resize((side, side), Picture.Resampling.BICUBIC))
    return resized


def normalized_square(rgb: Image, side: int) -> Tensor:
    """(3, side, side) float32: resized, scaled to [0, 1] and normalized with ImageNet statistics.

    SAM 2 and InternVL load images in this way.
    """
    pixels = torch.from_numpy(resize_bicubic(rgb, side)).permute(2, 0, 1).float().div(255)
    return normalized(pixels)


def normalized_squares(
    images: Sequence[Image], side: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """(B, 3, side, side) of B images (H, W, 3), as `normalized_square`.

    On a CPU float32, resized by PIL. On another device the images are copied there as bytes and
    resized there, to the same pixels; normalized in float32 and then cast to `dtype`.
    """
    if device.type == "cpu":
        return torch.stack([normalized_square(image, side) for image in images])
    squares = torch.stack([_square(image, side, device) for image in images])
    return normalized(squares / 255).to(dtype)


def _square(image: Image, side: int, device: torch.device) -> Tensor:
    """(3, side, side) float32, 0 to 255."""
    if max(image.shape[:2]) > MOST_SHRINKING * side:
        image = resize_bicubic(image, side)  # then nothing is left to do there
    return square_on_device(image, side, device)


def normalized(pixels: Tensor) -> Tensor:
    """(..., 3, H, W) in [0, 1], normalized with ImageNet's mean and standard deviation."""
    mean, std = imagenet_statistics(pixels.device)
    return (pixels - mean) / std


@constant_tensors
def imagenet_statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (3, 1, 1) float32."""
    mean, std = torch.tensor((IMAGENET_MEAN, IMAGENET_STD), device=device)[..., None, None]
    return mean, std


def mask_square(bitmap: Bitmap, side: int) -> Tensor:
    """(side, side) float32, 1 where a pixel is half covered: bilinear, antialiased, as in SAM 2.

    SAM 2 loses a mask that covers no pixel of the square by half. Here the pixels that it covers
    most are set, so that no prompt is lost.
    """
    shown = torch.from_numpy(np.ascontiguousarray(bitmap)).float()[None, None]
    if shown.shape[-2:] == (side, side):
        return shown[0, 0]
    covered = F.interpolate(shown, (side, side), mode="bilinear", antialias=True)[0, 0]
    half: float = min(0.5, covered.max().item())
    return ((covered >= half) & (covered > 0)).float()
