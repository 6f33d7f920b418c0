"""Stills: the exact frame, from anywhere, while the video is still being looked at."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.video_toys import Film, picture, truth, write_film, write_folder
from segment_concept.types import Frame, InputError
from segment_concept.video.video_file import FIRST_PART, VideoFile
from segment_concept.web.frames import FrameCache, jpeg, open_media, suffix_of, table_of

UNEVEN = tuple(np.cumsum([0, 40, 7, 120, 33, 5, 400, 41, 40, 9, 250, 40, 17, 40, 40]).tolist())


def shows(frame: Frame, index: int) -> bool:
    return bool(np.abs(frame.rgb.astype(int) - picture(index)).mean() < 6)


@pytest.mark.parametrize(
    "film",
    [Film(frames=40), Film(frames=40, b_frames=3), Film(pts=UNEVEN), Film(gop=40, frames=40)],
)
def test_every_frame_is_the_right_one_however_it_is_reached(tmp_path: Path, film: Film) -> None:
    source = open_media(write_film(tmp_path / "film.mp4", film))
    cache = FrameCache(source, most=6)
    last = (source.info.frames or 0) - 1
    visits = [0, last, 5, 4, 3, 2, 9, 10, 11, 1, last - 1, 7, 6]
    for index in visits:
        assert cache.frame(index).index == index
        assert shows(cache.frame(index), index)


def test_the_next_frame_is_decoded_without_seeking(tmp_path: Path) -> None:
    cache = FrameCache(open_media(write_film(tmp_path / "film.mp4", Film(frames=40, gop=40))))
    for index in range(40):
        cache.frame(index)
    assert cache.decoded == 40


def test_a_step_back_reads_a_stretch_and_then_nothing(tmp_path: Path) -> None:
    cache = FrameCache(open_media(write_film(tmp_path / "film.mp4", Film(frames=90, gop=90))))
    cache.frame(80)
    before = cache.decoded
    for index in range(79, 60, -1):
        cache.frame(index)
    assert cache.decoded - before < 3 * 33


def test_the_bytes_of_kept_frames_are_bounded(tmp_path: Path) -> None:
    source = open_media(write_film(tmp_path / "film.mp4", Film(frames=40)))
    one = 64 * 96 * 3  # bytes
    cache = FrameCache(source, most_bytes=3 * one)
    for index in range(20):
        cache.frame(index)
    assert sum(index in cache for index in range(40)) <= 3
    assert cache._bytes <= 3 * one


def test_a_frame_that_is_not_there_is_said(tmp_path: Path) -> None:
    cache = FrameCache(open_media(write_film(tmp_path / "film.mp4", Film(frames=5))))
    with pytest.raises(InputError, match=r"frame 7 of film\.mp4 is not there: 5 frames are known"):
        cache.frame(7)


def test_a_still_has_the_colors_of_the_frame_and_the_width_that_was_asked_for() -> None:
    frame = Frame(0, np.ascontiguousarray(picture(0)))
    shown = np.asarray(Image.open(io.BytesIO(jpeg(frame))))
    assert shown.shape == (64, 96, 3)
    assert np.abs(shown[truth(0)].mean(axis=0) - (220, 30, 30)).max() < 12
    assert Image.open(io.BytesIO(jpeg(frame, 48))).size == (48, 32)
    assert Image.open(io.BytesIO(jpeg(frame, 480))).size == (96, 64)


def test_a_long_video_can_be_looked_at_before_all_of_it_is_known(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", Film(frames=FIRST_PART + 300, b_frames=2, gop=50))
    source = open_media(path)
    assert isinstance(source, VideoFile)
    known = source.info.frames or 0
    assert 0 < known <= FIRST_PART
    assert source.about_frames == FIRST_PART + 300
    assert shows(FrameCache(source).frame(known - 1), known - 1)
    first = table_of(source)
    steps = list(source.read_on())
    assert steps[-1] == FIRST_PART + 300
    assert source.is_whole
    whole = VideoFile(path)
    assert (table_of(source) == table_of(whole)).all()
    assert (first == table_of(whole)[: len(first)]).all()
    assert source.info == whole.info


def test_a_copy_for_another_process_knows_what_is_known_so_far(tmp_path: Path) -> None:
    source = open_media(write_film(tmp_path / "film.mp4", Film(frames=FIRST_PART + 50)))
    assert isinstance(source, VideoFile)
    copy = source.so_far()
    list(source.read_on())
    assert copy.is_whole
    assert (copy.info.frames or 0) < (source.info.frames or 0)


def test_a_folder_of_images_is_a_video(tmp_path: Path) -> None:
    source = open_media(write_folder(tmp_path / "images", [f"{i:03d}.png" for i in range(4)]))
    assert table_of(source) == pytest.approx([0, 1 / 24, 2 / 24, 3 / 24])
    assert shows(FrameCache(source).frame(2), 2)


@pytest.mark.parametrize(("name", "suffix"), [("a.mp4", ".mp4"), ("a.mkv", ".mkv")])
def test_the_suffix_of_an_upload_follows_from_its_content(
    tmp_path: Path, name: str, suffix: str
) -> None:
    path = write_film(tmp_path / name, Film(frames=3)).rename(tmp_path / "x.part")
    assert suffix_of(path) == suffix
