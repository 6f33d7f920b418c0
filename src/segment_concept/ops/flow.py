"""Dense optical flow between small gray pictures, and what is moved along it.

Flow is DIS (Kroeger et al., 2016, *Fast Optical Flow using Dense Inverse Search*) in OpenCV's
fastest setting, but at twice its resolution.
"""

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.types import Bitmap, Image

SHORT_SIDE = 240  # pixels of the shorter side of the pictures that flow is computed on
SMALLEST = 16  # pixels of a side; DIS refuses 8 x 8

Floats: TypeAlias = NDArray[np.float32]  # (h, w)
Flow: TypeAlias = NDArray[np.float32]  # (h, w, 2): x and y, in pixels


def small_size(size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) of the picture that `small_gray` makes of a frame (H, W)."""
    scale = min(1.0, SHORT_SIDE / min(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def small_gray(rgb: Image) -> Image:
    """(h, w) uint8 of `rgb` (H, W, 3), with a shorter side of at most 240 pixels."""
    height, width = small_size((rgb.shape[0], rgb.shape[1]))
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


class FlowEstimator:
    """Computes flow. Used by one thread at a time."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setFinestScale(1)  # half of the picture's size; a quarter by default

    def flow(self, start: Image, end: Image) -> Flow:
        """Where each pixel of one gray picture (h, w) lies in another, relative to its place."""
        found = np.zeros((*start.shape, 2), np.float32)
        return floats(self._dis.calc(start, end, found))


def chained(first: Flow, second: Flow | None) -> Flow:
    """The flow from one picture to a third one: to the second, and on from there. None: no way."""
    return first if second is None else floats(first + warp(second, first))


def warp(values: Floats, flow: Flow) -> Floats:
    """The values (h, w) or (h, w, C) of a picture at the places that `flow` leads to."""
    height, width = flow.shape[:2]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    return floats(
        cv2.remap(
            values,
            flow[..., 0] + x,
            flow[..., 1] + y,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def resized_flow(flow: Flow, size: tuple[int, int]) -> Flow:
    """The same flow between pictures of another size (h, w)."""
    scale = np.array([size[1] / flow.shape[1], size[0] / flow.shape[0]], np.float32)
    return floats(resized(flow, size) * scale)


def gradient(gray: Image) -> Floats:
    """(h, w) gray levels a pixel: the length of the Sobel gradient."""
    across, down = (cv2.Sobel(gray, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    return floats(np.hypot(across, down))


def resized(values: Floats, size: tuple[int, int]) -> Floats:
    """Values (h', w') or (h', w', C) in another size (h, w).

    Bilinear, or means of areas where it is smaller.
    """
    smaller = size[0] < values.shape[0] and size[1] < values.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return floats(cv2.resize(values, size[::-1], interpolation=how))


def averaged(values: Floats, side: int) -> Floats:
    """Means of (h, w) over a square window around every pixel, `side` pixels wide."""
    return floats(cv2.blur(values, (side, side)))


def dilated(mask: Bitmap, pixels: int) -> Bitmap:
    """A mask (h, w) that is larger by some pixels on every side."""
    side = 2 * pixels + 1
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8))
    return np.asarray(wide > 0, np.bool_)


def floats(values: object) -> NDArray[np.float32]:
    """An array of floats."""
    return np.asarray(values, np.float32)
