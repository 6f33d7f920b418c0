"""Clips with cuts, made from a dataset without any."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.cuts_toys import (
    BLUE,
    GREEN,
    RED,
    four_sequences,
    is_colored,
    opened,
    picture_and_labels,
    save_sequence,
    square,
)
from helpers.cuts_toys import SIZE as TOY
from helpers.dataset_builders import davis2017, sav, save_mask, write_json
from helpers.video_toys import Film, write_film
from segment_concept.datasets.multishot import (
    Followed,
    MultishotJob,
    MultishotSpec,
    RandomDistractors,
    Span,
    Split,
    make_multishot,
    read_categories,
    sequences_of,
)
from segment_concept.datasets.multishot.distractors import appearance, sampler_of
from segment_concept.datasets.multishot.spec import seeded_rng
from segment_concept.datasets.open import open_dataset, recognize_dataset
from segment_concept.datasets.types import Benchmark, Dataset, ObjectEntry, Source
from segment_concept.ops.rle import encode_rle
from segment_concept.types import InputError

SHORT = MultishotSpec(
    shot_frames=Span(4, 6), uncut_frames=Span(5, 8), interlude_frames=Span(3, 4), short_side=48
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return four_sequences(tmp_path_factory.mktemp("four"))


@pytest.fixture(scope="module")
def made(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "clips"
    make_multishot(MultishotJob(dataset, out, SHORT))
    return out


def clips_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "clips.json").read_text())
    return found


def all_bytes(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_the_same_seed_makes_the_same_bytes_and_another_seed_other_clips(
    dataset: Dataset, made: Path, tmp_path: Path
) -> None:
    make_multishot(MultishotJob(dataset, tmp_path / "again", SHORT))
    assert all_bytes(tmp_path / "again") == all_bytes(made)
    make_multishot(MultishotJob(dataset, tmp_path / "other", replace(SHORT, seed=7)))
    assert clips_of(tmp_path / "other") != clips_of(made)


def test_clips_do_not_depend_on_which_others_are_made(
    dataset: Dataset, made: Path, tmp_path: Path
) -> None:
    only = replace(SHORT, splits=(Split.SINGLE,))
    make_multishot(MultishotJob(dataset, tmp_path / "fewer", only, targets=2))
    fewer, whole = all_bytes(tmp_path / "fewer"), all_bytes(made)
    masks = [name for name in fewer if name.startswith(("Annotations", "JPEGImages"))]
    assert masks
    assert all(fewer[name] == whole[name] for name in masks)
    assert len(clips_of(tmp_path / "fewer")) == 2


def test_every_split_has_its_number_of_cuts(made: Path) -> None:
    clips = clips_of(made)
    assert len(clips) == 12
    cuts = {"none": 0, "single": 1, "multi": 4}
    for name, clip in clips.items():
        assert len(clip["cuts"]) == cuts[clip["split"]], name
        assert clip["cuts"] == [shot["start"] for shot in clip["shots"][1:]]
        assert clip["frames"] == clip["shots"][-1]["end"]
        assert len(list((made / "JPEGImages" / name).iterdir())) == clip["frames"]
        assert len(list((made / "Annotations" / name).iterdir())) == clip["frames"]


def test_the_truth_is_where_the_target_is_after_every_camera(made: Path) -> None:
    reframed = 0
    for name, clip in clips_of(made).items():
        for shot in clip["shots"]:
            if shot["absent"]:
                continue
            reframed += shot["view"]["gamma"] != 1
            rgb, labels = picture_and_labels(made, name, shot["start"])
            seen, true = is_colored(rgb), labels == 1
            assert (seen & true).sum() / (seen | true).sum() > 0.85, (name, shot)
    assert reframed == 4 * (1 + 2)  # the second of single, two of multi


def test_interludes_show_others_and_the_truth_is_empty_in_them(made: Path) -> None:
    for name, clip in clips_of(made).items():
        interludes = [shot for shot in clip["shots"] if shot["source"] != clip["target"]]
        assert [s["absent"] for s in clip["shots"]].count(True) == len(interludes)
        assert len({s["source"] for s in interludes}) == len(interludes)
        for shot in interludes:
            for index in range(shot["start"], shot["end"]):
                rgb, labels = picture_and_labels(made, name, index)
                assert not labels.any()
                assert is_colored(rgb).any()


def test_a_clip_begins_with_its_target(made: Path) -> None:
    for name in clips_of(made):
        assert picture_and_labels(made, name, 0)[1].any()


def test_a_clip_begins_where_its_target_is_first_seen_well(tmp_path: Path) -> None:
    save_sequence(tmp_path, "late", [(RED, 16)], hidden=range(9))
    spec = replace(SHORT, splits=(Split.NONE,))
    make_multishot(MultishotJob(opened(tmp_path), tmp_path / "out", spec))
    assert clips_of(tmp_path / "out")["late-none"]["shots"][0]["frames"][0] == "00009"


def test_the_result_is_a_dataset_with_segments_by_cuts(made: Path) -> None:
    assert recognize_dataset(made) is Benchmark.SECVOS
    clips = clips_of(made)
    for video in opened(made).videos:
        cuts, last = clips[video.name]["cuts"], clips[video.name]["frames"] - 1
        bounds = dict(video.segments)
        assert bounds.pop("first_segment") == (0, (cuts or [last + 1])[0] - 1)
        if cuts:
            end = cuts[1] - 1 if len(cuts) > 1 else last
            assert bounds.pop("second_segment") == (cuts[0], end)
        if len(cuts) > 1:
            assert bounds.pop("remain_segments") == (cuts[1], last)
        assert not bounds


def test_without_interludes_the_shots_of_the_target_meet(dataset: Dataset, tmp_path: Path) -> None:
    spec = replace(SHORT, splits=(Split.MULTI,), interludes=0, shots=Span(3, 4))
    make_multishot(MultishotJob(dataset, tmp_path / "out", spec))
    for clip in clips_of(tmp_path / "out").values():
        assert {shot["source"] for shot in clip["shots"]} == {clip["target"]}
        assert len(clip["shots"]) in (3, 4)


def test_one_object_is_followed_or_all(tmp_path: Path) -> None:
    save_sequence(tmp_path / "in", "pair", [(GREEN, 0), (BLUE, 24)])
    spec = replace(SHORT, splits=(Split.SINGLE,))
    dataset = opened(tmp_path / "in")
    make_multishot(MultishotJob(dataset, tmp_path / "one", spec))
    make_multishot(MultishotJob(dataset, tmp_path / "all", replace(spec, objects=Followed.ALL)))
    assert clips_of(tmp_path / "one")["pair-single"]["objects"] == {"1": "1"}
    assert clips_of(tmp_path / "all")["pair-single"]["objects"] == {"1": "1", "2": "2"}
    for out, ids in (("one", {1}), ("all", {1, 2})):
        labels = picture_and_labels(tmp_path / out, "pair-single", 0)[1]
        assert set(np.unique(labels)) - {0} == ids
    rgb, labels = picture_and_labels(tmp_path / "all", "pair-single", 0)
    assert rgb[labels == 1].mean(0).argmax() == 1
    assert rgb[labels == 2].mean(0).argmax() == 2


def test_look_alikes_are_of_the_same_category_where_a_file_says_it(
    dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "categories.json"
    path.write_text('{"odd": ["red-car", "blue-dog"]}')
    footage = {f.name: f for f in sequences_of(dataset)}
    sampler = read_categories(path, list(footage.values()))
    others = [f for f in footage.values() if f.name != "red-car"]
    found = sampler.distractors(seeded_rng(1), footage["red-car"], others)
    assert [f.name for f in found] == ["blue-dog"]
    assert not sampler.distractors(seeded_rng(1), footage["pink-car"], others)


def test_look_alikes_by_appearance_have_the_nearest_colors(tmp_path: Path) -> None:
    for name, color in {"a": RED, "b": GREEN, "c": (200, 60, 50), "d": BLUE}.items():
        save_sequence(tmp_path, name, [(color, 16)], frames=3)
    footage = {f.name: f for f in sequences_of(opened(tmp_path))}
    own, like, unlike = (appearance(footage[n]) for n in "acd")
    assert own is not None
    assert like is not None
    assert unlike is not None
    assert own.distance(own) == pytest.approx(0, abs=1e-6)
    assert own.distance(like) < own.distance(unlike)


def test_the_metadata_of_a_dataset_say_what_looks_alike(dataset: Dataset) -> None:
    videos = tuple(
        replace(v, objects=(ObjectEntry("1", category=v.name.split("-")[1]),))
        for v in dataset.videos
    )
    footage = {f.name: f for f in sequences_of(replace(dataset, videos=videos))}
    sampler = sampler_of(list(footage.values()))
    others = [f for f in footage.values() if f.name != "blue-dog"]
    found = sampler.distractors(seeded_rng(1), footage["blue-dog"], others)
    assert [f.name for f in found] == ["green-dog"]


def test_at_random_every_other_sequence_may_come(dataset: Dataset) -> None:
    target, *others = sequences_of(dataset)
    firsts = {
        RandomDistractors().distractors(seeded_rng(i), target, others)[0].name for i in range(40)
    }
    assert firsts == {f.name for f in others}


def test_a_sequence_that_is_too_short_is_left_out_and_named(tmp_path: Path) -> None:
    save_sequence(tmp_path / "in", "long", [(RED, 16)])
    save_sequence(tmp_path / "in", "short", [(BLUE, 16)], frames=6)
    spec = replace(SHORT, splits=(Split.SINGLE,))
    plan = make_multishot(MultishotJob(opened(tmp_path / "in"), tmp_path / "out", spec))
    assert [clip.name for clip in plan.clips] == ["long-single"]
    ((name, split, why),) = plan.left_out
    assert (name, split) == ("short", Split.SINGLE)
    assert "6 frames with the target are too few for 2 shots of 4 or more" in why


def test_objects_and_frames_are_those_that_the_dataset_has(tmp_path: Path) -> None:
    (dogs,) = sequences_of(opened(davis2017(tmp_path / "davis")))
    assert list(dogs.areas) == ["1", "2"]  # 255 is void there
    assert dogs.areas["2"] == (4, 0, 4, 4, 0)
    assert dogs.main_object == "1"
    (video,) = sequences_of(opened(sav(tmp_path / "sav")))
    assert video.frames == ("00000", "00004", "00008")  # of 9 pictures, 3 have masks
    assert list(video.areas) == ["000", "001"]


def test_clips_are_made_of_movies_too(tmp_path: Path) -> None:
    def red_square(index: int) -> Any:
        rgb = np.full((*TOY, 3), 120, np.uint8)
        rgb[square(index)] = RED
        return rgb

    write_film(tmp_path / "sav_1.mp4", Film(frames=33), red_square)
    rows = [[{"size": list(TOY), "counts": encode_rle(square(index))}] for index in range(0, 33, 4)]
    write_json(tmp_path / "sav_1_manual.json", {"masklet_id": [0], "masklet": rows})
    dataset = open_dataset(recognize_dataset(tmp_path), Source(tmp_path, "train"))
    make_multishot(MultishotJob(dataset, tmp_path / "out", replace(SHORT, splits=(Split.SINGLE,))))
    (clip,) = clips_of(tmp_path / "out").values()
    assert clip["objects"] == {"1": "manual_0"}
    for shot in clip["shots"]:
        rgb, labels = picture_and_labels(tmp_path / "out", "sav_1-single", shot["end"] - 1)
        seen, true = is_colored(rgb), labels == 1
        assert (seen & true).sum() / (seen | true).sum() > 0.8


def refused(job: MultishotJob) -> str:
    with pytest.raises(InputError) as told:
        make_multishot(job)
    assert not list(job.out.parent.glob(".*.partial"))
    return str(told.value)


def test_too_few_sequences_for_interludes_are_refused(tmp_path: Path) -> None:
    save_sequence(tmp_path / "in", "a", [(RED, 16)])
    save_sequence(tmp_path / "in", "b", [(BLUE, 16)])
    said = refused(MultishotJob(opened(tmp_path / "in"), tmp_path / "out", SHORT))
    assert "may need 2 interludes of different sequences" in said
    assert "there are 1 others" in said
    assert not (tmp_path / "out").exists()


def test_only_sequences_that_are_too_short_are_refused(tmp_path: Path) -> None:
    save_sequence(tmp_path / "in", "short", [(BLUE, 16)], frames=6)
    spec = replace(SHORT, splits=(Split.SINGLE,))
    said = refused(MultishotJob(opened(tmp_path / "in"), tmp_path / "out", spec))
    assert "no clip can be made: short (single)" in said


def test_an_output_folder_in_use_is_refused(dataset: Dataset, made: Path, tmp_path: Path) -> None:
    before = all_bytes(made)
    assert "is not empty" in refused(MultishotJob(dataset, made, SHORT))
    assert all_bytes(made) == before
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(MultishotJob(dataset, tmp_path / "file", SHORT))


def test_masks_without_pictures_and_prompts_without_truth_are_refused(tmp_path: Path) -> None:
    for i in range(4):
        save_mask(tmp_path / f"masks/Annotations/a/{i:05d}.png", np.ones((8, 8), np.uint8))
    said = refused(MultishotJob(opened(tmp_path / "masks"), tmp_path / "out", SHORT))
    assert "has masks but no images" in said
    save_sequence(tmp_path / "first", "a", [(RED, 16)], frames=1)
    said = refused(MultishotJob(opened(tmp_path / "first"), tmp_path / "out", SHORT))
    assert "has only the first mask of each object" in said


def test_masks_of_another_size_than_their_pictures_are_refused(tmp_path: Path) -> None:
    save_sequence(tmp_path / "in", "a", [(RED, 16)])
    for i in range(30):
        save_mask(tmp_path / f"in/Annotations/a/{i:05d}.png", np.ones((24, 40), np.uint8))
    spec = replace(SHORT, splits=(Split.NONE,))
    said = refused(MultishotJob(opened(tmp_path / "in"), tmp_path / "out", spec))
    assert "is 40x24 and its image is 80x48" in said


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    save_sequence(tmp_path / "in", "a", [(RED, 16)])
    (tmp_path / "in/JPEGImages/a/00002.jpg").write_bytes(b"not a picture")
    spec = replace(SHORT, splits=(Split.NONE,))
    said = refused(MultishotJob(opened(tmp_path / "in"), tmp_path / "out", spec))
    assert "00002.jpg cannot be read as an image" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('["a"]', "expected"),
        ('{"car": "red-car"}', "expected"),
        ('{"car": ["red-car", "lorry"]}', "does not have: lorry"),
        ("{", "is not JSON"),
    ],
)
def test_a_file_of_categories_that_does_not_fit_is_refused(
    dataset: Dataset, tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "categories.json"
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        read_categories(path, sequences_of(dataset))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"splits": ()}, "no split"),
        ({"copies": 0}, "at least 1"),
        ({"shots": Span(1, 3)}, "at least 2 shots"),
        ({"shots": Span(2, 3), "interludes": 0.5}, "at least 2 cuts"),
        ({"mirrored": 1.5}, "mirrored is a share"),
        ({"zoom": (0.9, 0.4)}, "zoom"),
        ({"short_side": 4}, "short side"),
        ({"jpeg_quality": 0}, "JPEG quality"),
    ],
)
def test_a_spec_that_cannot_be_is_not_built(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        MultishotSpec(**wrong)


@pytest.mark.parametrize("text", ["", "a", "5-2", "0-3", "3-", "-4"])
def test_a_span_is_least_and_most(text: str) -> None:
    assert Span.parse("12-30") == Span(12, 30)
    assert Span.parse("7") == Span(7, 7)
    with pytest.raises(InputError):
        Span.parse(text)
