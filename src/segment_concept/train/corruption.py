"""Wrong masks for memories in training.

If an object grows or turns, a tracker often keeps only the part that it saw first in memory. When
all memories in training are about right, the network learns to copy them. Here a memory gets the
true mask with a part cut off, eroded or with a part added, while the target stays the whole object,
so that the network has to complete it.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

_SURE = 0.02  # probabilities of a wrong mask are in [_SURE, 1 - _SURE]
_LEAST = 12  # cells of an object below which its mask is left as it is


@dataclass(frozen=True, slots=True)
class Corruption:
    """How often memories are wrong.

    An object of a clip is affected or not. Some memories of an affected object are wrong, all in a
    similar way, because errors of a tracker persist.
    """

    objects: float = 0.0  # share of objects that are affected
    frames: float = 0.6  # share of wrong memories of an affected object


@dataclass(frozen=True, slots=True)
class Defect:
    """What is wrong with the memories of one object."""

    kind: str  # "cut", "eroded" or "added"
    angle: float  # direction of the cut or of the added part, radians
    amount: float  # share of the object's area that is cut off, eroded or added


def draw_defect(rng: Generator) -> Defect:
    """A part cut off (60 %), erosion (25 %) or a part added (15 %)."""
    kind = ("cut", "eroded", "added")[int(rng.choice(3, p=[0.6, 0.25, 0.15]))]
    return Defect(kind, float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(0.15, 0.65)))


def defective(area: Tensor, defect: Defect, rng: Generator) -> Tensor:
    """Logits (h, w) of a mask with a defect; `area` (h, w) is the object's share of each cell."""
    if float(area.sum()) < _LEAST:
        return area.clamp(_SURE, 1 - _SURE).logit()
    if defect.kind == "cut":
        wrong = area * _beyond(area, defect.angle + float(rng.normal(0, 0.2)), defect.amount)
    elif defect.kind == "eroded":
        reach = max(1, round(0.35 * defect.amount * math.sqrt(float(area.sum()))))
        wrong = -F.max_pool2d(-area[None], 2 * reach + 1, stride=1, padding=reach)[0]
    else:
        wrong = torch.maximum(area, _beside(area, defect))
    return wrong.clamp(_SURE, 1 - _SURE).logit()


def _beyond(area: Tensor, angle: float, lost: float) -> Tensor:
    """1 on one side of a line, which contains all of the object except the share `lost`; else 0."""
    y, x = _places(area)
    along = x * math.cos(angle) + y * math.sin(angle)
    inside = area > 0.5
    if not bool(inside.any()):
        return torch.ones_like(area)
    line = torch.quantile(along[inside].float(), lost)
    return (along >= line).to(area.dtype)


def _beside(area: Tensor, defect: Defect) -> Tensor:
    """A disc at the border of the object with the share `amount` of its area."""
    y, x = _places(area)
    total = area.sum()
    middle_x, middle_y = (x * area).sum() / total, (y * area).sum() / total
    radius = (total / math.pi).sqrt()
    x = x - middle_x - radius * math.cos(defect.angle)
    y = y - middle_y - radius * math.sin(defect.angle)
    own = radius * math.sqrt(defect.amount)
    return (own + 0.5 - (x * x + y * y).sqrt()).clamp(0, 1)


def _places(area: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (h, w) of the cells, y and x."""
    h, w = area.shape
    y = torch.arange(h, device=area.device, dtype=area.dtype)[:, None].expand(h, w)
    x = torch.arange(w, device=area.device, dtype=area.dtype)[None].expand(h, w)
    return y, x
