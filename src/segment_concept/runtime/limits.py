"""Limits on what is read: regular files, of bounded size, and pictures of bounded size.

A few bytes can ask for gigabytes: a device that never ends, a pipe that nobody writes to, an image
header that claims a billion pixels. JSON is read by `json_files`.
"""

import os
import stat
from pathlib import Path

from segment_concept.types import InputError

MAX_TEXT_BYTES = 1 << 30  # the annotations of YouTube-VOS 2019 (valid) have 500 MB
MAX_PIXELS = 64_000_000  # of one picture: twice 8K video (7680 x 4320)
MAX_SIDE = 65_535  # the longest side that JPEG and most encoders can write


def check_regular_file(path: Path, what: str = "file") -> int:
    """The size in bytes of a file that can be read from its beginning to its end.

    Args:
        path: the file.
        what: what it should be, for messages: "video file", "mask".

    Raises:
        InputError: it is missing, or a folder, device or pipe.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise InputError(f"there is no {what} {path}: check the name") from None
    except (OSError, ValueError) as error:  # a name too long, or with a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"the {what} {str(path)!r} cannot be read ({reason})") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder: expected a {what}")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is a device or a pipe: expected a regular {what}")
    return status.st_size


def read_bytes(path: Path, what: str = "file", most: int = MAX_TEXT_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        InputError: it is missing, no regular file, larger than `most` bytes, or unreadable.
    """
    size = check_regular_file(path, what)
    if size > most:
        raise InputError(f"{path} is too large for a {what}: {size} bytes, of at most {most}")
    try:
        with open(path, "rb") as file:
            return file.read(most + 1)  # a file in /proc has no size, and content nevertheless
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error


def read_text(path: Path, what: str = "text file", most: int = MAX_TEXT_BYTES) -> str:
    """The content of a UTF-8 text file, without a byte order mark.

    Raises:
        InputError: as `read_bytes`, or it is not UTF-8.
    """
    try:
        return read_bytes(path, what, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is no text in UTF-8 (byte {error.start} is not): expected a {what}"
        ) from error


def check_pixels(width: int, height: int, where: object) -> None:
    """Refuse a picture that nobody can have meant, before memory is spent on it.

    Raises:
        InputError: it has more than `MAX_PIXELS` pixels, or a side longer than `MAX_SIDE`.
    """
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise InputError(
            f"{where} is {width}x{height} pixels, more than can be processed (up to "
            f"{MAX_PIXELS // 1_000_000} million pixels and {MAX_SIDE} a side): make it smaller"
        )
