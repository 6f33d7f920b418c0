"""Turning cut-outs: their texture rotates inside a fixed outline, so that another side is seen.

Each row of the outline is the front half of a cylinder, whose back is the front in other colors. A
network that matches only what it has seen loses the new side; the mask is the whole outline.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from segment_concept.synthetic.pixels import (
    Field,
    Image,
    as_image,
    chance,
    colors_of,
    grade_table,
    shift_hue,
    uniform,
)


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """The rotation of a cut-out about its vertical axis."""

    sides: Image  # (h, 2 w, 3): the front, and the back to its right
    middle: Field  # (h,) center of the outline in each row, pixels
    half: Field  # (h,) half of its width
    rate: float  # radians a frame

    def colors(self, at: Field, t: float) -> Image:
        """The colors (h, w, 3) at the places `at` (h, w, 2) of the cut-out on frame `t`."""
        height, double = self.sides.shape[:2]
        rows = at[..., 1].round().clip(0, height - 1).astype(np.int32)
        middle, half = self.middle[rows], self.half[rows]
        angle = np.arcsin(((at[..., 0] - middle) / half).clip(-1, 1)) + self.rate * t
        behind = np.cos(angle) < 0
        x = middle + half * np.sin(angle) + behind * np.float32(double // 2)
        y = np.ascontiguousarray(at[..., 1])
        interpolation, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
        return as_image(
            cv2.remap(self.sides, np.asarray(x, np.float32), y, interpolation, borderMode=border)
        )


def draw_turn(rng: Generator, rgba: Image, frames: int) -> Turn:
    """Rotate a cut-out (h, w, 4, straight alpha) by up to half a turn in `frames` frames."""
    inside = rgba[..., 3] > 127
    height, width = inside.shape
    rows = inside.any(axis=1)
    first = np.where(rows, inside.argmax(axis=1), 0)
    last = np.where(rows, width - 1 - inside[:, ::-1].argmax(axis=1), width - 1)
    window = max(3, height // 8) | 1
    low, high = (
        cv2.blur(side.astype(np.float32)[:, None], (1, window))[:, 0] for side in (first, last)
    )
    front = colors_of(rgba)
    hue, saturation = (
        (uniform(rng, -60, 60), uniform(rng, 0.3, 1.3)) if chance(rng, 0.5) else (0, 1)
    )
    back = cv2.LUT(shift_hue(front, hue, saturation), grade_table(rng, 1.5))
    whole = uniform(rng, 0.6, math.pi) * (1 if chance(rng, 0.5) else -1)
    return Turn(
        sides=np.hstack([front, as_image(back)]),
        middle=np.asarray((low + high) / 2, np.float32),
        half=np.asarray(np.maximum((high - low) / 2 + 2, 2), np.float32),
        rate=whole / max(1, frames - 1),
    )
