"""Masks as the page gets and sends them: run lengths in row order, as LEB128 numbers.

A mask is a list of runs that begins with background and adds up to width * height. In a reply
every object is one byte (its id), a score (float32, little endian) and its runs; the next object
begins where the runs add up.
"""

import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from segment_concept.types import Bitmap, InputError

_DATA, _MORE = 0x7F, 0x80
_LONGEST = 5  # bytes of one number: 35 bits


def encode_runs(mask: Bitmap) -> bytes:
    """The runs of a (H, W) mask."""
    pixels = np.ascontiguousarray(mask).ravel()
    edges = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    runs = np.diff(np.concatenate(([0], edges, [len(pixels)])))
    return _leb128(np.concatenate(([0], runs)) if pixels[0] else runs)


def decode_runs(content: bytes, size: tuple[int, int]) -> Bitmap:
    """The (H, W) mask of runs.

    Raises:
        InputError: they are damaged, or belong to a mask of another size.
    """
    height, width = size
    runs = _numbers(content)
    if not len(runs) or int(runs.sum()) != height * width:
        raise InputError(
            f"the runs of the mask add up to {int(runs.sum())} pixels, and the video has "
            f"{width}x{height}: send the mask in the size of the video"
        )
    values = (np.arange(len(runs)) & 1).astype(np.bool_)
    mask: Bitmap = np.repeat(values, runs).reshape(height, width)
    return mask


def empty_runs(size: tuple[int, int]) -> bytes:
    """The runs of a (H, W) mask without a foreground pixel."""
    return _leb128(np.array([size[0] * size[1]], np.int64))


def pack_masks(masks: Iterable[tuple[int, float, bytes]]) -> bytes:
    """The reply that holds some objects: id, score, runs."""
    return b"".join(struct.pack("<Bf", i, score) + runs for i, score, runs in masks)


def _leb128(values: NDArray[np.int64]) -> bytes:
    left = values.astype(np.int64)
    columns = []
    going = np.ones(len(left), np.bool_)
    while going.any():
        more = left > _DATA
        columns.append(np.where(going, (left & _DATA) | np.where(more, _MORE, 0), -1))
        left >>= 7
        going &= more
    found = np.stack(columns, axis=1).ravel()
    return found[found >= 0].astype(np.uint8).tobytes()


def _numbers(content: bytes) -> NDArray[np.int64]:
    if not content:
        return np.zeros(0, np.int64)
    data = np.frombuffer(content, np.uint8).astype(np.int64)
    if data[-1] & _MORE:
        raise InputError("the runs of the mask end within a number: send all of them")
    ends = np.flatnonzero(data < _MORE)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST:
        raise InputError("a run of the mask is longer than any video: send runs of pixels")
    shifts = 7 * (np.arange(len(data)) - np.repeat(starts, lengths))
    return np.add.reduceat((data & _DATA) << shifts, starts)
