"""The part of a picture in which an object is looked for.

What the first attention reads is made once for all objects; all that follows every object pays for
itself. It is done in a window around whatever the first attention takes for the object by the
slightest chance, anywhere in the picture, and nothing is claimed outside.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_CHANCE = 0.1  # share of the object in a mask cell from which it is looked at
_MARGIN = 4  # tokens around
_LEAST = 8  # tokens a side, where nothing is likely
_MOST = 0.75  # of the picture; from there on the whole of it costs hardly more


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens y0 <= y < y1, x0 <= x < x1 of a grid (h, w); all even, as 2x2 tokens are pooled."""

    y0: int
    y1: int
    x0: int
    x1: int
    grid: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def whole(self) -> bool:
        return self.size == self.grid

    def tokens(self, x: Tensor) -> Tensor:
        """Of tokens (..., h * w, C) those inside."""
        if self.whole:
            return x
        on_grid = x.unflatten(-2, self.grid)
        inside: Tensor = on_grid[..., self.y0 : self.y1, self.x0 : self.x1, :].flatten(-3, -2)
        return inside

    def cells(self, x: Tensor, per_token: int) -> Tensor:
        """Of a map (..., per_token * h, per_token * w) what is inside."""
        n = per_token
        return x[..., n * self.y0 : n * self.y1, n * self.x0 : n * self.x1]

    def placed(self, x: Tensor, per_token: int, outside: float) -> Tensor:
        """A map of what is inside, in one of the whole picture that is `outside` elsewhere."""
        (h, w), n = self.grid, per_token
        sides = (self.x0, w - self.x1, self.y0, h - self.y1)
        return F.pad(x, [n * side for side in sides], value=outside)


def likely(prior: Tensor, grid: tuple[int, int]) -> Window:
    """Around all that may be the object by `prior` (h * w, CELLS), its mask cells in [-1, 1]."""
    h, w = grid
    chance = (prior.detach().amax(-1).reshape(h, w) + 1) / 2
    at = torch.nonzero(chance > min(_CHANCE, float(chance.max()) - 1e-6))
    (top, left), (bottom, right) = at.amin(0).tolist(), at.amax(0).tolist()
    y0, y1 = _span(top, bottom, h)
    x0, x1 = _span(left, right, w)
    if (y1 - y0) * (x1 - x0) > _MOST * h * w:
        return Window(0, h, 0, w, grid)
    return Window(y0, y1, x0, x1, grid)


def _span(first: int, last: int, length: int) -> tuple[int, int]:
    """An even span of [0, length) from before `first` to behind `last`."""
    more = max(_MARGIN, (_LEAST - (last + 1 - first) + 1) // 2)
    low = max(0, first - more) // 2 * 2
    high = min(length, -(-(last + 1 + more) // 2) * 2)
    return low, high
