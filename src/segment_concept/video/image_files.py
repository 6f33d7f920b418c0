"""Single image files: which formats are read, how large a picture is, and its pixels."""

import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Picture
from PIL import ImageOps

from segment_concept.runtime.limits import check_pixels, check_regular_file
from segment_concept.types import Image, InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".avif", ".jp2")
# Images that people have and that are not read: high dynamic range, raw photos.
OTHERS = (".exr", ".dpx", ".cin", ".hdr", ".heic", ".heif", ".psd", ".dng", ".cr2", ".nef", ".arw")
_MOST_BYTES = 1 << 30


def conversion(path: Path) -> str:
    """How to convert images of a format that is not read, with the names of this one."""
    number = "".join("#" if c.isdigit() else c for c in path.stem)
    width = len(number) - len(number.rstrip("#"))
    name = path.name
    if width:
        name = f"{path.stem[: len(path.stem) - width]}%0{width}d{path.suffix}"
    return f"convert them first, for example with: ffmpeg -i {name} frames/%05d.png"


def image_size(path: Path) -> tuple[int, int] | None:
    """(H, W) as stored, from the file's header; None if it cannot be read.

    Raises:
        InputError: it has more pixels than can be processed, or is no regular file.
    """
    check_regular_file(path, "image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about damaged metadata
            with Picture.open(path) as picture:
                width, height = picture.size
    except Picture.DecompressionBombError:
        raise InputError(f"{path} has too many pixels: make it smaller") from None
    except Exception:  # readers of formats raise nearly anything where a file is damaged
        return None
    check_pixels(width, height, path)
    return height, width


def read_image(path: Path) -> Image | None:
    """(H, W, 3) RGB, rotated as its EXIF data say; None if it is damaged.

    Raises:
        InputError: it has more pixels than can be processed, or is no regular file.
    """
    size = image_size(path)
    if size is None or path.stat().st_size > _MOST_BYTES:
        return None
    data = np.fromfile(path, np.uint8)
    try:
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        bgr = None
    if bgr is None:
        return _by_pillow(path)  # which reads formats that this OpenCV does not
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _by_pillow(path: Path) -> Image | None:
    try:
        with Picture.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"), np.uint8)
    except Exception:  # as above
        return None
