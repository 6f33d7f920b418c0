"""Mask files: PNG label maps with an object id per pixel, or masks of one object."""

import io
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from segment_concept.ops.png import is_gray, png_size, quick_pixels
from segment_concept.runtime.limits import MAX_PIXELS, read_bytes
from segment_concept.types import Image, InputError
from segment_concept.video.image_files import read_image

Labels = NDArray[np.integer]  # (H, W) object ids, 0 = background
SUFFIX = ".png"
_ID_MODES = ("P", "L", "1", "I", "I;16", "I;16B", "I;16L")
_LARGEST_FILE = 1 << 28  # bytes


def read_labels(path: Path) -> Labels:
    """The (H, W) object ids of a palette, gray (8 or 16 bit) or black-and-white PNG file.

    Raises:
        InputError: the file is missing, unreadable, cut off, or a color image.
    """
    data = read_bytes(path, "mask", _LARGEST_FILE)
    try:
        height, width = png_size(data)  # raises for other file types
        if height * width > MAX_PIXELS:
            raise InputError(f"its header claims {width}x{height} pixels")
        quick = quick_pixels(data)
        if quick is not None:
            return quick
        return _decode_gray(data) if is_gray(data) else _decode(data)
    except (struct.error, OSError, SyntaxError, ValueError) as error:
        # InputError is a ValueError; Pillow raises SyntaxError for broken PNG chunks.
        raise InputError(f"{path} cannot be read as a mask: {error}") from error


def _decode_gray(data: bytes) -> Labels:
    """Decode gray values with OpenCV, which needs no copy, unlike Pillow.

    It cannot read palette files, because it converts their indices to colors.
    """
    labels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.ndim != 2 or labels.dtype != np.uint8:
        raise InputError("its pixels are damaged or cut off")
    return cast(Labels, labels)


def _decode(data: bytes) -> Labels:
    try:
        with Picture.open(io.BytesIO(data)) as image:
            if image.mode not in _ID_MODES:
                raise InputError(
                    f"it is a {image.mode} image with {len(image.getbands())} channels, where "
                    "one object id per pixel is expected; write palette or gray PNG files (for an "
                    "image of palette colors: map each color back to its id)"
                )
            labels: Labels = np.asarray(image.convert("L") if image.mode == "1" else image)
            if image.mode == "1":
                labels = np.minimum(labels, 1)
    except UnidentifiedImageError as error:
        raise InputError("it is not an image (damaged, or another kind of file)") from error
    return labels.astype(labels.dtype.newbyteorder("="), copy=False)


class Layer(Protocol):
    """Masks by frame: of one object, or label maps of several.

    `object_name` is the name of the object in the dataset, or "" for label maps; `frames` are the
    frame names in the order of the dataset, without suffix.
    """

    @property
    def object_name(self) -> str: ...

    @property
    def frames(self) -> tuple[str, ...]: ...

    def read(self, frame: str) -> Labels:
        """(H, W) ids; the mask of one object has id 1. Raises InputError naming the file."""
        ...

    def where(self, frame: str) -> str:
        """Location of a frame's mask, for messages."""
        ...


@dataclass(frozen=True)
class PngLayer:
    """A folder with one PNG file per frame; `object_name` "" means label maps.

    Frames are sorted by name, as in every evaluator except that of MOSE v2.
    """

    folder: Path
    object_name: str = ""

    @cached_property
    def frames(self) -> tuple[str, ...]:
        """Names without suffix; hidden files and other file types are left out."""
        return tuple(name[: -len(SUFFIX)] for name in self.listing if not _is_stray(name))

    @cached_property
    def listing(self) -> tuple[str, ...]:
        """All names in the folder, sorted; empty if the folder is missing."""
        if not self.folder.is_dir():
            return ()
        return tuple(sorted(entry.name for entry in self.folder.iterdir()))

    @cached_property
    def extra_files(self) -> tuple[str, ...]:
        """Names that are not masks."""
        return tuple(name for name in self.listing if _is_stray(name))

    def read(self, frame: str) -> Labels:
        """(H, W) ids; in a layer of one object, 1 wherever the file is not 0."""
        labels = read_labels(self.folder / (frame + SUFFIX))
        return (labels != 0).view(np.uint8) if self.object_name else labels

    def where(self, frame: str) -> str:
        """Path of the file."""
        return str(self.folder / (frame + SUFFIX))


def _is_stray(name: str) -> bool:
    return name.startswith(".") or not name.endswith(SUFFIX)


def read_picture(path: Path) -> Image:
    """(H, W, 3) RGB.

    Raises:
        InputError: the file is missing, unreadable or damaged; the message names it.
    """
    try:
        rgb = read_image(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if rgb is None:
        raise InputError(f"{path} cannot be read as an image: it is damaged; replace it")
    return rgb
