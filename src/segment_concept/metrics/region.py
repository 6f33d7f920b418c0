"""Region similarity J: the intersection over union of two masks."""

import numpy as np
from numpy.typing import NDArray

from segment_concept.ops.overlap import mask_iou
from segment_concept.types import InputError


def check_sizes(prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> None:
    """Check that two masks are two-dimensional and of the same size.

    Raises:
        InputError: they are not; the message names both sizes.
    """
    if prediction.shape != truth.shape:
        raise InputError(
            f"the prediction is {_size(prediction)} but the truth is {_size(truth)}: "
            "score masks at the resolution of the truth (nearest-neighbor resizing keeps ids)"
        )
    if prediction.ndim != 2:
        raise InputError(f"a mask has two dimensions (H, W), got shape {prediction.shape}")


def _size(mask: NDArray[np.generic]) -> str:
    return f"{mask.shape[1]}x{mask.shape[0]}" if mask.ndim == 2 else f"of shape {mask.shape}"


def region_similarity(prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """J of two (H, W) masks, a score in [0, 1]; 1 if both are empty.

    Raises:
        InputError: the masks differ in size or are not two-dimensional.
    """
    check_sizes(prediction, truth)
    return mask_iou(prediction != 0, truth != 0)
