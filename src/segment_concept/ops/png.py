"""PNG files of masks: writing, headers, and fast reading with zlib-ng (the extra `fast`).

zlib-ng inflates masks about ten times faster than zlib, so that decoding the rows here is faster
than Pillow or OpenCV. Without it they are equally fast, and are used instead.
"""

import io
import struct
from importlib import import_module
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from segment_concept.ops.color import PALETTE
from segment_concept.types import Bitmap, InputError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")  # width, height, depth, color, compression, filter, interlace
_CHUNK = struct.Struct(">I4s")
_HEADER_AT = 16
_GRAY, _PALETTE = 0, 3  # color types
_SUB, _UP, _PAETH = 1, 2, 4  # row filters; 0 is none, 3 the average of the left and upper pixel
_STORE = 0  # compression level


def _import_zlib_ng() -> Any:
    """The module, or None if it is not installed."""
    try:
        return import_module("zlib_ng.zlib_ng")
    except ImportError:
        return None


_zlib_ng = _import_zlib_ng()


def png_size(data: bytes) -> tuple[int, int]:
    """(H, W) of a PNG file from its first bytes.

    Raises:
        InputError: the bytes are not the start of a PNG file.
    """
    if not data.startswith(_SIGNATURE) or len(data) < _HEADER_AT + _HEADER.size:
        raise InputError("not a PNG file, or cut off at its start")
    width, height = struct.unpack_from(">II", data, _HEADER_AT)
    return height, width


def is_gray(data: bytes) -> bool:
    """Whether the PNG file has one gray value of 8 bits per pixel."""
    _, _, depth, color, _, _, _ = _HEADER.unpack_from(data, _HEADER_AT)
    return bool(depth == 8 and color == _GRAY)


def quick_pixels(data: bytes) -> NDArray[np.uint8] | None:
    """The (H, W) gray values or palette indices of a PNG file; may be read-only.

    None if zlib-ng is not installed, a pixel is not one byte, or rows are interlaced: use another
    decoder.

    Raises:
        InputError: the file is cut off, or its pixels are damaged.
    """
    width, height, depth, color, _, _, interlaced = _HEADER.unpack_from(data, _HEADER_AT)
    if _zlib_ng is None or depth != 8 or color not in (_GRAY, _PALETTE) or interlaced:
        return None
    try:
        raw = np.frombuffer(_zlib_ng.decompress(_image_data(data)), np.uint8)
    except _zlib_ng.error as error:
        raise InputError(f"its pixels are damaged ({error})") from error
    if raw.size != height * (width + 1):
        raise InputError("the file holds fewer pixels than its header says")
    rows = raw.reshape(height, width + 1)
    return _unfiltered(rows) if rows[:, 0].any() else rows[:, 1:]


def _unfiltered(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The (H, W) bytes of filtered rows (H, 1 + W), whose first byte is the filter.

    OpenCV's libpng undoes the filters of an uncompressed file with these rows. Rows that repeat
    the row above (most rows of a mask) are left out and copied.
    """
    kept = ~_repeats(rows)
    pixels = cv2.imdecode(np.frombuffer(_as_stored(rows[kept]), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape != (np.count_nonzero(kept), rows.shape[1] - 1):
        raise InputError("its pixels are damaged")
    return cast("NDArray[np.uint8]", pixels[np.cumsum(kept) - 1])


def _repeats(rows: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H,) bool: rows known to equal the row above from their filtered bytes."""
    filters = rows[:, 0]
    calm = ~rows[:, 1:].any(axis=1)
    # Up and Paeth add to the row above (if nothing is added, Paeth predicts exactly that row).
    repeats: NDArray[np.bool_] = calm & ((filters == _UP) | (filters == _PAETH))
    # None and Sub add to zero.
    black = calm & (filters <= _SUB)
    repeats[1:] |= black[1:] & black[:-1]
    repeats[0] = False
    return repeats


def _as_stored(rows: NDArray[np.uint8]) -> bytes:
    """An uncompressed gray PNG file with these filtered rows."""
    height, width = rows.shape[0], rows.shape[1] - 1
    header = _HEADER.pack(width, height, 8, _GRAY, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", _zlib_ng.compress(rows, _STORE)), (b"IEND", b""))
    parts = [_SIGNATURE]
    for kind, content in chunks:
        checksum = _zlib_ng.crc32(content, _zlib_ng.crc32(kind))
        parts += [_CHUNK.pack(len(content), kind), content, checksum.to_bytes(4, "big")]
    return b"".join(parts)


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
        at = start + length + 4  # plus the checksum; the compressed data has its own
    raise InputError("the file is cut off")


_FLAT_PALETTE = PALETTE.tobytes()
_FAST = 1  # zlib level: masks are written five times faster than at 6 and are nearly as small


def palette_png(labels: NDArray[np.uint8]) -> bytes:
    """PNG file of a label map (H, W) in the palette of DAVIS."""
    picture = Picture.fromarray(labels)
    picture.putpalette(_FLAT_PALETTE)
    return _png(picture)


def gray_png(gray: NDArray[np.uint8]) -> bytes:
    """PNG file of (H, W) gray values."""
    return _png(Picture.fromarray(gray))


def mask_png(mask: Bitmap) -> bytes:
    """PNG file of one object's mask (H, W): 255 on the object, 0 elsewhere."""
    return gray_png(np.ascontiguousarray(mask).view(np.uint8) * np.uint8(255))


def _png(picture: Picture.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=_FAST)
    return buffer.getvalue()
