"""Prompts as a person would give them, drawn from true masks."""

import cv2
import numpy as np
from numpy.random import Generator

from segment_concept.types import Bitmap, Box, Mask, Points, Prompt

MASK_SHARE, BOX_SHARE = 0.4, 0.25  # the rest are points


def draw_prompt(truth: Bitmap, rng: Generator) -> Prompt:
    """A mask (40 %), a loose box (25 %) or one to three clicks (35 %) for (H, W) `truth`."""
    kind = rng.random()
    if kind < MASK_SHARE:
        return Mask(truth)
    if kind < MASK_SHARE + BOX_SHARE:
        return loose_box(truth, rng)
    clicks = [inner_point(truth, rng)]
    labels = [True]
    for _ in range(int(rng.integers(0, 3))):
        inside = bool(rng.random() < 0.7)
        region = truth if inside else _around(truth)
        if region.any():
            clicks.append(inner_point(region, rng))
            labels.append(inside)
    return Points(tuple(clicks), tuple(labels))


def loose_box(truth: Bitmap, rng: Generator, slack: float = 0.07) -> Box:
    """The mask's box, every side moved by up to `slack` of its length."""
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    dx, dy = slack * (x1 - x0), slack * (y1 - y0)
    move = rng.uniform(-1, 1, 4) * (dx, dy, dx, dy)
    height, width = truth.shape
    left, right = max(0.0, x0 + move[0]), min(float(width), x1 + move[2])
    top, bottom = max(0.0, y0 + move[1]), min(float(height), y1 + move[3])
    return Box(left, top, max(right, left + 1), max(bottom, top + 1))


def inner_point(region: Bitmap, rng: Generator) -> tuple[float, float]:
    """(x, y) inside `region`: its centre (the point farthest from the border) or any inner pixel.

    Half of the clicks are at the centre, the others anywhere deeper than half of its depth.
    """
    padded = np.pad(region.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    if rng.random() < 0.5:
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    else:
        ys, xs = np.nonzero(depth >= depth.max() / 2)
        pick = int(rng.integers(len(ys)))
        y, x = ys[pick], xs[pick]
    return float(x) + 0.5, float(y) + 0.5


def correction(truth: Bitmap, predicted: Bitmap, rng: Generator) -> Points | None:
    """A click in the larger error region, as SAM 2 samples them; None where nothing is wrong."""
    missed, extra = truth & ~predicted, predicted & ~truth
    foreground = bool(missed.sum() >= extra.sum())
    region = missed if foreground else extra
    if region.sum() < 8:
        return None
    return Points((inner_point(region, rng),), (foreground,))


def _around(truth: Bitmap) -> Bitmap:
    """Pixels near the object but off it."""
    reach = max(3, int(0.15 * max(truth.shape)))
    near = cv2.dilate(truth.astype(np.uint8), np.ones((reach, reach), np.uint8))
    ring: Bitmap = (near > 0) & ~truth
    return ring
