"""Every published layout is found, read, checked and counted."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import dataset_builders as build
from segment_concept.datasets.check import CheckReport, check_dataset, survey_dataset
from segment_concept.datasets.folders import missing_numbers
from segment_concept.datasets.masklets import masklet_layers
from segment_concept.datasets.open import open_dataset, recognize_dataset
from segment_concept.datasets.stats import dataset_stats, disappears, reappears, scenes_by_shots
from segment_concept.datasets.types import Benchmark, Dataset, Group, Source
from segment_concept.shots.adaptive import find_cuts
from segment_concept.types import InputError

BUILDERS: list[tuple[Benchmark, Callable[[Path], Path]]] = [
    (Benchmark.DAVIS2016, build.davis2016),
    (Benchmark.DAVIS2017, build.davis2017),
    (Benchmark.DAVIS2017_UNSUPERVISED, build.davis2017_unsupervised),
    (Benchmark.YOUTUBE_VOS_2019, build.youtube_vos),
    (Benchmark.MOSE, build.mose1),
    (Benchmark.MOSE2, build.mose2),
    (Benchmark.LVOS1, build.lvos),
    (Benchmark.SA_V, build.sav),
    (Benchmark.SECVOS, build.secvos),
    (Benchmark.FOLDER, build.folder),
]


def checked(dataset: Dataset) -> CheckReport:
    return check_dataset(dataset, survey_dataset(dataset))


def messages(report: CheckReport) -> str:
    return "\n".join(str(finding) for finding in report.findings)


@pytest.mark.parametrize(("benchmark", "builder"), BUILDERS)
def test_a_layout_is_recognised_opened_and_sound(
    benchmark: Benchmark, builder: Callable[[Path], Path], tmp_path: Path
) -> None:
    root = builder(tmp_path / "set")
    assert recognize_dataset(root) is benchmark
    dataset = open_dataset(benchmark, Source(root))
    report = checked(dataset)
    assert report.is_sound, messages(report)
    assert dataset.videos
    assert report.masks > 0
    assert report.objects > 0


def test_a_split_is_named_by_its_list(tmp_path: Path) -> None:
    root = build.davis2017(tmp_path)
    train = open_dataset(Benchmark.DAVIS2017, Source(root, "train"))
    assert [video.name for video in train.videos] == ["trained-on"]
    with pytest.raises(InputError, match=r"no list of split 'test-dev'; available: train, val"):
        open_dataset(Benchmark.DAVIS2017, Source(root, "test-dev"))


def test_a_listed_video_without_masks_is_named(tmp_path: Path) -> None:
    root = build.davis2017(tmp_path)
    (root / "ImageSets/2017/val.txt").write_text("dogs\ncats\n")
    with pytest.raises(InputError, match=r"that are not in .*: cats; complete the dataset"):
        open_dataset(Benchmark.DAVIS2017, Source(root))


def test_void_pixels_of_davis_are_no_object(tmp_path: Path) -> None:
    dataset = open_dataset(Benchmark.DAVIS2017, Source(build.davis2017(tmp_path)))
    assert checked(dataset).objects == 2


def test_unseen_categories_are_those_that_training_does_not_have(tmp_path: Path) -> None:
    root = build.youtube_vos(tmp_path)
    (video,) = open_dataset(Benchmark.YOUTUBE_VOS_2019, Source(root)).videos
    groups = {entry.category: entry.group for entry in video.objects}
    assert groups == {"dog": Group.SEEN, "spider": Group.UNSEEN}


def test_unseen_categories_may_be_listed(tmp_path: Path) -> None:
    root = build.youtube_vos(tmp_path)
    (tmp_path / "unseen.txt").write_text("dog\n")
    source = Source(root, unseen=tmp_path / "unseen.txt")
    (video,) = open_dataset(Benchmark.YOUTUBE_VOS_2018, source).videos
    assert [entry.group for entry in video.objects] == [Group.UNSEEN, Group.SEEN]


@pytest.mark.parametrize(
    ("benchmark", "builder", "split", "complete"),
    [
        (Benchmark.YOUTUBE_VOS_2019, build.youtube_vos, "val", False),
        (Benchmark.YOUTUBE_VOS_2019, build.youtube_vos, "train", True),
        (Benchmark.MOSE, build.mose1, "val", False),
        (Benchmark.MOSE, build.mose1, "train", True),
    ],
)
def test_prompt_masks_are_distinguished_from_full_annotations(
    benchmark: Benchmark,
    builder: Callable[[Path], Path],
    split: str,
    complete: bool,
    tmp_path: Path,
) -> None:
    dataset = open_dataset(benchmark, Source(builder(tmp_path), split))
    assert dataset.truth_is_complete is complete
    if not complete:
        assert "only the first mask of each object" in messages(checked(dataset))
        assert dataset_stats(dataset, survey_dataset(dataset)).disappear is None


def test_lvos_has_its_unseen_videos(tmp_path: Path) -> None:
    dataset = open_dataset(Benchmark.LVOS2, Source(build.lvos(tmp_path)))
    assert {v.name: v.group for v in dataset.videos} == {
        "newvideo": Group.UNSEEN,
        "seenvid1": Group.SEEN,
    }


def test_lvos_metadata_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    root = build.lvos(tmp_path)
    path = root / "valid/valid_meta.json"
    content = json.loads(path.read_text())
    content["videos"]["newvideo"]["objects"]["1"]["frame_range"]["frame_nums"] = "9"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"video newvideo, object 1: .* is 5 frames, .* says 9"):
        open_dataset(Benchmark.LVOS2, Source(root))


def test_sa_v_has_a_layer_for_every_object(tmp_path: Path) -> None:
    (video,) = open_dataset(Benchmark.SA_V, Source(build.sav(tmp_path))).videos
    assert [layer.object_name for layer in video.layers] == ["000", "001"]
    assert video.layers[0].frames == ("00000", "00004", "00008")
    assert len(video.pictures) == 9


def test_sa_v_training_masks_are_read_from_run_lengths(tmp_path: Path) -> None:
    root = build.sav_train_json(tmp_path)
    layers = masklet_layers(root / "sav_000/sav_9_manual.json")
    assert [layer.object_name for layer in layers] == ["manual_4", "manual_7"]
    assert layers[0].frames == ("00000", "00004")
    assert (layers[0].read("00004") == build.labels(1)).all()
    assert not layers[1].read("00000").any()
    assert (layers[1].read("00004") == build.labels(0, 1)).all()


def test_a_broken_run_length_mask_is_named(tmp_path: Path) -> None:
    path = build.sav_train_json(tmp_path) / "sav_000/sav_9_manual.json"
    content = json.loads(path.read_text())
    content["masklet"][1][0]["counts"] = "0"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"sav_9_manual\.json, frame 00004, object manual_4"):
        masklet_layers(path)[0].read("00004")


def test_secvos_has_its_segments(tmp_path: Path) -> None:
    (video,) = open_dataset(Benchmark.SECVOS, Source(build.secvos(tmp_path))).videos
    assert video.segments == {"first_segment": (0, 2), "second_segment": (3, 5)}


def test_a_segment_that_is_no_pair_is_refused(tmp_path: Path) -> None:
    root = build.secvos(tmp_path)
    build.write_json(root / "scene_info.json", {"street": {"first_segment": [0]}})
    with pytest.raises(InputError, match=r"first_segment of video street is \[0\]"):
        open_dataset(Benchmark.SECVOS, Source(root))


def test_a_folder_of_something_else_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    with pytest.raises(InputError, match="does not look like a dataset"):
        recognize_dataset(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        recognize_dataset(tmp_path / "nowhere")


def test_metadata_that_is_no_json_is_refused(tmp_path: Path) -> None:
    root = build.mose2(tmp_path)
    (root / "valid/meta.json").write_text("{")
    with pytest.raises(InputError, match=r"meta\.json is not JSON"):
        open_dataset(Benchmark.MOSE2, Source(root))


def _remove_picture(root: Path) -> None:
    (root / "JPEGImages/480p/dogs/00002.jpg").unlink()


def _resize_mask(root: Path) -> None:
    build.save_mask(root / "Annotations/480p/dogs/00002.png", np.zeros((6, 8), np.uint8))


def _color_mask(root: Path) -> None:
    Image.new("RGB", (16, 12)).save(root / "Annotations/480p/dogs/00002.png")


def _break_picture(root: Path) -> None:
    (root / "JPEGImages/480p/dogs/00002.jpg").write_bytes(b"no")


def _empty_video(root: Path) -> None:
    for path in (root / "Annotations/480p/dogs").iterdir():
        path.unlink()


def _resize_picture(root: Path) -> None:
    Image.new("RGB", (8, 8)).save(root / "JPEGImages/480p/dogs/00003.jpg")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove_picture, "video dogs, frame 00002: 1 masks have no image: 00002"),
        (_remove_picture, "image numbers are missing: 00002"),
        (_resize_mask, r"dogs/00002.png is 8x6, expected 16x12"),
        (_color_mask, "it is a RGB image"),
        (_break_picture, "1 images cannot be read: 00002.jpg"),
        (_resize_picture, "1 images have another size: 00003.jpg"),
        (_empty_video, "has no mask"),
    ],
)
def test_a_check_says_what_is_wrong(
    damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    root = build.davis2017(tmp_path)
    damage(root)
    report = checked(open_dataset(Benchmark.DAVIS2017, Source(root)))
    assert not report.is_sound
    assert message in messages(report)


def test_a_check_compares_masks_with_the_metadata(tmp_path: Path) -> None:
    root = build.mose2(tmp_path)
    entry = {"length": 5, "height": 12, "width": 16, "objects": ["1", "2"]}
    build.write_json(root / "valid/meta.json", {"videos": {"ab12": entry}})
    said = messages(checked(open_dataset(Benchmark.MOSE2, Source(root))))
    assert "video ab12, object 2: is in the metadata but in no mask" in said
    assert "the metadata lists 5 frames, but there are 4 masks" in said


def test_a_check_warns_of_black_and_white_masks_and_unpadded_names(tmp_path: Path) -> None:
    for i in range(11):
        build.save_mask(tmp_path / f"clip/{i}.png", build.labels(255))
    said = messages(checked(open_dataset(Benchmark.FOLDER, Source(tmp_path))))
    assert "the masks have values 0 and 255" in said
    assert "pad them with zeros" in said


def test_late_objects_are_counted(tmp_path: Path) -> None:
    build.save_masks(tmp_path / "clip", {"00000": (1,), "00001": (1, 2)})
    report = checked(open_dataset(Benchmark.FOLDER, Source(tmp_path)))
    assert (report.objects, report.late_objects) == (2, 1)


@pytest.mark.parametrize(
    ("visible", "gone", "back"),
    [
        ((True, True), False, False),
        ((False, True), False, False),  # late, but it stays
        ((True, False), True, False),
        ((True, False, True), True, True),
        ((False, True, False, True), True, True),
        ((False, False), False, False),
        ((), False, False),
    ],
)
def test_disappearing_and_reappearing(visible: tuple[bool, ...], gone: bool, back: bool) -> None:
    assert (disappears(visible), reappears(visible)) == (gone, back)


def test_statistics_of_a_dataset(tmp_path: Path) -> None:
    dataset = open_dataset(Benchmark.DAVIS2017, Source(build.davis2017(tmp_path)))
    found = dataset_stats(dataset, survey_dataset(dataset), scenes_by_shots)
    assert (found.videos, found.objects, found.masks) == (1, 2, 5)
    assert found.seconds == pytest.approx(5 / 24)
    assert (found.disappear, found.reappear) == (0.5, 0.5)
    assert found.scenes == 1


def test_statistics_that_cannot_be_known_are_left_out(tmp_path: Path) -> None:
    dataset = open_dataset(Benchmark.FOLDER, Source(build.folder(tmp_path)))
    found = dataset_stats(dataset, survey_dataset(dataset), scenes_by_shots)
    assert (found.seconds, found.scenes) == (None, None)


def scene(seed: int, count: int) -> list[np.ndarray]:
    """A textured picture that pans slowly."""
    texture = np.random.default_rng(seed).integers(0, 255, (9, 12, 3)).astype(np.uint8)
    large = np.asarray(Image.fromarray(texture).resize((240, 180), Image.Resampling.BICUBIC))
    return [np.roll(large, 2 * i, axis=1) for i in range(count)]


def test_cuts_are_found_where_the_picture_changes_at_once() -> None:
    frames = scene(1, 8) + scene(2, 6) + scene(3, 9)
    assert find_cuts(frames) == [8, 14]


def test_a_pan_is_no_cut_and_no_frames_have_none() -> None:
    assert find_cuts(scene(4, 20)) == []
    assert find_cuts([]) == []


def test_left_out_numbers_are_found_at_any_step() -> None:
    assert missing_numbers(["00000", "00005", "00015", "00020"]) == ["00010"]
    assert missing_numbers(["00001", "00002"]) == []
    assert missing_numbers(["a", "b", "d"]) == []
