"""What is written: palette, images, overlays, parts of videos and their joining."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from helpers.video_toys import HEIGHT, RED, WIDTH, Film, presentation_times, truth, write_film
from segment_concept.ops.color import PALETTE, color_of
from segment_concept.ops.png import gray_png, mask_png, palette_png
from segment_concept.types import Frame
from segment_concept.video import encode
from segment_concept.video.draw import overlay, to_i420
from segment_concept.video.encode import Part, PartWriter, join, joinable
from segment_concept.video.source import VideoInfo
from segment_concept.video.video_file import VideoFile


def info(**changes: object) -> VideoInfo:
    values = {"size": (HEIGHT, WIDTH), "rate": Fraction(25), "time_base": Fraction(1, 1000)}
    return VideoInfo(**(values | changes))  # type: ignore[arg-type]


def plain(index: int, seconds: float | None = None, size: tuple[int, int] = (64, 96)) -> Frame:
    return Frame(index, np.full((*size, 3), 10 * (index % 20), np.uint8), seconds)


def test_the_palette_is_that_of_davis() -> None:
    first = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)]
    assert [tuple(c) for c in PALETTE[:6].tolist()] == first
    assert PALETTE[15].tolist() == [192, 128, 128]  # a person, in PASCAL VOC's color map
    assert color_of(1) == (128, 0, 0)
    assert color_of(256) == (128, 0, 0)


def test_a_palette_image_holds_the_ids_and_the_colors() -> None:
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    image = Image.open(io.BytesIO(palette_png(labels)))
    assert image.mode == "P"
    assert (np.asarray(image) == labels).all()
    assert image.convert("RGB").getpixel((1, 0)) == (128, 0, 0)


def test_mask_and_gray_images_hold_what_they_were_given() -> None:
    mask = truth(0)
    assert (np.asarray(Image.open(io.BytesIO(mask_png(mask)))) == 255 * mask).all()
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (np.asarray(Image.open(io.BytesIO(gray_png(gray)))) == gray).all()


def test_an_overlay_tints_the_object_outlines_it_and_leaves_the_rest() -> None:
    gray = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    drawn = overlay(gray, [(1, truth(0))])
    inside, outside = drawn[20, 12], drawn[40, 60]
    assert inside.tolist() == [114, 50, 50]
    assert outside.tolist() == [100, 100, 100]
    assert np.abs(drawn[12, 12].astype(int) - (128, 0, 0)).max() < 12
    assert (gray == 100).all()


def test_an_absent_object_leaves_no_mark() -> None:
    gray = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    assert (overlay(gray, [(1, np.zeros((HEIGHT, WIDTH), bool))]) == gray).all()


def test_parts_join_into_one_video_with_uneven_times(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.055, 0.2, 0.233, 0.7, 0.701, 2.0]
    writer = PartWriter(tmp_path, "overlay", info(), crf=20)
    for index, seconds in enumerate(times):
        writer.write(plain(index, seconds), to_i420(plain(index).rgb))
        if index in (2, 6):
            writer.cut()
    writer.cut()
    assert [(p.first, p.last) for p in writer.parts] == [(0, 2), (3, 6), (7, 7)]
    join(tmp_path, writer.parts, info(), tmp_path / "out.mp4")
    assert presentation_times(tmp_path / "out.mp4") == [
        Fraction(t).limit_denominator(1000) for t in times
    ]


def test_frames_that_come_backwards_are_written_forwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "BACKWARDS_FRAMES", 4)
    writer = PartWriter(tmp_path, "overlay", info(), crf=10)
    for index in (8, 9, 10):
        writer.write(plain(index, index / 25), to_i420(plain(index).rgb))
    writer.cut()
    writer.backwards = True
    for index in range(7, -1, -1):
        writer.write(plain(index, index / 25), to_i420(plain(index).rgb))
    writer.cut()
    assert [(p.first, p.last) for p in writer.parts] == [(8, 10), (4, 7), (0, 3)]
    join(tmp_path, writer.parts, info(), tmp_path / "out.mp4")
    frames = list(VideoFile(tmp_path / "out.mp4").frames())
    assert [round(f.rgb.mean() / 10) for f in frames] == list(range(11))


def test_a_part_that_was_cut_off_is_readable(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path, "overlay", info(), crf=0)
    noise = np.random.default_rng(0)
    for index in range(40):
        pixels = noise.integers(0, 255, (96, 96), np.uint8)
        writer.write(plain(index, index / 25), pixels)
    writer.cut()
    path = tmp_path / writer.parts[0].file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 10 < len(presentation_times(path)) < 40


def test_the_later_of_two_parts_with_common_frames_counts() -> None:
    old, kept, new = Part("a", 0, 9), Part("b", 10, 19), Part("c", 5, 9)
    assert joinable([old, kept, new]) == [new, kept]


def test_a_picture_with_odd_sides_is_widened_by_a_line(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path, "overlay", info(size=(33, 51)), crf=20)
    frame = plain(5, 0.0, (33, 51))
    writer.write(frame, to_i420(frame.rgb))
    writer.cut()
    join(tmp_path, writer.parts, info(), tmp_path / "out.mp4")
    assert VideoFile(tmp_path / "out.mp4").info.size == (34, 52)


def test_colors_survive_the_way_to_the_video(tmp_path: Path) -> None:
    rgb = np.zeros((64, 96, 3), np.uint8)
    rgb[:, :48], rgb[:, 48:] = RED, (20, 60, 200)
    writer = PartWriter(tmp_path, "overlay", info(), crf=10)
    writer.write(Frame(0, rgb, 0.0), to_i420(rgb))
    writer.cut()
    join(tmp_path, writer.parts, info(), tmp_path / "out.mp4")
    found = next(VideoFile(tmp_path / "out.mp4").frames()).rgb
    assert np.abs(found[32, 20].astype(int) - RED).max() < 8
    assert np.abs(found[32, 70].astype(int) - (20, 60, 200)).max() < 8


def test_a_pixel_that_is_not_square_stays_so(tmp_path: Path) -> None:
    wide = info(pixel_aspect=Fraction(4, 3))
    writer = PartWriter(tmp_path, "overlay", wide, crf=20)
    writer.write(plain(0, 0.0), to_i420(plain(0).rgb))
    writer.cut()
    join(tmp_path, writer.parts, wide, tmp_path / "out.mp4")
    assert VideoFile(tmp_path / "out.mp4").info.pixel_aspect == Fraction(4, 3)


def copied_video(tmp_path: Path, source: VideoFile, start: int = 0) -> Path:
    writer = PartWriter(tmp_path, "overlay", source.info, crf=20)
    for frame in source.frames(start):
        writer.write(frame, to_i420(frame.rgb))
    writer.cut()
    join(tmp_path, writer.parts, source.info, tmp_path / "out.mp4")
    return tmp_path / "out.mp4"


def sound_of(path: Path) -> tuple[str, float, float]:
    """Codec, and the seconds at which the sound begins and ends."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        last = frames[-1]
        return stream.codec_context.name, frames[0].time, last.time + last.samples / last.rate


def test_the_sound_is_copied(tmp_path: Path, film: Path) -> None:
    codec, begins, ends = sound_of(copied_video(tmp_path, VideoFile(film)))
    assert codec == "aac"
    assert begins == pytest.approx(0, abs=0.03)
    assert ends == pytest.approx(0.8, abs=0.05)
    packets = {}
    for path in (film, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            packets[path] = [bytes(p) for p in container.demux(audio=0)]
    given, made = packets.values()
    assert set(made) <= set(given)


def test_a_stretch_of_the_video_has_the_sound_of_that_stretch(tmp_path: Path, film: Path) -> None:
    path = copied_video(tmp_path, VideoFile(film), start=10)
    assert presentation_times(path)[0] == 0
    assert len(presentation_times(path)) == 10
    _, begins, ends = sound_of(path)
    assert begins == pytest.approx(0, abs=0.03)
    assert ends == pytest.approx(0.4, abs=0.05)


def test_sound_that_mp4_cannot_hold_becomes_aac(tmp_path: Path) -> None:
    source = VideoFile(write_film(tmp_path / "wave.mkv", Film(sound="pcm_s16le")))
    codec, begins, ends = sound_of(copied_video(tmp_path, source))
    assert codec == "aac"
    assert begins == pytest.approx(0, abs=0.03)
    assert ends == pytest.approx(0.8, abs=0.08)


def test_a_late_clock_keeps_sound_and_picture_together(tmp_path: Path) -> None:
    source = VideoFile(write_film(tmp_path / "late.ts", Film(sound="mp2")))
    path = copied_video(tmp_path, source)
    _, begins, _ = sound_of(path)
    assert presentation_times(path)[0] == 0
    assert begins == pytest.approx(0, abs=0.06)


def test_missing_sound_does_not_lose_the_video(
    tmp_path: Path, film: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "film.mp4"
    copy.write_bytes(film.read_bytes())
    source = VideoFile(copy)
    writer = PartWriter(tmp_path, "overlay", source.info, crf=20)
    for frame in source.frames():
        writer.write(frame, to_i420(frame.rgb))
    writer.cut()
    copy.unlink()
    join(tmp_path, writer.parts, source.info, tmp_path / "out.mp4")
    assert len(presentation_times(tmp_path / "out.mp4")) == 20
    assert "sound" in caplog.text
