"""Short cuts for the masks most tools write: PNG with a byte a pixel.

Without row filters such a file, once inflated, is a byte string of its pixels and needs no decoding
at all. With them, a fast inflate is worth more than a decoder that does everything.
"""

import io
import struct
import zlib
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import cast

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
_GREY, _PALETTE = 0, 3  # kinds of color
_SUB, _UP, _PAETH = 1, 2, 4  # row filters; 0 is none, 3 the average of the pixels left and above
_STORE = 0  # level of compression


def _fastest_zlib() -> ModuleType:
    """zlib-ng where it is installed: about ten times faster on masks, with the same answer."""
    try:
        return import_module("zlib_ng.zlib_ng")
    except ImportError:
        return zlib


_fastest = _fastest_zlib()
_inflate: Callable[[bytes], bytes] = _fastest.decompress
_deflate: Callable[[NDArray[np.uint8], int], bytes] = _fastest.compress
_checksum: Callable[..., int] = _fastest.crc32


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
    """Whether the PNG file holds one gray value of 8 bits a pixel."""
    _, _, depth, color, _, _, _ = _HEADER.unpack_from(data, _HEADER_AT)
    return bool(depth == 8 and color == _GREY)


def quick_pixels(data: bytes) -> NDArray[np.uint8] | None:
    """The (H, W) gray values or palette indices of a PNG file, or None where others are quicker.

    That is where a pixel is not one byte, where rows are interlaced, and, without a fast inflate,
    where rows are filtered or the file is gray. May be read-only.

    Raises:
        InputError: the file is cut off, or its pixels are damaged.
    """
    width, height, depth, color, _, _, interlaced = _HEADER.unpack_from(data, _HEADER_AT)
    if depth != 8 or color not in (_GREY, _PALETTE) or interlaced:
        return None
    # Gray files are nearly always row-filtered: without a fast inflate, looking does not pay.
    if color == _GREY and not _is_fast():
        return None
    try:
        raw = np.frombuffer(_inflate(_image_data(data)), np.uint8)
    except _fastest.error as error:
        raise InputError(f"its pixels are damaged ({error})") from error
    if raw.size != height * (width + 1):
        raise InputError("the file holds fewer pixels than its header says")
    rows = raw.reshape(height, width + 1)
    if not rows[:, 0].any():
        return rows[:, 1:]
    return _unfiltered(rows) if _is_fast() else None


def _is_fast() -> bool:
    return _inflate is not zlib.decompress


def _unfiltered(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The (H, W) bytes behind filtered rows (H, 1 + W), of which the first byte is the filter.

    The filters are undone by OpenCV's libpng, from a file that holds the rows as they are and so
    costs no inflating, and not those that merely repeat the row above: most rows of a mask.
    """
    kept = ~_repeats(rows)
    pixels = cv2.imdecode(np.frombuffer(_as_stored(rows[kept]), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape != (np.count_nonzero(kept), rows.shape[1] - 1):
        raise InputError("its pixels are damaged")
    return cast("NDArray[np.uint8]", pixels[np.cumsum(kept) - 1])


def _repeats(rows: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H,) which rows are equal to the one above, as far as their filtered bytes tell cheaply."""
    filters = rows[:, 0]
    calm = ~rows[:, 1:].any(axis=1)
    # Up and Paeth add to the row above (Paeth predicts exactly it, as long as nothing is added).
    repeats: NDArray[np.bool_] = calm & ((filters == _UP) | (filters == _PAETH))
    # None and Sub add to zero.
    black = calm & (filters <= _SUB)
    repeats[1:] |= black[1:] & black[:-1]
    repeats[0] = False
    return repeats


def _as_stored(rows: NDArray[np.uint8]) -> bytes:
    """A gray PNG file with these filtered rows, not compressed."""
    height, width = rows.shape[0], rows.shape[1] - 1
    header = _HEADER.pack(width, height, 8, _GREY, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", _deflate(rows, _STORE)), (b"IEND", b""))
    parts = [_SIGNATURE]
    for kind, content in chunks:
        checksum = _checksum(content, _checksum(kind))
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
        at = start + length + 4  # and the checksum; the inflated data carries its own
    raise InputError("the file is cut off")


_FLAT_PALETTE = PALETTE.tobytes()
_FAST = 1  # zlib's level: masks are nearly as small, and written five times faster, than at 6


def palette_png(labels: NDArray[np.uint8]) -> bytes:
    """A label map (H, W) as DAVIS writes it: object ids, shown in its colors."""
    picture = Picture.fromarray(labels)
    picture.putpalette(_FLAT_PALETTE)
    return _png(picture)


def gray_png(gray: NDArray[np.uint8]) -> bytes:
    """(H, W) gray values."""
    return _png(Picture.fromarray(gray))


def mask_png(mask: Bitmap) -> bytes:
    """One object's mask (H, W): 255 on the object, 0 elsewhere."""
    return gray_png(np.ascontiguousarray(mask).view(np.uint8) * np.uint8(255))


def _png(picture: Picture.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=_FAST)
    return buffer.getvalue()
