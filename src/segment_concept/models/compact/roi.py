"""Region of interest of an object.

The first attention is shared by all objects; everything after it runs per object, inside its region
only. The region covers every token that the first attention assigns to the object with at least a
small probability; outside of it the mask is empty.

Where an object was seen a moment ago, the first attention, too, has a region: around its mask. If
the object is not found there, or reaches its border, the whole frame is looked at after all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

_MIN_PROBABILITY = 0.3  # probability above which a mask cell belongs to the region
_MARGIN = 1  # tokens added on each side, then rounded to even
_NEAR = 2  # tokens around its last region of interest in which an object is looked for first
_LIKELY = 0.5  # highest probability in them, below which the whole frame is looked at
_MIN_SIDE = 8  # minimum side of a region, in tokens
_MAX_SHARE = 0.75  # of the frame; larger regions become the whole frame, which costs hardly more


@dataclass(frozen=True, slots=True)
class Roi:
    """Tokens y0 <= y < y1, x0 <= x < x1 of a grid (h, w); even, because 2x2 tokens are pooled."""

    y0: int
    y1: int
    x0: int
    x1: int
    grid: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) in tokens."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def whole(self) -> bool:
        """Whether it is the whole frame."""
        return self.size == self.grid

    def contains(self, other: "Roi") -> bool:
        """Whether all tokens of a region are tokens of this one."""
        return (
            self.y0 <= other.y0
            and other.y1 <= self.y1
            and self.x0 <= other.x0
            and other.x1 <= self.x1
        )

    def rows(self, device: torch.device | None = None) -> Tensor:
        """(h * w,) indices of its tokens in the flattened frame, in order."""
        h, w = self.grid
        tokens = torch.arange(h * w, device=device).view(h, w)
        return tokens[self.y0 : self.y1, self.x0 : self.x1].flatten()

    def holds_object(self, prior: Tensor) -> bool:
        """Whether a region that was looked at shows an object, and all of it.

        Args:
            prior: (H * W, CELLS) in [-1, 1], -1 outside of the region.
        """
        if self.whole:
            return True
        (found,) = propose_rois(prior[None], self.grid)
        return self.contains(found) and float(prior.amax() + 1) / 2 > _LIKELY

    def place(self, x: Tensor, outside: float) -> Tensor:
        """Tokens (h * w, C) in those of the whole frame (H * W, C), filled elsewhere."""
        if self.whole:
            return x
        placed = x.new_full((*self.grid, x.shape[-1]), outside)
        placed[self.y0 : self.y1, self.x0 : self.x1] = x.unflatten(0, self.size)
        return placed.flatten(0, 1)


@dataclass(frozen=True, slots=True)
class Rois:
    """The regions of O objects, all of the same size (h, w)."""

    each: tuple[Roi, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of each region, in tokens."""
        return self.each[0].size

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) of the frame, in tokens."""
        return self.each[0].grid

    @property
    def whole(self) -> bool:
        """Whether each region is the whole frame."""
        return self.size == self.grid

    def tokens(self, x: Tensor) -> Tensor:
        """Select the tokens inside: (O, H * W, C) -> (O, h * w, C)."""
        if self.whole:
            return x
        if len(self.each) == 1:
            (one,) = self.each
            on_grid = x.unflatten(-2, self.grid)
            inside: Tensor = on_grid[..., one.y0 : one.y1, one.x0 : one.x1, :].flatten(-3, -2)
            return inside
        return x.gather(1, self._cells(1, x.device)[..., None].expand(-1, -1, x.shape[-1]))

    def cells(self, x: Tensor, per_token: int) -> Tensor:
        """Crop maps (O, C, n * H, n * W) to the regions, with n = `per_token`."""
        n, (h, w) = per_token, self.size
        if self.whole:
            return x
        if len(self.each) == 1:
            (one,) = self.each
            return x[..., n * one.y0 : n * one.y1, n * one.x0 : n * one.x1]
        cells = self._cells(n, x.device)[:, None].expand(-1, x.shape[1], -1)
        inside: Tensor = x.flatten(2).gather(2, cells).unflatten(-1, (n * h, n * w))
        return inside

    def scatter(self, x: Tensor, per_token: int, outside: float) -> Tensor:
        """Place cropped maps into maps of the whole frame, filled with `outside` elsewhere."""
        n, (h, w) = per_token, self.grid
        if len(self.each) == 1:
            (one,) = self.each
            sides = (one.x0, w - one.x1, one.y0, h - one.y1)
            return F.pad(x, [n * side for side in sides], value=outside)
        cells = self._cells(n, x.device)[:, None].expand(-1, x.shape[1], -1)
        empty = x.new_full((*x.shape[:2], n * n * h * w), outside)
        filled: Tensor = empty.scatter(2, cells, x.flatten(2)).unflatten(-1, (n * h, n * w))
        return filled

    def _cells(self, n: int, device: torch.device) -> Tensor:
        """Indices of the cells inside, in the flattened frame: (O, n * h * n * w)."""
        h, w = self.size
        corners = torch.tensor([(one.y0, one.x0) for one in self.each], device=device)
        y = n * corners[:, :1] + torch.arange(n * h, device=device)
        x = n * corners[:, 1:] + torch.arange(n * w, device=device)
        return (y[:, :, None] * (n * self.grid[1]) + x[:, None]).flatten(1)


def whole_frame(grid: tuple[int, int]) -> Roi:
    """The region that covers all tokens of a grid (h, w)."""
    h, w = grid
    return Roi(0, h, 0, w, grid)


def propose_rois(priors: Tensor, grid: tuple[int, int]) -> list[Roi]:
    """Propose a region per object from its prior (O, h * w, CELLS) in [-1, 1]."""
    h, w = grid
    probability = (priors.detach().amax(-1).unflatten(-1, grid) + 1) / 2
    above = (probability.amax((1, 2)) - 1e-6).clamp(max=_MIN_PROBABILITY)
    likely = (probability > above[:, None, None]).cpu()  # waits for the device
    rois = []
    for rows, columns in zip(likely.any(2), likely.any(1), strict=True):
        y0, y1 = _span(rows, h)
        x0, x1 = _span(columns, w)
        large = (y1 - y0) * (x1 - x0) > _MAX_SHARE * h * w
        rois.append(whole_frame(grid) if large else Roi(y0, y1, x0, x1, grid))
    return rois


def around(cells: Tensor, grid: tuple[int, int]) -> Roi:
    """Where to look for an object first: around its remembered mask cells (h * w, CELLS).

    The whole frame if the mask is empty.
    """
    h, w = grid
    covered = (cells.detach().amax(-1) > 0).unflatten(-1, grid).cpu()
    rows, columns = covered.any(1), covered.any(0)
    if not rows.any():
        return whole_frame(grid)
    y0, y1 = _span(rows, h)
    x0, x1 = _span(columns, w)
    return Roi(max(0, y0 - _NEAR), min(h, y1 + _NEAR), max(0, x0 - _NEAR), min(w, x1 + _NEAR), grid)


def union(
    rois: Sequence[Roi], device: torch.device | None = None
) -> tuple[Tensor, list[Tensor | slice]]:
    """Indices of the tokens of any of the regions, and which of these are each region's own."""
    rows = rois[0].rows(device)
    if all(roi == rois[0] for roi in rois):
        return rows, [slice(None)] * len(rois)
    each = [roi.rows(device) for roi in rois]
    rows = torch.cat(each).unique()
    return rows, [torch.searchsorted(rows, own) for own in each]


def group_rois(rois: Sequence[Roi]) -> list[tuple[list[int], Rois]]:
    """Group regions that are processed together: rows of the same size, and their regions."""

    def size(row: int) -> tuple[int, int]:
        return rois[row].size

    groups = [list(rows) for _, rows in groupby(sorted(range(len(rois)), key=size), key=size)]
    return [(rows, Rois(tuple(rois[o] for o in rows))) for rows in groups]


def _span(likely: Tensor, length: int) -> tuple[int, int]:
    """The even interval of [0, length) around all positions that are `likely`, with a margin."""
    at = torch.nonzero(likely)
    first, last = int(at[0]), int(at[-1])
    more = max(_MARGIN, (_MIN_SIDE - (last + 1 - first) + 1) // 2)
    low = max(0, first - more) // 2 * 2
    high = min(length, -(-(last + 1 + more) // 2) * 2)
    return low, high
