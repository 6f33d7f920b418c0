"""Position embeddings of SAM 2: sines over a grid, sines over time, rotations of a grid."""

import math

import torch
from torch import Tensor

from segment_concept.ops.device_values import constant_tensors

TEMPERATURE = 10000.0


@constant_tensors
def grid_sines(
    channels: int, h: int, w: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """(1, channels, h, w): half of the channels encode y, half x, each scaled to 2 pi.

    Computed in float32 for every dtype.
    """
    half = channels // 2
    index = torch.arange(half, device=device, dtype=torch.float32)
    period = TEMPERATURE ** (2 * torch.div(index, 2, rounding_mode="floor") / half)
    y_h, x_w = (_turns(length, device)[:, None] / period for length in (h, w))
    y_h, x_w = (
        torch.stack((a[:, 0::2].sin(), a[:, 1::2].cos()), dim=2).flatten(1) for a in (y_h, x_w)
    )
    both = torch.cat([y_h[:, None].expand(h, w, half), x_w[None].expand(h, w, half)], dim=2)
    return both.permute(2, 0, 1)[None].to(dtype)


def time_sines(distances: Tensor, channels: int) -> Tensor:
    """(N, channels) float32 of N distances in units of the horizon."""
    half = channels // 2
    index = torch.arange(half, device=distances.device, dtype=torch.float32)
    angles = distances[:, None] / TEMPERATURE ** (2 * (index // 2) / half)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


@constant_tensors
def grid_rotation(h: int, w: int, channels: int, device: torch.device) -> Tensor:
    """Cosines and sines (h * w, channels / 2, 2) float32 of an axial rotary embedding.

    The first half of the channel pairs rotates with x, the second with y.
    """
    half = channels // 2
    exponent = torch.arange(0, half, 2, device=device, dtype=torch.float32) / half
    rates = 1.0 / TEMPERATURE**exponent
    y = torch.arange(h, device=device, dtype=torch.float32).repeat_interleave(w)
    x = torch.arange(w, device=device, dtype=torch.float32).repeat(h)
    angles = torch.cat([x[:, None] * rates, y[:, None] * rates], dim=1)
    return torch.stack((angles.cos(), angles.sin()), dim=-1)


def rotate(tokens: Tensor, rotation: Tensor) -> Tensor:
    """Rotate pairs of neighboring channels of tokens (O, n * h * w, C); the grid repeats n times.

    Computed in float32, as in the official code, for every dtype of the tokens.
    """
    rows, _, channels = tokens.shape
    pairs = tokens.float().reshape(rows, -1, len(rotation), channels // 2, 2)
    if torch.compiler.is_compiling() or tokens.device.type == "mps":
        rotated = _rotated_pairs(pairs, rotation)  # a compiler makes one kernel of it
    else:
        turned = torch.view_as_complex(pairs) * torch.view_as_complex(rotation)
        rotated = torch.view_as_real(turned)
    return rotated.flatten(3).flatten(1, 2).to(tokens.dtype)


def _rotated_pairs(pairs: Tensor, rotation: Tensor) -> Tensor:
    """The product of complex numbers, in real arithmetic: (..., 2)."""
    (a, b), (cos, sin) = pairs.unbind(-1), rotation.unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1)


def _turns(length: int, device: torch.device) -> Tensor:
    """Positions 1..length, scaled so that the last is one full turn."""
    steps = torch.arange(1, length + 1, device=device, dtype=torch.float32)
    return steps / (length + 1e-6) * (2 * math.pi)
