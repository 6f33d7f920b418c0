"""Reading masks: every way a PNG can hold ids, and every way it can be broken."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segment_concept.datasets.masks import PngLayer, read_labels
from segment_concept.ops import png
from segment_concept.types import InputError

IDS = np.array([[0, 1, 2, 0], [3, 3, 0, 1], [0, 2, 2, 2]], np.uint8)


def write_palette(path: Path, ids: NDArray[np.uint8], **options: int) -> Path:
    image = Image.fromarray(ids, "L").convert("P")
    image.putdata(ids.ravel().tolist())
    image.putpalette(list(range(256)) * 3)
    image.save(path, **options)
    return path


def write_raw_png(path: Path, rows: bytes, depth: int, color: int, size: tuple[int, int]) -> Path:
    """A PNG of exactly these filtered rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", size[1], size[0], depth, color, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


def test_a_palette_file_gives_its_indices(tmp_path: Path) -> None:
    assert (read_labels(write_palette(tmp_path / "m.png", IDS)) == IDS).all()


@pytest.mark.parametrize("bits", [2, 4])
def test_a_palette_of_few_colors_gives_its_indices(tmp_path: Path, bits: int) -> None:
    assert (read_labels(write_palette(tmp_path / "m.png", IDS, bits=bits)) == IDS).all()


def test_a_gray_file_gives_its_values(tmp_path: Path) -> None:
    Image.fromarray(IDS, "L").save(tmp_path / "m.png")
    assert (read_labels(tmp_path / "m.png") == IDS).all()


def test_ids_beyond_255_are_read_from_16_bits(tmp_path: Path) -> None:
    wide = IDS.astype(np.uint16) * 300
    Image.fromarray(wide).save(tmp_path / "m.png")
    assert (read_labels(tmp_path / "m.png") == wide).all()


def test_a_black_and_white_file_gives_object_1(tmp_path: Path) -> None:
    Image.fromarray(IDS > 0).convert("1").save(tmp_path / "m.png")
    assert (read_labels(tmp_path / "m.png") == (IDS > 0)).all()


def filtered(ids: NDArray[np.uint8], filters: NDArray[np.uint8]) -> bytes:
    """The rows of a PNG file, each by a filter of its own, as the PNG specification says it."""
    x = np.pad(ids.astype(int), ((1, 0), (1, 0)))
    above, left, corner = x[:-1, 1:], x[1:, :-1], x[:-1, :-1]
    guess = above + left - corner
    nearest = np.argmin([abs(guess - left), abs(guess - above), abs(guess - corner)], axis=0)
    paeth = np.choose(nearest, [left, above, corner])
    predicted = np.stack([0 * left, left, above, (left + above) // 2, paeth])
    rows = ids - predicted[filters, np.arange(len(ids))]
    return np.hstack([filters[:, None], rows % 256]).astype(np.uint8).tobytes()


@pytest.fixture(params=["without", "with"])
def _zlib_ng(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without zlib-ng, and with it: zlib has the same functions."""
    monkeypatch.setattr(png, "_zlib_ng", zlib if request.param == "with" else None)


@pytest.mark.usefixtures("_zlib_ng")
@pytest.mark.parametrize("color", [0, 3], ids=["gray", "palette"])
@pytest.mark.parametrize("filters", [(0,), (1,), (2,), (3,), (4,), (0, 1, 2, 4), (0, 1, 2, 3, 4)])
def test_row_filters_make_no_difference(
    tmp_path: Path, filters: tuple[int, ...], color: int
) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        ids = np.zeros((24, 17), np.uint8)
        for _ in range(seed):  # none, then ever more rectangles, which leave rows equal
            y, x = rng.integers(0, 20), rng.integers(0, 14)
            ids[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = rng.choice([1, 2, 255])
        rows = filtered(ids, rng.choice(filters, len(ids)).astype(np.uint8))
        path = write_raw_png(tmp_path / "m.png", rows, 8, color, (24, 17))
        np.testing.assert_array_equal(read_labels(path), ids)


@pytest.mark.usefixtures("_zlib_ng")
def test_an_unknown_row_filter_is_damage(tmp_path: Path) -> None:
    rows = b"".join(bytes([9]) + row.tobytes() for row in IDS)
    path = write_raw_png(tmp_path / "m.png", rows, 8, 0, (3, 4))
    with pytest.raises(InputError, match="damaged"):
        read_labels(path)


def test_the_layer_of_one_object_is_1_wherever_the_file_is_not_0(tmp_path: Path) -> None:
    write_palette(tmp_path / "00000.png", IDS * 85)
    assert (PngLayer(tmp_path, "000").read("00000") == (IDS > 0)).all()


def test_a_color_picture_is_refused_with_a_remedy(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match=r"m\.png .*RGB.*write palette or gray"):
        read_labels(tmp_path / "m.png")


@pytest.mark.usefixtures("_zlib_ng")
@pytest.mark.parametrize("mode", ["P", "L"])
@pytest.mark.parametrize("kept", [0, 10, 40, 0.5, -60])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, kept: float, mode: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    whole = tmp_path / "whole.png"
    Image.fromarray(noise, "L").convert(mode).save(whole)
    data = whole.read_bytes()
    end = int(kept * len(data)) if isinstance(kept, float) else kept
    (tmp_path / "m.png").write_bytes(data[:end])
    with pytest.raises(InputError, match=r"m\.png cannot be read as a mask"):
        read_labels(tmp_path / "m.png")


@pytest.mark.usefixtures("_zlib_ng")
@pytest.mark.parametrize("mode", ["P", "L"])
def test_damaged_pixels_are_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "m.png"
    Image.fromarray(np.zeros((64, 64), np.uint8), "L").convert(mode).save(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT") + 8
    data[at : at + 6] = b"\xff" * 6
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as a mask"):
        read_labels(path)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_text("no image at all, but long enough to look at twice")
    with pytest.raises(InputError, match="not a PNG file"):
        read_labels(tmp_path / "m.png")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no mask .*m\.png"):
        read_labels(tmp_path / "m.png")


def test_hidden_and_foreign_files_are_no_frames(tmp_path: Path) -> None:
    for name in ("00001.png", "00000.png", ".DS_Store", "._00000.png", "notes.txt"):
        (tmp_path / name).touch()
    layer = PngLayer(tmp_path)
    assert layer.frames == ("00000", "00001")
    assert set(layer.extra_files) == {".DS_Store", "._00000.png", "notes.txt"}
