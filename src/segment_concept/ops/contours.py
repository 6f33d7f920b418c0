"""Pictures for a vision-language model: the object outlined on a frame."""

import cv2
import numpy as np

from segment_concept.types import Bitmap, Image, InputError

OUTLINE_RGB = (0, 255, 0)  # as published: pure green
OUTLINE_PIXELS = 2  # as published, at the video's resolution


def label_keyframe(rgb: Image, mask: Bitmap) -> Image:
    """A copy of the frame on which the object's outer contours are drawn, as SeC marks it.

    Args:
        rgb: (H, W, 3) uint8.
        mask: (H, W) bool; an empty mask leaves the picture as it is.

    Raises:
        InputError: the mask is of another size than the frame.
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
