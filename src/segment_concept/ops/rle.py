"""COCO's run-length encoding of masks: runs in column order, and their compressed text.

Each character has 5 bits, lowest first, in two's complement; the sixth bit is set if more follow,
and 48 is added to make it printable. From the fourth run on, the difference to the run before the
last is written (`rleToString` in COCO's `maskApi.c`).
"""

import numpy as np
from numpy.typing import NDArray

from segment_concept.runtime.limits import MAX_PIXELS
from segment_concept.types import Bitmap, InputError

_FIRST_CHARACTER = 48
_DATA_BITS, _SIGN, _MORE = 0x1F, 0x10, 0x20


def encode_rle(mask: Bitmap) -> str:
    """Encode a (H, W) mask as COCO's compressed text."""
    return counts_to_text(runs_of(mask))


def decode_rle(counts: str, size: tuple[int, int]) -> Bitmap:
    """Decode the text of `encode_rle` to a (H, W) mask.

    Raises:
        InputError: the text is damaged or belongs to a mask of another size.
    """
    return mask_of_runs(text_to_counts(counts), size)


def mask_of_runs(runs: NDArray[np.int64], size: tuple[int, int]) -> Bitmap:
    """The (H, W) mask of run lengths in column order; the first run is background.

    Raises:
        InputError: the runs do not add up to a mask of this size, or no mask is so large.
    """
    height, width = size
    if min(size) < 0 or height * width > MAX_PIXELS:
        raise InputError(f"a mask of {width}x{height} pixels is not possible")
    outside = (runs < 0) | (runs > height * width)
    if outside.any() or int(runs.sum()) != height * width:
        raise InputError(f"the runs add up to {runs.sum()} pixels, expected {width}x{height}")
    values = (np.arange(len(runs)) & 1).astype(np.bool_)
    mask: Bitmap = np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)
    return mask


def runs_of(mask: Bitmap) -> NDArray[np.int64]:
    """Run lengths of a (H, W) mask in column order; the first run is background."""
    pixels = np.ascontiguousarray(mask.T).ravel()
    if not len(pixels):
        return np.zeros(0, np.int64)
    edges = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    runs = np.diff(np.concatenate(([0], edges, [len(pixels)])))
    return np.concatenate(([0], runs)) if pixels[0] else runs


def counts_to_text(runs: NDArray[np.int64]) -> str:
    """Run lengths as COCO's compressed text."""
    left = runs.astype(np.int64)
    left[3:] -= runs[1:-2]
    columns: list[NDArray[np.int64]] = []
    going = np.ones(len(left), np.bool_)
    while going.any():
        bits = left & _DATA_BITS
        left >>= 5
        more = np.where(bits & _SIGN, left != -1, left != 0)
        columns.append(np.where(going, bits + _MORE * more + _FIRST_CHARACTER, 0))
        going &= more
    characters = np.stack(columns, axis=1).ravel() if columns else np.zeros(0, np.int64)
    return characters[characters > 0].astype(np.uint8).tobytes().decode("ascii")


def text_to_counts(text: str) -> NDArray[np.int64]:
    """Run lengths of COCO's compressed text.

    Raises:
        InputError: the text ends within a number or has an invalid character.
    """
    if not text:
        return np.zeros(0, np.int64)
    bits = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if ((bits < 0) | (bits > _MORE + _DATA_BITS)).any():
        raise InputError("the run-length text holds a character that no COCO tool writes")
    if bits[-1] & _MORE:
        raise InputError("the run-length text ends within a number")
    ends = np.flatnonzero((bits & _MORE) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    shifts = 5 * (np.arange(len(bits)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((bits & _DATA_BITS) << shifts, starts)
    runs -= np.where(bits[ends] & _SIGN, np.int64(1) << (5 * lengths), 0)
    for first in (1, 2):  # undo the differences, separately for odd and even runs
        runs[first::2] = np.cumsum(runs[first::2])
    return runs
