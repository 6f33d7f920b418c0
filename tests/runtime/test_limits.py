"""What is read is bounded, and what is wrong with it is said in a sentence."""

import os
from pathlib import Path

import pytest

from segment_concept.runtime.limits import (
    check_pixels,
    check_regular_file,
    read_bytes,
    read_text,
)
from segment_concept.types import InputError


def test_the_size_of_a_regular_file_is_known(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert check_regular_file(tmp_path / "a") == 5


def test_a_special_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(InputError, match="is a device or a pipe: expected a regular mask"):
            check_regular_file(path, "mask")
    with pytest.raises(InputError, match="is a folder"):
        read_bytes(tmp_path)
    with pytest.raises(InputError, match=r"there is no mask .*none: check the name"):
        read_bytes(tmp_path / "none", "mask")


@pytest.mark.parametrize("name", ["a\0b", "a" * 5000])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_bytes(Path(name))


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", most=5) == b"12345"
    with pytest.raises(InputError, match="too large for a cut list: 5 bytes, of at most 4"):
        read_bytes(tmp_path / "a", "cut list", most=4)


def test_text_is_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("\ufeffgrün".encode())
    assert read_text(tmp_path / "a") == "grün"
    (tmp_path / "a").write_bytes("grün".encode("latin-1"))
    with pytest.raises(InputError, match=r"no text in UTF-8 \(byte 2 is not\)"):
        read_text(tmp_path / "a")


@pytest.mark.parametrize("size", [(7680, 4320), (8000, 8000), (65_535, 4)])
def test_large_pictures_are_taken(size: tuple[int, int]) -> None:
    check_pixels(*size, "a.png")


@pytest.mark.parametrize("size", [(14_000, 14_000), (100_000, 100_000), (70_000, 1)])
def test_a_picture_that_nobody_can_have_meant_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"a\.png is \d+x\d+ pixels, more than can be processed"):
        check_pixels(*size, "a.png")
