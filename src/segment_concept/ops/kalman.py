"""A Kalman filter for a box that moves and grows at a constant rate.

What is believed are centre x and y, aspect (width / height) and height, and the rate at which
each changes a step. All noise is in proportion to the height, except the aspect's. Formulas are
the textbook's, constants those of SAMURAI; everything is float64.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from segment_concept.ops.boxes import Corners

Array: TypeAlias = NDArray[np.float64]

_MOVE: Array = np.eye(8) + np.eye(8, k=4)  # a step adds every rate to its value
_SEEN: Array = np.eye(4, 8)  # of what is believed, a box shows the values and not the rates

# Standard deviations, as shares of the height; those of the aspect are absolute.
_START = (1 / 10, 1 / 10, 1e-2, 1 / 10, 1 / 16, 1 / 16, 1e-5, 1 / 16)
_DRIFT = (1 / 20, 1 / 20, 1e-2, 1 / 20, 1 / 160, 1 / 160, 1e-5, 1 / 160)
_SIGHT = (1 / 20, 1 / 20, 1e-1, 1 / 20)


@dataclass(frozen=True, slots=True, eq=False)
class KalmanState:
    """Where a box is thought to be, and how sure that is."""

    mean: Array  # (8,) centre x, centre y, aspect, height, and their changes a step
    covariance: Array  # (8, 8)

    @property
    def corners(self) -> Corners:
        """The box in the middle of it. A belief may shrink below nothing: as published."""
        x, y, aspect, height = self.mean[:4].tolist()
        half = aspect * height / 2
        return x - half, y - height / 2, x + half, y + height / 2


def initiate(box: Corners) -> KalmanState:
    """A box at rest."""
    seen = _measured(box)
    return KalmanState(np.concatenate([seen, np.zeros(4)]), _variance(_START, seen[3]))


def predict(belief: KalmanState) -> KalmanState:
    """One step later."""
    drift = _variance(_DRIFT, belief.mean[3])
    return KalmanState(_MOVE @ belief.mean, _MOVE @ belief.covariance @ _MOVE.T + drift)


def update(belief: KalmanState, box: Corners) -> KalmanState:
    """What is believed after the box was seen there."""
    surprise = _measured(box) - _SEEN @ belief.mean
    spread = _SEEN @ belief.covariance @ _SEEN.T + _variance(_SIGHT, belief.mean[3])
    gain = np.linalg.solve(spread, _SEEN @ belief.covariance).T
    return KalmanState(
        belief.mean + gain @ surprise,
        belief.covariance - gain @ spread @ gain.T,
    )


def _measured(box: Corners) -> Array:
    """Centre, aspect and height; a box without height counts as one pixel high, as published."""
    x0, y0, x1, y1 = box
    height = (y1 - y0) or 1.0
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / height, height])


def _variance(deviations: tuple[float, ...], height: float) -> Array:
    scaled = [d if i % 4 == 2 else d * height for i, d in enumerate(deviations)]
    return np.diag(np.square(scaled))
