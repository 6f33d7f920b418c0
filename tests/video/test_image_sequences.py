"""Which images of a folder are frames, and which formats are read."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.video_toys import HEIGHT, WIDTH, picture, write_folder
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.schedule import Direction, make_schedule
from segment_concept.types import Box, InputError, ObjectId
from segment_concept.video.image_files import image_size, read_image
from segment_concept.video.open import open_video, parse_rate

BOX = Box(4, 12, 20, 28)


def numbered(path: Path, count: int = 5, start: int = 0, form: str = "{:05d}.png") -> Path:
    return write_folder(path, [form.format(i + start) for i in range(count)])


def names(path: Path) -> list[str]:
    source = open_video(path)
    return [source.frame_name(f.index) for f in source.frames()]


@pytest.mark.parametrize("stray", ["mask.png", "contact_sheet.jpg", "cover_1.png", "Thumbs0.jpg"])
def test_an_image_of_another_name_beside_the_frames_is_none(
    tmp_path: Path, stray: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = numbered(tmp_path / "f")
    Image.new("RGB", (10, 10)).save(folder / stray)
    assert names(folder) == [f"{i:05d}" for i in range(5)]
    assert f"{stray} is left out" in caplog.text


def test_two_sequences_in_one_folder_are_refused(tmp_path: Path) -> None:
    for form in ("a_{:03d}.png", "b_{:03d}.png"):
        for i in range(3):
            (tmp_path / "f").mkdir(exist_ok=True)
            Image.fromarray(picture(i)).save(tmp_path / "f" / form.format(i))
    with pytest.raises(InputError, match=r"several sequences: a_# \(3 images\) and b_# \(3"):
        open_video(tmp_path / "f")


def test_two_takes_with_the_same_numbers_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", [f"cam{c}_{i:02d}.png" for c in (1, 2) for i in range(3)])
    with pytest.raises(InputError, match="several sequences"):
        open_video(folder)


def test_dates_and_times_are_one_sequence(tmp_path: Path) -> None:
    times = ["2024-05-01_10-00-58", "2024-05-01_10-00-59", "2024-05-01_10-01-00"]
    times += ["2024-05-01_10-01-01", "2024-05-01_10-01-02"]
    assert names(write_folder(tmp_path / "f", [f"{t}.png" for t in times])) == times


def test_images_without_numbers_are_all_frames(tmp_path: Path) -> None:
    assert names(write_folder(tmp_path / "f", ["a.png", "c.png", "b.png"])) == ["a", "b", "c"]


def test_a_name_with_a_foreign_digit_is_no_error(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", ["a\u00b2.png", "b.png", "9" * 200 + ".png"])
    assert len(names(folder)) == 3


def test_an_image_of_another_size_is_refused_from_its_header(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "f")
    Image.new("RGB", (120, 90)).save(folder / "00003.png")
    with pytest.raises(InputError, match=r"00003\.png is 120x90 and 00000\.png is 96x64"):
        open_video(folder)


def test_a_turned_photo_among_others_has_their_size(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "f", form="{:05d}.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(picture(3))))
    turned.save(folder / "00003.jpg", exif=exif, quality=95)
    assert {f.size for f in open_video(folder).frames()} == {(HEIGHT, WIDTH)}
    turned.save(folder / "00003.jpg")
    with pytest.raises(InputError, match=r"00003\.jpg is 64x96"):
        open_video(folder)


@pytest.mark.parametrize("suffix", ["tif", "tiff", "bmp", "jp2", "avif", "webp"])
def test_other_formats_are_read(tmp_path: Path, suffix: str) -> None:
    if f".{suffix}" not in Image.registered_extensions():
        pytest.skip(f"this Pillow does not write .{suffix}")
    (tmp_path / "f").mkdir()
    for i in range(3):
        Image.fromarray(picture(i)).save(tmp_path / "f" / f"{i:04d}.{suffix}")
    frames = list(open_video(tmp_path / "f").frames())
    assert len(frames) == 3
    assert np.abs(frames[1].rgb.astype(int) - picture(1)).mean() < 6


@pytest.mark.parametrize("suffix", ["exr", "dpx", "heic"])
def test_a_format_that_is_not_read_is_named_with_the_way_to_convert(
    tmp_path: Path, suffix: str
) -> None:
    for i in range(3):
        (tmp_path / f"shot_{1001 + i}.{suffix}").write_bytes(b"v/1\x01")
    for path in (tmp_path, tmp_path / f"shot_1001.{suffix}"):
        with pytest.raises(InputError, match=rf"{suffix.upper()} image.*shot_%04d\.{suffix}"):
            open_video(path)


def test_an_animated_webp_is_a_video(tmp_path: Path) -> None:
    pictures = [Image.fromarray(picture(i)) for i in range(5)]
    path = tmp_path / "a.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40, lossless=True)
    source = open_video(path)
    frames = list(source.frames())
    assert [f.index for f in frames] == list(range(5))
    assert all((f.rgb == picture(f.index)).all() for f in frames)
    assert [f.index for f in source.backwards(4)] == [4, 3, 2, 1, 0]
    assert (next(source.frames(3)).rgb == picture(3)).all()
    assert source.index_at(0.12) == 3
    with pytest.raises(InputError, match="over before"):
        source.index_at(0.2)


def test_a_frame_is_shown_by_its_place_and_the_number_in_its_name_is_explained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = open_video(numbered(tmp_path / "f", start=3, form="{:04d}.png"))
    with pytest.raises(InputError, match=r"the image 0005 is frame 2 \(--at 2\)"):
        make_schedule(source, [TimedPrompt(ObjectId(1), BOX, 5)], Direction.BOTH)
    with caplog.at_level(logging.WARNING):
        make_schedule(source, [TimedPrompt(ObjectId(1), BOX, 4)], Direction.BOTH)
    assert "frame 4 of f is the image 0007" in caplog.text
    assert "the image 0004 is frame 1" in caplog.text


@pytest.mark.parametrize("size", [(20_000, 20_000), (32_000, 32_000)])
def test_an_image_that_costs_memory_is_refused_by_its_header(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    Image.new("L", size).save(tmp_path / "0.png")
    with pytest.raises(InputError, match="pixels"):
        open_video(tmp_path)


def test_a_file_that_is_no_image_has_no_size(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"rubbish")
    assert image_size(tmp_path / "a.png") is None
    assert read_image(tmp_path / "a.png") is None


@pytest.mark.parametrize(
    ("rate", "parsed"), [("25", 25.0), (" 23.976 ", 23.976), ("24000/1001", 23.976), (30, 30.0)]
)
def test_rates_of_equal_meaning_are_the_same(rate: str | int, parsed: float) -> None:
    assert float(parse_rate(rate)) == pytest.approx(parsed, abs=1e-3)


@pytest.mark.parametrize("rate", ["", "fast", "0", "-1", "1/0", "nan", "inf", "1e9", True, None])
def test_a_rate_without_meaning_is_refused(rate: object) -> None:
    with pytest.raises(InputError, match="expected a number of frames a second"):
        parse_rate(rate)  # type: ignore[arg-type]


def test_a_rate_is_for_folders_of_images(tmp_path: Path, film: Path) -> None:
    assert open_video(numbered(tmp_path / "f"), rate="12.5").info.rate == 12.5
    with pytest.raises(InputError, match="knows its own rate"):
        open_video(film, rate=25)


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_no_video_can_have_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="empty or holds a NUL"):
        open_video(name)


def test_a_number_that_is_no_camera_is_a_file_that_is_not_there() -> None:
    with pytest.raises(InputError, match="there is no file"):
        open_video("\u00b2")
