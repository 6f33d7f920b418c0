"""Enlarge mask logits along the edges of the picture: the fast guided filter.

Near a contour the logits are taken for a linear function of the color. It is fitted to the small
logits and the shrunk picture around every cell, and applied to the large picture (He and Sun,
"Fast Guided Filter", arXiv:1505.00996; for a color picture eq. 19 of He, Sun and Tang, "Guided
Image Filtering", TPAMI 2013).
"""

from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segment_concept.types import Image

# All four were chosen on held-out clips and validation video (docs/LOG.md); J changes by at most
# 0.3 if one of them is doubled or halved.
RADIUS = 1  # of the window of a fit, in cells of the small logits
SMOOTHING = 1e-3  # added to variances of colors in [0, 1], epsilon in the papers
CERTAIN = 4.0  # logits are fitted as if they were in [-4, 4]
MOST_PIXELS = 5  # of a cell's side; larger pictures are shrunk first

_REACH = 2 * RADIUS + 1  # cells beyond a contour that it can move: two means, and the enlargement
_WINDOW = (2 * RADIUS + 1, 2 * RADIUS + 1)
_FIRST, _SECOND = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)  # pairs of color channels

Floats: TypeAlias = NDArray[np.float32]


def guided_upsample(small: Tensor, rgb: Image) -> Tensor:
    """Logits (O, h, w) in the size of a picture (H, W, 3) uint8: (O, H, W) float32.

    They are resized bilinearly, and changed near the contours of each mask so that these follow
    the edges of the picture. Computed on the CPU, wherever the logits are.
    """
    height, width = rgb.shape[:2]
    large = np.empty((len(small), height, width), np.float32)
    for logits, whole in zip(small.detach().float().cpu().numpy(), large, strict=True):
        cv2.resize(logits, (width, height), whole, interpolation=cv2.INTER_LINEAR)
        _follow_edges(logits, whole, rgb)
    return torch.from_numpy(large).to(small.device)


def _follow_edges(logits: Floats, whole: Floats, rgb: Image) -> None:
    """Change the enlarged logits `whole` near the contours of `logits`."""
    inside = (logits > 0).view(np.uint8)
    mixed = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    x, y, w, h = cv2.boundingRect(mixed)
    if not w:
        return  # the mask is empty or fills the picture
    rows = slice(max(0, y - _REACH), min(len(logits), y + h + _REACH))
    columns = slice(max(0, x - _REACH), min(logits.shape[1], x + w + _REACH))
    window = (
        _pixels(rows, logits.shape[0], rgb.shape[0]),
        _pixels(columns, logits.shape[1], rgb.shape[1]),
    )
    part = whole[window]
    found = _fitted(logits[rows, columns].clip(-CERTAIN, CERTAIN), rgb[window])
    part += found - part.clip(-CERTAIN, CERTAIN)


def _pixels(cells: slice, count: int, length: int) -> slice:
    """The pixels of `length` that the cells, of `count`, touch."""
    return slice(cells.start * length // count, -(-cells.stop * length // count))


def _fitted(logits: Floats, rgb: Image) -> Floats:
    """(H, W): linear functions of the picture (H, W, 3), fitted to the logits (h, w)."""
    size, cells = (rgb.shape[1], rgb.shape[0]), (logits.shape[1], logits.shape[0])
    most = tuple(min(a, MOST_PIXELS * b) for a, b in zip(size, cells, strict=True))
    if size != most:
        rgb = _resized(rgb, most, cv2.INTER_AREA)
    shrunk = _resized(rgb, cells, cv2.INTER_AREA) * np.float32(1 / 255)
    *slopes, found = (_resized(plane, most, cv2.INTER_LINEAR) for plane in _fits(logits, shrunk))
    for slope, color in zip(slopes, cv2.split(rgb), strict=True):
        found += slope * (color * np.float32(1 / 255))
    return found if size == most else _resized(found, size, cv2.INTER_LINEAR)


def _fits(logits: Floats, picture: Floats) -> list[Floats]:
    """Slopes for the three colors of (h, w, 3), and offset, around every cell: four of (h, w)."""
    value = logits[..., None]
    products = picture[..., list(_FIRST)] * picture[..., list(_SECOND)]
    means = _mean(np.concatenate((picture, value, products, picture * value), axis=-1))
    r, g, b, mean = (means[..., n] for n in range(4))
    color = means[..., :3]
    spread = means[..., 4:10] - color[..., list(_FIRST)] * color[..., list(_SECOND)]
    joint = means[..., 10:] - color * mean[..., None]
    slopes = _solve(spread, joint)
    offset = mean - slopes[0] * r - slopes[1] * g - slopes[2] * b
    return [_mean(plane) for plane in (*slopes, offset)]


def _solve(spread: Floats, joint: Floats) -> list[Floats]:
    """Three slopes (h, w) from the variances of colors and their covariances with the logits.

    By the adjugate of the symmetric 3x3 matrix: a solver for batches of small matrices is slower.
    """
    rr, rg, rb, gg, gb, bb = (spread[..., n] for n in range(6))
    rr, gg, bb = rr + SMOOTHING, gg + SMOOTHING, bb + SMOOTHING
    first = (gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg)
    second = (first[1], rr * bb - rb * rb, rg * rb - rr * gb)
    third = (first[2], second[2], rr * gg - rg * rg)
    determinant = rr * first[0] + rg * first[1] + rb * first[2]
    r, g, b = (joint[..., n] / determinant for n in range(3))
    return [row[0] * r + row[1] * g + row[2] * b for row in (first, second, third)]


def _mean(maps: Floats) -> Floats:
    """Means of (h, w) or (h, w, C) over the window of every cell."""
    return cv2.blur(maps, _WINDOW)  # type: ignore[return-value]


def _resized(maps: NDArray[Any], size: tuple[int, ...], how: int) -> NDArray[Any]:
    """A picture or a plane in the size (W, H)."""
    return cv2.resize(maps, size, interpolation=how)
