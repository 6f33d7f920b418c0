"""Kalman filter for a box that moves and grows at a constant rate.

The state is center x and y, aspect (width / height), height, and the change of each per step. All
noise is proportional to the height, except that of the aspect. The formulas are the standard ones,
the constants those of SAMURAI; all values are float64.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from segment_concept.ops.boxes import Corners

Array: TypeAlias = NDArray[np.float64]

_MOVE: Array = np.eye(8) + np.eye(8, k=4)  # a step adds each rate to its value
_SEEN: Array = np.eye(4, 8)  # a box measures the values, not the rates

# Standard deviations, relative to the height; those of the aspect are absolute.
_START = (1 / 10, 1 / 10, 1e-2, 1 / 10, 1 / 16, 1 / 16, 1e-5, 1 / 16)
_DRIFT = (1 / 20, 1 / 20, 1e-2, 1 / 20, 1 / 160, 1 / 160, 1e-5, 1 / 160)
_SIGHT = (1 / 20, 1 / 20, 1e-1, 1 / 20)


@dataclass(frozen=True, slots=True, eq=False)
class KalmanState:
    """Mean and covariance of a box."""

    mean: Array  # (8,) center x, center y, aspect, height, and their changes per step
    covariance: Array  # (8, 8)

    @property
    def corners(self) -> Corners:
        """The box of the mean. Its size may become negative, as published."""
        x, y, aspect, height = self.mean[:4].tolist()
        half = aspect * height / 2
        return x - half, y - height / 2, x + half, y + height / 2


def initiate(box: Corners) -> KalmanState:
    """State of a box that does not move."""
    seen = _measured(box)
    return KalmanState(np.concatenate([seen, np.zeros(4)]), _variance(_START, seen[3]))


def predict(belief: KalmanState) -> KalmanState:
    """State one step later."""
    drift = _variance(_DRIFT, belief.mean[3])
    return KalmanState(_MOVE @ belief.mean, _MOVE @ belief.covariance @ _MOVE.T + drift)


def update(belief: KalmanState, box: Corners) -> KalmanState:
    """State after a measured box."""
    surprise = _measured(box) - _SEEN @ belief.mean
    spread = _SEEN @ belief.covariance @ _SEEN.T + _variance(_SIGHT, belief.mean[3])
    gain = np.linalg.solve(spread, _SEEN @ belief.covariance).T
    return KalmanState(
        belief.mean + gain @ surprise,
        belief.covariance - gain @ spread @ gain.T,
    )


def _measured(box: Corners) -> Array:
    """Center, aspect and height; a box without height counts as one pixel high, as published."""
    x0, y0, x1, y1 = box
    height = (y1 - y0) or 1.0
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / height, height])


def _variance(deviations: tuple[float, ...], height: float) -> Array:
    scaled = [d if i % 4 == 2 else d * height for i, d in enumerate(deviations)]
    return np.diag(np.square(scaled))
