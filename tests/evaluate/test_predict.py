"""Predicting a video: which masks are shown when, and what is written."""

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from helpers import benchmark_toys as toys
from segment_concept.datasets.masks import read_labels
from segment_concept.datasets.open import open_dataset
from segment_concept.datasets.types import Benchmark, Dataset, Source
from segment_concept.evaluate.fingerprint import dataset_fingerprint
from segment_concept.evaluate.first_masks import first_masks, refuse_unpredictable
from segment_concept.evaluate.predict import predict_video, video_job
from segment_concept.evaluate.protocols.registry import ProtocolName, rules_for
from segment_concept.types import InputError

LATE = toys.Clip("late", ((1,), (1,), (1, 2), (1, 2), (2,), (1, 2)))


def folder(root: Path, *clips: toys.Clip) -> Dataset:
    """Clips as a plain folder of label maps, where objects may appear later."""
    for clip in clips:
        for i, ids in enumerate(clip.ids):
            toys.save(root / f"Annotations/{clip.name}/{i:05d}.png", toys.labels(i, ids))
            toys.save(root / f"JPEGImages/{clip.name}/{i:05d}.png", toys.picture(i, clip))
    return open_dataset(Benchmark.FOLDER, Source(root))


def objects_apart(root: Path) -> Dataset:
    """One SA-V video: a folder an object, a mask every fourth picture, the second one late."""
    clip = toys.Clip("sav_1", ((1, 2),) * 9)
    for i in range(9):
        toys.save(root / f"JPEGImages_24fps/sav_1/{i:05d}.png", toys.picture(i, clip))
    for i in (0, 4, 8):
        for o in (1, 2):
            there = toys.labels(i, (o,)) // o * 255 if (o, i) != (2, 0) else toys.labels(0, ())
            toys.save(root / f"Annotations_6fps/sav_1/00{o}/{i:05d}.png", there)
    (root / "sav_val.txt").write_text("sav_1\n")
    return open_dataset(Benchmark.SA_V, Source(root))


class Watched(toys.ColorTracker):
    """Remembers what its sessions were asked."""

    calls: list[tuple[int, str, tuple[int, ...]]] = []  # noqa: RUF012 (a toy)

    def session(self) -> Any:
        number = len({session for session, _, _ in self.calls})
        calls = self.calls

        class Session(toys.ColorSession):
            def prompt(self, frame: Any, prompts: Any) -> toys.Result:
                calls.append((number, f"prompt {frame.index}", tuple(prompts)))
                return super().prompt(frame, prompts)

            def step(self, frame: Any, prompts: Any = MappingProxyType({})) -> toys.Result:
                if self.colors:
                    calls.append((number, f"step {frame.index}", tuple(self.colors)))
                return super().step(frame, prompts)

        return Session()


@pytest.fixture
def watched() -> Watched:
    Watched.calls = []
    return Watched()


def predict(dataset: Dataset, tracker: Any, out: Path, *, alone: bool = False) -> Any:
    out.mkdir()
    return predict_video(tracker, video_job(dataset, dataset.videos[0], alone=alone), out)


def test_an_object_is_shown_on_the_frame_that_has_it_first(
    tmp_path: Path, watched: Watched
) -> None:
    dataset = folder(tmp_path / "set", LATE)
    predict(dataset, watched, tmp_path / "out")
    assert watched.calls[:5] == [
        (0, "prompt 0", (1,)),
        (0, "step 1", (1,)),
        (0, "step 2", (1,)),
        (0, "prompt 2", (2,)),
        (0, "step 3", (1, 2)),
    ]


def test_objects_alone_have_a_session_each(tmp_path: Path, watched: Watched) -> None:
    dataset = folder(tmp_path / "set", LATE)
    predict(dataset, watched, tmp_path / "out", alone=True)
    assert {(session, ids) for session, _, ids in watched.calls} == {(0, (1,)), (1, (2,))}


def test_masks_equal_the_truth_where_the_tracker_is_right(tmp_path: Path) -> None:
    dataset = folder(tmp_path / "set", LATE)
    for alone in (False, True):
        out = tmp_path / f"out{alone}"
        assert predict(dataset, toys.color(), out, alone=alone).frames == 6
        for i, ids in enumerate(LATE.ids):
            assert np.array_equal(read_labels(out / f"{i:05d}.png"), toys.labels(i, ids))


def test_masks_are_empty_before_the_first_prompt(tmp_path: Path) -> None:
    dataset = folder(tmp_path / "set", toys.Clip("late", ((), (), (2,), (2,))))
    predict(dataset, toys.color(), tmp_path / "out")
    assert [read_labels(tmp_path / f"out/0000{i}.png").max() for i in range(4)] == [0, 0, 2, 2]


def test_davis_shows_only_the_objects_of_the_first_frame(tmp_path: Path) -> None:
    dataset = open_dataset(Benchmark.DAVIS2017, Source(toys.davis(tmp_path, (LATE,))))
    assert [s.object_id for s in first_masks(dataset.videos[0], dataset.benchmark)] == [1]


def test_void_pixels_of_davis_are_no_object(tmp_path: Path) -> None:
    root = toys.davis(tmp_path, toys.CLIPS[:1])
    labels = toys.labels(0, (1, 2))
    labels[0] = 255
    toys.save(root / "Annotations/480p/apples/00000.png", labels)
    dataset = open_dataset(Benchmark.DAVIS2017, Source(root))
    assert [s.object_id for s in first_masks(dataset.videos[0], dataset.benchmark)] == [1, 2]


def test_metadata_says_which_objects_there_are_and_from_when(tmp_path: Path) -> None:
    for i, ids in enumerate(LATE.ids):
        toys.save(tmp_path / f"valid/Annotations/late/{i:05d}.png", toys.labels(i, ids))
    objects = {"1": {"category": "dog", "frames": ["00003", "00004"]}}
    meta = {"videos": {"late": {"objects": objects}}}
    (tmp_path / "valid/meta.json").write_text(json.dumps(meta))
    dataset = open_dataset(Benchmark.YOUTUBE_VOS_2019, Source(tmp_path))
    (shown,) = first_masks(dataset.videos[0], dataset.benchmark)
    assert (shown.object_id, shown.frame) == (1, "00003")


def test_objects_with_folders_of_their_own_are_written_apart(tmp_path: Path) -> None:
    dataset = objects_apart(tmp_path / "set")
    made = predict(dataset, toys.color(), tmp_path / "out")
    assert (made.frames, made.objects) == (9, 2)
    names = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png"))
    assert names == [f"00{o}/0000{i}.png" for o in (1, 2) for i in (0, 4, 8)]
    assert not read_labels(tmp_path / "out/002/00000.png").any()
    assert np.array_equal(read_labels(tmp_path / "out/002/00008.png") > 0, toys.labels(8, (2,)) > 0)


def test_the_more_confident_of_overlapping_objects_of_two_sessions_wins(tmp_path: Path) -> None:
    dataset = folder(tmp_path / "set", toys.Clip("twins", ((1, 2),) * 3))
    # Both look alike on every picture: each session claims both squares.
    for path in dataset.videos[0].pictures:
        pixels = np.full((*toys.SIZE, 3), 9, np.uint8)
        pixels[toys.labels(int(path.stem), (1,)) > 0] = (200, 0, 0)
        pixels[toys.labels(int(path.stem), (2,)) > 0] = (190, 0, 0)
        toys.save(path, pixels)
    predict(dataset, toys.color(), tmp_path / "out", alone=True)
    for i in range(3):
        written = read_labels(tmp_path / f"out/{i:05d}.png")
        assert np.array_equal(written, toys.labels(i, (1, 2)))


def test_ids_beyond_255_are_kept(tmp_path: Path) -> None:
    dataset = folder(tmp_path / "set", toys.CLIPS[2])
    for layer_frame in dataset.videos[0].layers[0].frames:
        wide = toys.labels(int(layer_frame), (1,)).astype(np.uint16) * 300
        toys.save(tmp_path / f"set/Annotations/cats/{layer_frame}.png", wide)
    predict(dataset, toys.color(), tmp_path / "out")
    assert set(np.unique(read_labels(tmp_path / "out/00003.png"))) == {0, 300}


def test_cuts_are_found_on_the_way(tmp_path: Path) -> None:
    dataset = folder(tmp_path / "set", toys.Clip("edited", ((1,),) * 12))
    for path in dataset.videos[0].pictures[6:]:
        pixels = toys.picture(int(path.stem), toys.Clip("", ((1,),) * 12))
        pixels[pixels.sum(axis=2) == 0] = (90, 220, 250)
        toys.save(path, pixels)
    assert predict(dataset, toys.color(), tmp_path / "out").cuts == ("00006",)


def test_masks_without_their_picture_are_refused(tmp_path: Path) -> None:
    dataset = folder(tmp_path / "set", LATE)
    video = dataset.videos[0]
    with pytest.raises(InputError, match="no image for the masks of 00002"):
        video_job(dataset, replace(video, pictures=video.pictures[3:] + video.pictures[:2]))
    with pytest.raises(InputError, match="has no images"):
        video_job(dataset, replace(video, pictures=()))


def test_a_dataset_without_pictures_is_refused(tmp_path: Path) -> None:
    dataset = folder(tmp_path / "set", LATE)
    videos = tuple(replace(video, pictures=()) for video in dataset.videos)
    with pytest.raises(InputError, match="has masks but no images"):
        refuse_unpredictable(replace(dataset, videos=videos))


def test_a_fingerprint_goes_with_the_files_and_not_with_the_place(tmp_path: Path) -> None:
    one, two = (folder(tmp_path / name, LATE) for name in ("a", "b"))
    assert dataset_fingerprint(one) == dataset_fingerprint(two)
    (tmp_path / "b/JPEGImages/late/00001.png").write_bytes(b"cut off")
    assert dataset_fingerprint(one) != dataset_fingerprint(two)


def test_the_substitute_for_the_evaluator_of_mose_is_marked_unofficial() -> None:
    assert not rules_for(Benchmark.MOSE).official
    assert not rules_for(Benchmark.MOSE, ProtocolName.VOS_BENCHMARK).official
    assert rules_for(Benchmark.FOLDER).official


def test_results_of_several_sessions_become_one_label_map() -> None:
    import torch

    from segment_concept.evaluate.predict import label_map
    from segment_concept.types import FrameResult

    def result(object_id: int, *logits: float) -> FrameResult:
        one = torch.ones(1)
        return FrameResult(0, (object_id,), torch.tensor([[logits]]), one, one)

    both = [result(3, 2.0, 1.0, -1.0, -1.0), result(5, 1.0, 2.0, 1.0, -2.0)]
    assert label_map(both, (1, 4)).tolist() == [[3, 5, 5, 0]]
    assert label_map(both[:1], (1, 4)).tolist() == [[3, 3, 0, 0]]
    assert label_map([], (1, 4)).tolist() == [[0, 0, 0, 0]]
