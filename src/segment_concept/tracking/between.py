"""Masks of a frame between two tracked ones, carried there from both by optical flow.

Most frames of a calm film show what their neighbors show, moved by some pixels. Where the masks of
both neighbors, moved as the picture moves, agree on the frame between, they need not be looked for
there. Flow is DIS (Kroeger et al., 2016, *Fast Optical Flow using Dense Inverse Search*) in
OpenCV's fastest setting, on small gray pictures.

Everything here is numpy and OpenCV; `half_rate` decides which frames are carried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.ops.overlap import mask_iou
from segment_concept.types import Bitmap, Image

SHORT_SIDE = 240  # pixels of the shorter side of the pictures that flow is computed on
SMALLEST = 16  # pixels of a side; DIS refuses 8 x 8
NEAR = 4  # pixels around a mask that belong to its surroundings

Logits: TypeAlias = NDArray[np.float32]  # (h, w)
Flow: TypeAlias = NDArray[np.float32]  # (h, w, 2): x and y, in pixels


@dataclass(frozen=True, slots=True)
class Limits:
    """When a frame may be carried. Chosen on held-out clips (docs/LOG.md).

    Attributes:
        agreement: the IoU that the moved masks of both neighbors must have, of every object.
        unrest: largest mean difference, of 255 gray levels, between the frame and its moved
            neighbors near an object. It tells fast motion, blur, occlusion and flow that is wrong.
        confidence: the object score and the predicted IoU that an object must have.
        absence: the object score below which an object is certainly absent.
    """

    agreement: float = 0.88
    unrest: float = 9.0
    confidence: float = 0.5
    absence: float = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """How the picture of a frame lies in its two neighbors.

    Attributes:
        flows: from the frame to the one before, and to the one after.
        residual: (h, w) gray levels between the frame and its moved neighbors, the larger one.
    """

    flows: tuple[Flow, Flow]
    residual: NDArray[np.float32]

    def unrest(self, masks: Sequence[Bitmap]) -> float:
        """The largest mean residual near one of the masks (h, w); of the picture without any."""
        near = [_dilated(mask) for mask in masks if mask.any()]
        return max((float(self.residual[each].mean()) for each in near), default=self._whole)

    @property
    def _whole(self) -> float:
        return float(self.residual.mean())


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
    """Dense optical flow. Used by one thread at a time."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def motion(self, before: Image, frame: Image, after: Image) -> Motion:
        """The motion of a frame to its neighbors; all three as made by `small_gray`."""
        flows = self._flow(frame, before), self._flow(frame, after)
        moved = warp(_floats(before), flows[0]), warp(_floats(after), flows[1])
        return Motion(flows, np.maximum(*(np.abs(each - _floats(frame)) for each in moved)))

    def _flow(self, start: Image, end: Image) -> Flow:
        found = np.zeros((*start.shape, 2), np.float32)
        return _floats(self._dis.calc(start, end, found))


def warp(values: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
    """The `values` (h, w) of a neighbor at the places that the pixels of a frame have in it."""
    height, width = flow.shape[:2]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    moved = cv2.remap(
        values,
        flow[..., 0] + x,
        flow[..., 1] + y,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return _floats(moved)


def moved_logits(logits: Sequence[Logits], flow: Flow) -> list[Logits]:
    """Logits of objects on a neighbor, of any size, as (h, w) on the frame where `flow` begins."""
    height, width = flow.shape[:2]
    sized = (cv2.resize(each, (width, height), interpolation=cv2.INTER_LINEAR) for each in logits)
    return [warp(_floats(each), flow) for each in sized]


def agreement(before: Sequence[Logits], after: Sequence[Logits]) -> float:
    """The lowest IoU, over objects, of masks that were moved to a frame from both sides."""
    pairs = zip(before, after, strict=True)
    return min((mask_iou(a > 0, b > 0) for a, b in pairs), default=1.0)


def _floats(values: object) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


def _dilated(mask: Bitmap) -> Bitmap:
    side = 2 * NEAR + 1
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8))
    return np.asarray(wide > 0, np.bool_)
