"""Writing files whole or not at all, and masks as PNG files."""

import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from segment_concept.types import Bitmap
from segment_concept.video.draw import PALETTE

_FLAT_PALETTE = PALETTE.tobytes()
_FAST = 1  # zlib's level: masks are nearly as small, and written five times faster, than at 6


def write_whole(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        OSError: the disk is full, or such; what was there before is still there.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def palette_png(labels: NDArray[np.uint8]) -> bytes:
    """A label map (H, W) as DAVIS writes it: object ids, shown in its colours."""
    picture = Picture.fromarray(labels)
    picture.putpalette(_FLAT_PALETTE)
    return _png(picture)


def grey_png(grey: NDArray[np.uint8]) -> bytes:
    """(H, W) grey values."""
    return _png(Picture.fromarray(grey))


def mask_png(mask: Bitmap) -> bytes:
    """One object's mask (H, W): 255 on the object, 0 elsewhere."""
    return grey_png(np.ascontiguousarray(mask).view(np.uint8) * np.uint8(255))


def _png(picture: Picture.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=_FAST)
    return buffer.getvalue()
