"""Convert prompts in SAM 2's form: point and label arrays, boxes of four numbers, and masks."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segment_concept.types import Box, InputError, Mask, Points

Numbers: TypeAlias = (
    Tensor | NDArray[Any] | Sequence[Any]
)  # anything that numpy converts to an array

PADDING, OFF, ON, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3  # SAM 2's labels of points


def clicks_of(
    points: Numbers | None,
    labels: Numbers | None,
    box: Numbers | None,
    scale: tuple[float, float],
    size: tuple[int, int],
) -> Points | Box:
    """Convert the arguments of `add_new_points_or_box` to one prompt.

    Args:
        points: (N, 2) or (1, N, 2), x and y.
        labels: (N,) or (1, N): 1 for foreground, 0 for background; 2 and 3 are the top left and
            bottom right corner of a box; -1 is ignored.
        box: x0, y0, x1, y1.
        scale: factors that convert x and y to pixels of the video.
        size: (H, W) of the video. Clicks on its border, or a pixel beyond, are moved inside.

    Raises:
        InputError: there are no points and no box, points without labels, or invalid values.
    """
    if (points is None) != (labels is None):
        raise InputError("points and labels go together: give both or neither")
    if points is None and box is None:
        raise InputError("nothing to prompt with: give points with labels, a box, or both")
    xy, kinds = _labelled(points, labels)
    xy = xy * np.asarray(scale)
    clicked = (kinds == ON) | (kinds == OFF)
    xy[clicked] = _inside(xy[clicked], size)
    corners = [xy[kinds == corner] for corner in (TOP_LEFT, BOTTOM_RIGHT)]
    found = [len(c) for c in corners]
    if found not in ([0, 0], [1, 1]) or (found == [1, 1] and box is not None):
        raise InputError(
            "give a box only once: as `box`, or as two points labelled 2 (top left) and 3 (bottom "
            "right)"
        )
    prompt_box = None
    if box is not None:
        prompt_box = _box(_array(box), scale)
    elif found == [1, 1]:
        prompt_box = _box(np.concatenate(corners))
    if prompt_box is not None and not clicked.any():
        return prompt_box
    positions = tuple((float(x), float(y)) for x, y in xy[clicked])
    return Points(positions, tuple(bool(k == ON) for k in kinds[clicked]), prompt_box)


def joined(old: Points | Box, new: Points | Box) -> Points:
    """The points of both prompts, in order.

    Raises:
        InputError: a box comes after other prompts.
    """
    if isinstance(new, Box) or new.box is not None:
        raise InputError(
            "a box comes before any point: leave clear_old_points=True, and add points afterwards"
        )
    if isinstance(old, Box):
        return Points(new.xy, new.foreground, old)
    return Points((*old.xy, *new.xy), (*old.foreground, *new.foreground), old.box)


def mask_of(mask: Numbers, size: tuple[int, int]) -> Mask | None:
    """A mask (h, w) of any size, in the size of the video; None if it has no foreground.

    Raises:
        InputError: it does not have two dimensions.
    """
    array = _array(mask)
    if array.ndim != 2:
        raise InputError(f"a mask has two dimensions (H, W), got {array.shape}")
    bitmap = array != 0
    if not bitmap.any():
        return None
    if bitmap.shape != size:
        scores = torch.from_numpy(bitmap).float()[None, None]
        small = F.interpolate(scores, size, mode="bilinear", antialias=True)[0, 0]
        bitmap = (small >= 0.5).numpy()  # as SAM 2 resizes masks
    return Mask(bitmap) if bitmap.any() else None


def _inside(xy: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Clicks on the border of the image, where x is W or y is H, are moved to its last pixel."""
    last = np.nextafter(np.array([size[1], size[0]], np.float64), 0)
    near = (xy >= -1) & (xy <= last + 1)
    return np.where(near, xy.clip(0, last), xy)


def _labelled(
    points: Numbers | None, labels: Numbers | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    if points is None or labels is None:
        return np.zeros((0, 2)), np.zeros(0, np.int64)
    xy, kinds = _array(points), _array(labels).reshape(-1).astype(np.int64)
    if xy.shape[-1:] != (2,) or xy.reshape(-1, 2).shape[0] != len(kinds):
        raise InputError(
            f"points are (N, 2) with N labels, got {xy.shape} with {len(kinds)} labels"
        )
    unknown = sorted(set(kinds.tolist()) - {PADDING, OFF, ON, TOP_LEFT, BOTTOM_RIGHT})
    if unknown:
        raise InputError(
            f"unknown labels {unknown}: 1 is on the object, 0 off it, 2 and 3 are a box's corners"
        )
    return xy.reshape(-1, 2).astype(np.float64), kinds


def _box(corners: NDArray[Any], scale: tuple[float, float] = (1.0, 1.0)) -> Box:
    if corners.size != 4:
        raise InputError(f"a box is x0, y0, x1, y1, got {corners.size} numbers")
    x0, y0, x1, y1 = (float(v) for v in corners.reshape(4))
    return Box(x0 * scale[0], y0 * scale[1], x1 * scale[0], y1 * scale[1])


def _array(values: Numbers) -> NDArray[Any]:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values)
