"""A short cut for the masks most tools write: 8-bit PNG without row filters.

Such a file, once inflated, is a byte string of its pixels and needs no decoding at all.
"""

import struct
import zlib
from collections.abc import Callable
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from segment_concept.types import InputError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")  # width, height, depth, colour, compression, filter, interlace
_CHUNK = struct.Struct(">I4s")
_HEADER_AT = 16
_GREY, _PALETTE = 0, 3


def _fastest_inflate() -> Callable[[bytes], bytes]:
    """zlib-ng where it is installed: about ten times faster on masks, with the same answer."""
    try:
        inflate: Callable[[bytes], bytes] = import_module("zlib_ng.zlib_ng").decompress
    except ImportError:
        return zlib.decompress
    return inflate


_inflate = _fastest_inflate()


def png_size(data: bytes) -> tuple[int, int]:
    """(H, W) of a PNG file from its first bytes.

    Raises:
        InputError: the bytes are not the start of a PNG file.
    """
    if not data.startswith(_SIGNATURE) or len(data) < _HEADER_AT + _HEADER.size:
        raise InputError("not a PNG file, or cut off at its start")
    width, height = struct.unpack_from(">II", data, _HEADER_AT)
    return height, width


def is_grey(data: bytes) -> bool:
    """Whether the PNG file holds one grey value of 8 bits a pixel."""
    _, _, depth, colour, _, _, _ = _HEADER.unpack_from(data, _HEADER_AT)
    return bool(depth == 8 and colour == _GREY)


def unfiltered_pixels(data: bytes) -> NDArray[np.uint8] | None:
    """The (H, W) grey values or palette indices of a PNG file, or None where it is not plain.

    Plain is 8 bits a pixel, grey or palette, not interlaced, no row filtered. Read-only.

    Raises:
        zlib.error: the compressed data is damaged.
        InputError: the file is cut off.
    """
    width, height, depth, colour, _, _, interlaced = _HEADER.unpack_from(data, _HEADER_AT)
    if depth != 8 or colour not in (_GREY, _PALETTE) or interlaced:
        return None
    # Grey files are nearly always row-filtered: without a fast inflate, looking does not pay.
    if colour == _GREY and _inflate is zlib.decompress:
        return None
    raw = np.frombuffer(_inflate(_image_data(data)), np.uint8)
    if raw.size != height * (width + 1):
        raise InputError("the file holds fewer pixels than its header says")
    rows = raw.reshape(height, width + 1)
    return None if rows[:, 0].any() else rows[:, 1:]


def _image_data(data: bytes) -> bytes:
    parts = []
    at = len(_SIGNATURE)
    while at + _CHUNK.size <= len(data):
        length, kind = _CHUNK.unpack_from(data, at)
        start = at + _CHUNK.size
        if kind == b"IDAT":
            parts.append(data[start : start + length])
        elif kind == b"IEND":
            return parts[0] if len(parts) == 1 else b"".join(parts)
        at = start + length + 4  # and the checksum; the inflated data carries its own
    raise InputError("the file is cut off")
