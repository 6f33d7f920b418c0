"""Recall and decay of a sequence, as defined by DAVIS (Perazzi et al., CVPR 2016)."""

import math
from collections.abc import Sequence

import numpy as np

_BINS = 4
_GOOD = 0.5


def recall(scores: Sequence[float]) -> float:
    """Share of frames with a score above 0.5; NaN without frames."""
    return float(np.mean(np.asarray(scores) > _GOOD)) if len(scores) else math.nan


def decay(scores: Sequence[float], as_published: bool = True) -> float:
    """Mean of the first quarter of the frames minus mean of the last; NaN without frames.

    As published, the limits of the quarters are 8-bit numbers: beyond 256 frames they overflow, and
    the result is meaningless or NaN. `as_published=False` computes the definition.
    """
    values = np.asarray(scores, float)
    if not len(values):
        return math.nan
    limits = np.round(np.linspace(1, len(values), _BINS + 1) + 1e-10).astype(int) - 1
    if as_published:
        limits = limits % 256
    first = values[limits[0] : limits[1] + 1]
    last = values[limits[_BINS - 1] : limits[_BINS] + 1]
    if not len(first) or not len(last):
        return math.nan
    return float(np.mean(first) - np.mean(last))
