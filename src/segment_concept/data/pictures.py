"""A video's pictures on disk."""

from pathlib import Path

from segment_concept.types import Image, InputError
from segment_concept.video.images import read_image


def read_picture(path: Path) -> Image:
    """(H, W, 3) RGB.

    Raises:
        InputError: the file is missing, unreadable or damaged; it is named.
    """
    try:
        rgb = read_image(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if rgb is None:
        raise InputError(f"{path} cannot be read as an image: it is damaged; replace it")
    return rgb
