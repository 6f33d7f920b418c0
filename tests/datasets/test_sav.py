"""SA-V's training videos by random access."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.fixtures import fixture
from helpers.sav_toy import annotation, moving_square, write_movie, write_video
from segment_concept.datasets import masklets as masklets_module
from segment_concept.datasets import sav
from segment_concept.datasets.masklets import Masklets, read_masklets
from segment_concept.datasets.open import open_dataset
from segment_concept.datasets.sav import SavReader, SavVideo, chosen, find_videos, is_held_out
from segment_concept.datasets.types import Benchmark, Source
from segment_concept.runtime.byte_cache import ByteCache
from segment_concept.types import InputError
from segment_concept.video.video_file import VideoFile


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sav")
    write_video(root / "sav_000", "sav_000001", 97)
    write_video(root / "sav_001/deep", "sav_001002", 60, size=(64, 48), objects=1)
    return root


def change(data: Path, tmp_path: Path, edit) -> SavVideo:
    """A copy of the first video with another annotation."""
    shutil.copytree(data, tmp_path / "sav", dirs_exist_ok=True)
    video = find_videos(tmp_path / "sav")["sav_000001"]
    content = json.loads(video.masklets.read_text())
    edit(content)
    video.masklets.write_text(json.dumps(content))
    return video


def test_videos_are_found_by_their_names_at_any_depth_and_none_is_opened(data, monkeypatch):
    monkeypatch.setattr(masklets_module, "read_json", lambda path: pytest.fail("opened"))
    videos = find_videos(data)
    assert list(videos) == ["sav_000001", "sav_001002"]
    assert videos["sav_001002"].movie == data / "sav_001/deep/sav_001002.mp4"


def test_opening_the_dataset_parses_at_most_one_annotation(data, monkeypatch):
    parsed = []
    read = masklets_module.read_json
    masklets_module._cache = ByteCache(1 << 20)
    monkeypatch.setattr(
        masklets_module, "read_json", lambda path: parsed.append(path) or read(path)
    )
    dataset = open_dataset(Benchmark.SA_V, Source(data, "train"))
    assert len(parsed) == 1
    assert [layer.object_name for layer in dataset.videos[0].layers] == ["manual_0", "manual_1"]
    assert len(dataset.videos[1].layers) == 1
    assert len(parsed) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"g": "16"},
        {"g": "250"},
        {"g": "13", "bf": "3", "x264-params": "open-gop=1:scenecut=0"},
        {"g": "7", "bf": "0"},
    ],
    ids=["closed", "one-keyframe", "open-gops", "no-b-frames"],
)
def test_random_access_gives_the_frames_of_sequential_decoding(tmp_path, options):
    rgb, _ = moving_square(50)
    write_movie(tmp_path / "a.mp4", rgb, **options)
    file = VideoFile(tmp_path / "a.mp4", threads=1)
    whole = [frame.rgb for frame in file.frames()]
    assert len(whole) == 50
    for index in range(50):
        (frame,) = file.pick([index])
        assert np.array_equal(frame.rgb, whole[index])
    rng = np.random.default_rng(0)
    for _ in range(10):
        wanted = sorted(rng.permutation(50)[: rng.integers(1, 12)].tolist())
        found = list(file.pick(wanted))
        assert [frame.index for frame in found] == wanted
        assert all(np.array_equal(frame.rgb, whole[frame.index]) for frame in found)


def test_frames_of_the_fixture_are_those_of_sequential_decoding():
    video = find_videos(fixture("training/sav_tiny"))["sav_000002"]
    whole = [frame.rgb for frame in VideoFile(video.movie).frames()]
    wanted = [200, 8, 244, 96, 100]
    for index, rgb in zip(wanted, SavReader().frames(video, wanted), strict=True):
        assert np.array_equal(rgb, whole[index])


def test_areas_are_those_of_the_decoded_masks(data):
    found = read_masklets(find_videos(data)["sav_000001"].masklets)
    assert found.size == (48, 64)
    assert (len(found.rows), found.columns) == (25, 2)
    for row in range(25):
        for column in range(2):
            assert found.areas[row, column] == found.mask(row, column).sum()


def test_a_null_entry_has_no_area_and_its_frame_is_not_in_the_layer(data, tmp_path):
    video = change(data, tmp_path, lambda content: content["masklet"][3].__setitem__(1, None))
    found = SavReader().masklets(video)
    assert found.areas[3, 1] == masklets_module.NULL
    assert found.areas[3, 0] > 0
    with pytest.raises(InputError, match="frame 00012, object 1: no readable mask"):
        found.mask(3, 1)
    first, second = masklets_module.masklet_layers(video.masklets)
    assert len(first.frames) == 25
    assert len(second.frames) == 24
    assert "00012" not in second.frames


def test_extracted_frames_are_read_in_place_of_the_video(data, tmp_path):
    for index in range(0, 97, 4):
        path = tmp_path / f"frames/sav_000001/{index:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((48, 64, 3), index, np.uint8)).save(path, quality=95)
    video = find_videos(data, tmp_path / "frames")["sav_000001"]
    reader = SavReader()
    assert len(reader.masklets(video).rows) == 25
    assert abs(int(reader.frames(video, [8])[0].mean()) - 8) <= 1
    with pytest.raises(InputError, match=r"00009\.jpg"):
        reader.frames(video, [9])


def test_all_annotated_frames_of_a_video_can_be_decoded_at_once(data, monkeypatch):
    video = find_videos(data)["sav_000001"]
    reader = SavReader(whole=True)
    first = reader.frames(video, [8])[0]
    monkeypatch.setattr(VideoFile, "pick", lambda self, wanted: pytest.fail("decoded again"))
    assert np.array_equal(reader.frames(video, [96, 8])[1], first)


def test_what_a_reader_keeps_is_bounded_over_many_orders(data):
    one = 48 * 64 * 3
    reader = SavReader(kept=10 * one)
    videos = list(find_videos(data).values())
    rng = np.random.default_rng(0)
    for _ in range(60):
        video = videos[rng.integers(2)]
        reader.frames(video, (4 * rng.permutation(15)[:3]).tolist())
        assert reader._pixels.size <= 10 * one
        assert len(reader._files) <= 4


def test_a_cache_drops_what_was_used_longest_ago():
    cache: ByteCache[str] = ByteCache(10)
    cache.put("a", "A", 4)
    cache.put("b", "B", 4)
    assert cache.of("a", lambda: pytest.fail("made again")) == "A"
    cache.put("c", "C", 4)
    assert [cache.get(key) for key in "abc"] == ["A", None, "C"]
    assert cache.size == 8
    cache.put("d", "D", 99)  # the last one is always kept
    assert (cache.get("d"), len(cache), cache.size) == ("D", 1, 99)


def test_one_video_in_a_hundred_is_held_out_by_its_name_alone():
    held = sum(is_held_out(f"sav_{n:06d}") for n in range(5000))
    assert 25 <= held <= 80
    assert is_held_out("sav_000219")
    assert not is_held_out("sav_000001")


def rows_are_missing(content):
    del content["masklet"][-3:]


def another_size(content):
    for row in content["masklet"]:
        for entry in row:
            entry["size"] = [64, 48]


def sizes_differ(content):
    content["masklet"][0][0]["size"] = [1, 1]


def a_row_is_short(content):
    content["masklet"][5].pop()


def a_mask_is_damaged(content):
    content["masklet"][2][0]["counts"] = "\x7f!"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (rows_are_missing, "has 22 rows for the 97 frames of sav_000001: expected 25"),
        (another_size, r"masks of 48x64 pixels, but .*sav_000001\.mp4 has 64x48"),
        (sizes_differ, "all masks have the same size"),
        (a_row_is_short, "row 5 has 1 masks and the first one 2"),
        (a_mask_is_damaged, "frame 00008, object 0: no readable mask"),
    ],
)
def test_an_annotation_that_does_not_fit_is_refused_by_name(data, tmp_path, edit, message):
    video = change(data, tmp_path, edit)
    reader = SavReader()
    with pytest.raises(InputError, match=message):
        _ = reader.masklets(video).areas
    with pytest.raises(InputError, match=message):  # again, and as quickly
        _ = reader.masklets(video).areas


def test_a_truncated_video_is_refused_by_name(data, tmp_path):
    video = change(data, tmp_path, lambda content: None)
    video.movie.write_bytes(video.movie.read_bytes()[:-4000])
    with pytest.raises(InputError, match=r"sav_000001\.mp4"):
        SavReader().masklets(video)


def test_a_video_without_annotation_is_not_in_the_data(data, tmp_path):
    shutil.copytree(data, tmp_path / "sav")
    next((tmp_path / "sav").rglob("sav_000001_manual.json")).unlink()
    videos = find_videos(tmp_path / "sav")
    assert list(videos) == ["sav_001002"]
    with pytest.raises(InputError, match=r"1 of the 2 videos in list\.txt .* sav_000001\. D"):
        chosen(videos, ["sav_001002", "sav_000001"], Path("list.txt"))


def test_a_folder_without_videos_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        find_videos(tmp_path / "nothing")
    with pytest.raises(InputError, match="but no video with both"):
        find_videos(tmp_path)
    with pytest.raises(InputError, match="train frames"):
        find_videos(data, tmp_path / "nothing")


def test_lists_are_read_and_damaged_ones_refused(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("sav_1\nsav_2\n")
    assert sav.read_video_list(path) == ["sav_1", "sav_2"]
    path.write_text("sav_1 0\nsav_2 3\n\n")
    assert sav.read_object_list(path) == [("sav_1", 0), ("sav_2", 3)]
    path.write_text("sav_1\nsav_1\n")
    with pytest.raises(InputError, match="names sav_1 2 times"):
        sav.read_video_list(path)
    with pytest.raises(InputError, match=r"line 1: 'sav_1' is not a video and a number"):
        sav.read_object_list(path)
    path.write_text("\n")
    for read in (sav.read_video_list, sav.read_object_list):
        with pytest.raises(InputError, match="names no"):
            read(path)


def test_masks_without_a_size_are_refused():
    found = Masklets(Path("a.json"), {"masklet": [[{"counts": "0"}]]})
    with pytest.raises(InputError, match="has no size"):
        _ = found.size
    _, masks = moving_square(8)
    assert Masklets(Path("a.json"), annotation("a", masks)).frame_count == 8
