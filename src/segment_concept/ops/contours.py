"""Draw an object's contours on a frame, for a vision-language model."""

import cv2
import numpy as np

from segment_concept.types import Bitmap, Image, InputError

OUTLINE_RGB = (0, 255, 0)  # pure green, as published
OUTLINE_PIXELS = 2  # in video pixels, as published


def label_keyframe(rgb: Image, mask: Bitmap) -> Image:
    """A copy of the frame with the object's outer contours, as in SeC.

    Args:
        rgb: (H, W, 3) uint8.
        mask: (H, W) bool; an empty mask changes nothing.

    Raises:
        InputError: mask and frame differ in size.
    """
    if mask.shape != rgb.shape[:2]:
        raise InputError(
            f"the keyframe's mask is {mask.shape[1]}x{mask.shape[0]} but its frame is "
            f"{rgb.shape[1]}x{rgb.shape[0]}: give a mask of the video's size"
        )
    labelled: Image = np.array(rgb, order="C")
    contours, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    cv2.drawContours(labelled, contours, -1, OUTLINE_RGB, OUTLINE_PIXELS)
    return labelled
