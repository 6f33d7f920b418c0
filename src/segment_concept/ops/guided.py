"""Enlarge mask logits along the edges of the picture: the fast guided filter.

Near a contour the logits are taken for a linear function of the color. It is fitted to the small
logits and the shrunk picture around every cell, and applied to the large picture (He and Sun,
"Fast Guided Filter", arXiv:1505.00996; for a color picture eq. 19 of He, Sun and Tang, "Guided
Image Filtering", TPAMI 2013).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.types import Image

# All four were chosen on held-out clips and validation video (docs/LOG.md); J changes by at most
# 0.3 if one of them is doubled or halved.
RADIUS = 1  # of the window of a fit, in cells of the small logits
SMOOTHING = 1e-3  # added to variances of colors in [0, 1], epsilon in the papers
CERTAIN = 4.0  # logits are fitted as if they were in [-4, 4]
MOST_PIXELS = 5  # of a cell's side; larger pictures are shrunk first

_REACH = 2 * RADIUS + 1  # cells beyond a contour that it can move: two means, and the enlargement
_FIRST, _SECOND = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)  # pairs of color channels


def guided_upsample(small: Tensor, rgb: Image) -> Tensor:
    """Logits (O, h, w) in the size of a picture (H, W, 3) uint8: (O, H, W) float32.

    They are resized bilinearly, and changed near the contours of each mask so that these follow
    the edges of the picture.
    """
    large = F.interpolate(small.float()[:, None], rgb.shape[:2], mode="bilinear")[:, 0]
    for logits, whole in zip(small.float(), large, strict=True):
        rows, columns = _around_contours(logits)
        if rows.start >= rows.stop:
            continue  # the mask is empty or fills the picture
        window = (
            _pixels(rows, logits.shape[0], rgb.shape[0]),
            _pixels(columns, logits.shape[1], rgb.shape[1]),
        )
        picture = torch.from_numpy(rgb[window]).to(small.device).permute(2, 0, 1).float() / 255
        part = whole[window]
        fitted = _fitted(logits[rows, columns].clamp(-CERTAIN, CERTAIN), picture)
        part += fitted - part.clamp(-CERTAIN, CERTAIN)
    return large


def _around_contours(logits: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the cells (h, w) that lie near a change of sign; empty without any."""
    inside = (logits > 0).float()[None, None]
    mean = F.avg_pool2d(inside, 3, 1, 1, count_include_pad=False)[0, 0]
    mixed = ((mean > 0) & (mean < 1)).cpu()
    spans = []
    for dim, length in ((1, logits.shape[0]), (0, logits.shape[1])):
        at = torch.nonzero(mixed.any(dim))
        first, last = (int(at[0]), int(at[-1])) if len(at) else (0, -1 - 2 * _REACH)
        spans.append(slice(max(0, first - _REACH), min(length, last + 1 + _REACH)))
    return spans[0], spans[1]


def _pixels(cells: slice, count: int, length: int) -> slice:
    """The pixels of `length` that the cells, of `count`, touch."""
    return slice(cells.start * length // count, -(-cells.stop * length // count))


def _fitted(logits: Tensor, picture: Tensor) -> Tensor:
    """(H, W): linear functions of the picture (3, H, W), fitted to the logits (h, w)."""
    size = picture.shape[-2:]
    most = [min(side, MOST_PIXELS * cells) for side, cells in zip(size, logits.shape, strict=True)]
    if list(size) != most:
        picture = F.interpolate(picture[None], most, mode="area")[0]
    shrunk = F.interpolate(picture[None], logits.shape, mode="area")[0]
    slopes = F.interpolate(_fits(logits, shrunk)[None], most, mode="bilinear")[0]
    found = slopes[:3].mul_(picture).sum(0).add_(slopes[3])
    if list(size) == most:
        return found
    return F.interpolate(found[None, None], size, mode="bilinear")[0, 0]


def _fits(logits: Tensor, picture: Tensor) -> Tensor:
    """(4, h, w): slopes for the three colors of (3, h, w), and offset, around every cell."""
    products = picture[list(_FIRST)] * picture[list(_SECOND)]
    means = _mean(torch.cat([picture, logits[None], products, picture * logits]))
    color, value = means[:3], means[3]
    spread = means[4:10] - color[list(_FIRST)] * color[list(_SECOND)]
    slopes = _solve(spread.unbind(), (means[10:] - color * value).unbind())
    offset = value - (slopes * color).sum(0)
    return _mean(torch.cat([slopes, offset[None]]))


def _solve(spread: tuple[Tensor, ...], joint: tuple[Tensor, ...]) -> Tensor:
    """Slopes (3, h, w) from the variances of colors and their covariances with the logits.

    By the adjugate of the symmetric 3x3 matrix: a solver for batches of small matrices is slower.
    """
    rr, rg, rb, gg, gb, bb = spread
    rr, gg, bb = rr + SMOOTHING, gg + SMOOTHING, bb + SMOOTHING
    first = (gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg)
    second = (first[1], rr * bb - rb * rb, rg * rb - rr * gb)
    third = (first[2], second[2], rr * gg - rg * rg)
    determinant = rr * first[0] + rg * first[1] + rb * first[2]
    r, g, b = joint
    rows = [row[0] * r + row[1] * g + row[2] * b for row in (first, second, third)]
    return torch.stack(rows) / determinant


def _mean(maps: Tensor) -> Tensor:
    """Means (C, h, w) over the window of every cell, as far as it lies inside."""
    side = 2 * RADIUS + 1
    return F.avg_pool2d(maps[None], side, 1, RADIUS, count_include_pad=False)[0]
