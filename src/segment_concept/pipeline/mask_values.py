"""Interpret the values of a mask image: ids, white on black with soft edges, or a void border.

Ids fill areas. The values of a soft edge form lines between a lower and a higher value. A void
border (VOC, DAVIS: 255) is a line around objects.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.types import Bitmap, InputError

MANY_VALUES = 64  # more gray values than this are soft edges, not ids
VOID = 255
_BYTE, _WORD = 255, 65535  # white in 8 and 16 bits
_AREA, _LINE = 9, 3  # sides in pixels of the squares that an area fills, and that a line does not
_NEAR = 7  # side of the square that has both sides of a soft edge
_MAX_EXAMINED = 4_000_000  # approximate maximum number of pixels examined
_FEW = 3  # so many values of lines, and more than there are areas, are soft edges
_ANY_ID = "select the objects with --mask-id, such as --mask-id 1,2"
_WHITE = "save the mask as white on black, or select the object with --mask-color"

Values = NDArray[np.int64]  # (H, W)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Object ids (H, W), 0 for the background, and notes on their interpretation."""

    ids: Values
    notes: tuple[str, ...] = ()

    def noting(self, note: str) -> "Labels":
        """The labels with one more note."""
        return replace(self, notes=(*self.notes, note))


def labels_of_gray(gray: Values, *, lossy: bool = False) -> Labels:
    """Interpret gray values: ids, or one object that is white on black.

    Args:
        gray: (H, W), 0 to 255, or to 65535.
        lossy: whether the file format changes values (JPEG), so that they cannot be ids.

    Raises:
        InputError: there is no object, or the values are ambiguous.
    """
    values = [int(v) for v in np.unique(gray)]
    if values == [0]:
        raise InputError("has no foreground pixel (all is 0): paint the object into it")
    if len(values) == 1:
        raise InputError(
            f"is one value ({values[0]}) everywhere, so the whole image would be the "
            "object: paint the background black (0)"
        )
    if lossy or len(values) > MANY_VALUES:
        return _white_on_black(gray)
    if values[0] != 0:
        return _without_black(gray, values)
    return _few_values(gray, values)


def _few_values(gray: Values, values: Sequence[int]) -> Labels:
    white, inner = values[-1], values[1:-1]
    if not inner and white > _BYTE // 2:
        check_not_inverted(gray == white)
    if not inner:
        return Labels(np.where(gray == white, white if white < VOID else 1, 0))
    edges = [v for v in inner if _is_edge(gray, v)]
    if len(edges) == len(inner) and white > _BYTE // 2:
        return _white_on_black(gray)
    if white in (_BYTE, _WORD):
        return _ids_or_white(gray, inner, white)
    if len(edges) >= _FEW and len(edges) >= len(inner) - len(edges):
        raise InputError(
            f"has soft edges ({len(edges)} values form lines between others): {_WHITE}"
        )
    return Labels(gray)


def _ids_or_white(gray: Values, inner: Sequence[int], white: int) -> Labels:
    if white == VOID and not fills(gray == white, _AREA):
        without = np.where(gray == VOID, 0, gray)
        return Labels(without).noting("255 is a border and was left out, as in VOC and DAVIS")
    some = ", ".join(map(str, inner[:4]))
    raise InputError(
        f"has areas of the values {some} and {white}, and {white} may be an object or void, as in "
        f"VOC and DAVIS: {_ANY_ID}"
    )


def _without_black(gray: Values, values: Sequence[int]) -> Labels:
    top = _BYTE if values[-1] <= _BYTE else _WORD
    if values[0] <= top // 4 and values[-1] >= top * 3 // 4:
        return _white_on_black(gray)
    some = ", ".join(map(str, values[:4]))
    raise InputError(f"has no background with value 0 (its values are {some}): {_ANY_ID}")


def _white_on_black(gray: Values) -> Labels:
    lowest, highest = int(gray.min()), int(gray.max())
    middle = lowest + (highest - lowest) / 2
    quarter = (highest - lowest) / 4
    unclear = np.mean(np.abs(gray - middle) < quarter)
    if unclear > 0.55:  # only the edges of a blurred mask, but most of a photo
        raise InputError(f"looks like a photo, not a mask: {_WHITE}")
    white = gray > middle
    check_not_inverted(white)
    return Labels(white.astype(np.int64))


def check_not_inverted(white: Bitmap) -> None:
    """Refuse a mask that is probably the background.

    Raises:
        InputError: the mask covers the whole border and more than half of the image.
    """
    border = white[0].all() and white[-1].all() and white[:, 0].all() and white[:, -1].all()
    if white.all():
        raise InputError(
            "is white everywhere, so the whole image would be the object: paint the background "
            "black"
        )
    if border and white.mean() > 0.5:
        raise InputError(
            f"is white on {white.mean():.0%} of the image and along its whole border: use --invert "
            "if the object is black, or --mask-color white if it is white"
        )


def has_soft_edges(gray: Values) -> bool:
    """Whether some values form lines between lower and higher ones, or are too many for ids."""
    values = [int(v) for v in np.unique(gray)]
    return len(values) > MANY_VALUES or any(_is_edge(gray, v) for v in values[1:-1])


def check_areas(indices: Values) -> None:
    """Refuse a palette image that was made from an image with soft edges.

    Raises:
        InputError: several indices form lines only, and more of them than form areas.
    """
    used = [int(v) for v in np.unique(indices) if v]
    lines = [v for v in used if not fills(indices == v, _LINE)]
    if len(lines) >= _FEW and 2 * len(lines) >= len(used):
        raise InputError(
            f"has {len(used)} colors, of which {len(lines)} form only lines, like soft edges: "
            f"{_WHITE}"
        )


def without_void(indices: Values) -> Labels:
    """The ids of a palette image, where 255 may be an object or void.

    Raises:
        InputError: 255 fills an area, and there are other ids.
    """
    used = [int(v) for v in np.unique(indices) if v]
    if used == [VOID]:
        return Labels(np.where(indices == VOID, 1, 0))
    if VOID not in used:
        return Labels(indices)
    return _ids_or_white(indices, used[:-1], VOID)


def fills(mask: Bitmap, side: int) -> bool:
    """Whether the mask contains a square of `side` pixels, which may extend beyond the image."""
    kernel = np.ones((side, side), np.uint8)
    return bool(cv2.erode(mask.astype(np.uint8), kernel, borderValue=1).any())


def _is_edge(gray: Values, value: int) -> bool:
    """Whether this value forms lines between lower and higher ones. Large images are sampled."""
    stride = max(1, math.ceil(math.sqrt(gray.size / _MAX_EXAMINED)))
    gray = gray[::stride, ::stride]
    here = gray == value
    if not here.any():
        return True
    if fills(here, _AREA):
        return False
    kernel = np.ones((_NEAR, _NEAR), np.uint8)
    lower, higher = (
        cv2.dilate(side.astype(np.uint8), kernel)[here] for side in (gray < value, gray > value)
    )
    return bool(np.mean(lower & higher) >= 0.5)
