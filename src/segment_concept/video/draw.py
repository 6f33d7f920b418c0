"""Draw masks on frames, and convert images to planar video formats."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.ops.color import color_of
from segment_concept.types import Bitmap, Image

OPACITY = 0.5
LINES_PER_CONTOUR_PIXEL = 480  # a contour is 1 px thick up to this height, 2 px up to twice it


def overlay(rgb: Image, masks: Iterable[tuple[int, Bitmap]]) -> Image:
    """A copy of a (H, W, 3) frame with objects tinted and outlined.

    Args:
        rgb: the frame.
        masks: (object id, (H, W) mask), later ones are drawn over earlier ones.
    """
    picture = rgb.copy()
    thickness = 1 + (picture.shape[0] - 1) // LINES_PER_CONTOUR_PIXEL
    for object_id, mask in masks:
        _paint(picture, np.ascontiguousarray(mask).view(np.uint8), color_of(object_id), thickness)
    return picture


def _paint(
    picture: Image, mask: NDArray[np.uint8], color: tuple[int, int, int], thickness: int
) -> None:
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return
    region = picture[y : y + height, x : x + width]
    inside = mask[y : y + height, x : x + width]
    tint = np.full_like(region, color)
    blend = cv2.addWeighted(region, 1 - OPACITY, tint, OPACITY, 0)
    cv2.copyTo(blend, inside, region)
    outlines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, color, thickness, cv2.LINE_AA, offset=(x, y))


def to_i420(rgb: Image) -> NDArray[np.uint8]:
    """(H, W, 3) RGB as planar 4:2:0 video, (H + H/2, W): BT.601, limited range.

    Such a video needs even sides: the last row or column of an odd side is repeated.
    """
    height, width = rgb.shape[:2]
    if height % 2 or width % 2:
        rgb = cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    planes: NDArray[np.uint8] = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)  # type: ignore[assignment]
    return planes


def gray_to_i420(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) gray as planar 4:2:0 video."""
    return to_i420(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB))  # type: ignore[arg-type]
