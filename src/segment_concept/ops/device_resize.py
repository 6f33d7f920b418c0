"""PIL's bicubic resize as matrix products, equal to the last bit, on any device.

PIL resizes along one side, then along the other. A pass multiplies by coefficients that are whole
multiples of 2^-22, sums exactly, adds a half, and rounds down to a byte. Here every coefficient is
split into a coarse part of 11 significant bits and a fine rest. With either part, products with
bytes are exact in float32 and so are their sums (also where a GPU multiplies in TF32, which has 11
significant bits).
"""

from functools import lru_cache
from math import frexp
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from torch import Tensor

from segment_concept.ops.device_values import constant_tensors, upload
from segment_concept.types import Image

SUPPORT = 2.0  # of the bicubic filter in output pixels, `bicubic_support` in PIL's Resample.c
SHARPNESS = -0.5  # its parameter a, from the same file
FIXED_POINT = 22  # bits after the point, `PRECISION_BITS` in the same file
SIGNIFICANT = 11  # bits of the coarse part
MOST_BITS = 14  # after the point of the coarse part, so that its sums have at most 24
MOST_SHRINKING = 32  # times; the fine parts of more summands would need more than 24 bits


def square_on_device(rgb: Image, side: int, device: torch.device) -> Tensor:
    """(3, side, side) float32 whole numbers 0 to 255: what PIL makes of (H, W, 3) uint8.

    Raises:
        ValueError: a side is more than `MOST_SHRINKING` times the new one.
    """
    height, width = rgb.shape[:2]
    pixels = upload(torch.from_numpy(np.ascontiguousarray(rgb)), device)
    planes = pixels.permute(2, 0, 1).float()
    if heights_first(height, width, side):
        return _widths(_heights(planes, side), side)
    return _heights(_widths(planes, side), side)


def _widths(planes: Tensor, side: int) -> Tensor:
    width = planes.shape[2]
    if width == side:
        return planes
    coefficients, unit = split_coefficients(width, side, planes.device)
    return _rounded(planes @ coefficients, unit, dim=2)


def _heights(planes: Tensor, side: int) -> Tensor:
    height = planes.shape[1]
    if height == side:
        return planes
    coefficients, unit = split_coefficients(height, side, planes.device)
    return _rounded(coefficients.T @ planes, unit, dim=1)


@lru_cache(maxsize=64)
def heights_first(height: int, width: int, side: int) -> bool:
    """Whether the installed PIL resizes images of this size along their height first.

    Old versions never do; new ones do where it is quicker. So PIL is asked, with noise.
    """
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    made = Picture.fromarray(image).resize((side, side), Picture.Resampling.BICUBIC)
    planes = torch.from_numpy(image).permute(2, 0, 1).float()
    ours = _widths(_heights(planes, side), side).permute(1, 2, 0)
    return bool((ours.numpy() == np.asarray(made)).all())


def _rounded(sums: Tensor, unit: int, dim: int) -> Tensor:
    """Bytes of sums in units of 1 / `unit`: those of the coarse part, then those of the fine."""
    coarse, fine = sums.chunk(2, dim)
    # floor((coarse + fine + half) / unit) is floor((coarse + floor(fine + half)) / unit), and
    # every term has at most 24 bits
    half = unit // 2
    whole = (fine + half).floor_().add_(coarse)
    return whole.mul_(1 / unit).floor_().clamp_(0, 255)


@constant_tensors
def split_coefficients(size: int, side: int, device: torch.device) -> tuple[Tensor, int]:
    """(size, 2 * side) float32: the coarse parts of all outputs, then the fine; and their unit.

    They are in units of one over the returned number. The coarse parts are whole in these units.
    """
    if size > MOST_SHRINKING * side:
        raise ValueError(f"{size} pixels cannot be resized to {side} exactly in float32")
    fixed = fixed_point_coefficients(size, side)  # in units of 2^-22
    largest = frexp(np.abs(fixed).max() / (1 << FIXED_POINT))[1]  # its power of two
    bits = min(SIGNIFICANT - largest, MOST_BITS)
    exact = fixed / (1 << (FIXED_POINT - bits))
    coarse = np.round(exact)
    split = np.concatenate((coarse, exact - coarse)).T.astype(np.float32)
    return torch.from_numpy(split).to(device), 1 << bits


def fixed_point_coefficients(size: int, side: int) -> NDArray[np.float64]:
    """(side, size) whole numbers: PIL's coefficients of every output in units of 2^-22."""
    scale = size / side
    stretch = max(scale, 1.0)
    found = np.zeros((side, size))
    for place in range(side):
        center = (place + 0.5) * scale
        first = max(0, int(center - SUPPORT * stretch + 0.5))
        end = min(size, int(center + SUPPORT * stretch + 0.5))
        weights = _bicubic((np.arange(first, end) - center + 0.5) / stretch)
        weights /= weights.sum()
        scaled = weights * (1 << FIXED_POINT)
        found[place, first:end] = np.trunc(scaled + np.copysign(0.5, scaled))
    return found


def _bicubic(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    a, x = SHARPNESS, np.abs(x)
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = (((x - 5) * x + 8) * x - 4) * a
    weights: NDArray[np.floating[Any]] = np.where(x < 1, inner, np.where(x < 2, outer, 0.0))
    return weights
