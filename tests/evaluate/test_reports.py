"""What reports say, worked out on scores one can check by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from helpers import benchmark_toys as toys
from helpers.html_pages import well_formed
from segment_concept.datasets.open import open_dataset
from segment_concept.datasets.survey import survey
from segment_concept.datasets.types import Benchmark, Group, Source
from segment_concept.evaluate.report.breakdowns import (
    after_return,
    by_cuts,
    by_split,
    by_video,
    over_time,
)
from segment_concept.evaluate.report.comparison import bootstrap_interval
from segment_concept.evaluate.report.write import write_report
from segment_concept.evaluate.run_folder import Cost, Manifest, RunFolder, VideoRecord
from segment_concept.evaluate.scores import ObjectScore
from segment_concept.runtime.files import write_json
from segment_concept.types import InputError, OutputError


def scored(video: str, name: str, *scores: float, group: Group = Group.NONE) -> ObjectScore:
    """An object with the same J and F on frames 00000, 00001, ..."""
    mean = sum(scores) / len(scores)
    frames = tuple(f"{i:05d}" for i in range(len(scores)))
    curves = {"J": scores, "F": scores}
    return ObjectScore(video, name, {"J": mean, "F": mean}, frames, curves, group=group)


A = scored("a", "1", 1.0, 1.0, 0.0, 0.0, group=Group.SEEN)
B = scored("a", "2", 0.5, 0.5, 0.5, 0.5, group=Group.UNSEEN)
C = scored("b", "1", 1.0, 1.0, 1.0, 1.0, group=Group.SEEN)


def test_rows_are_means_over_objects() -> None:
    rows = {row.name: (row.objects, row.both) for row in by_split([A, B, C])}
    assert rows == {"all": (3, 2 / 3), "seen": (2, 0.75), "unseen": (1, 0.5)}
    assert [(row.name, row.both) for row in by_video([A, B, C])] == [("a", 0.5), ("b", 1.0)]


def test_parts_of_videos_have_rows_of_their_own() -> None:
    part = ObjectScore("a", "1", {"J": 0.2, "F": 0.4}, part="first_segment")
    assert [(row.name, round(row.both, 9)) for row in by_split([scored("a", "1", 0.5), part])] == [
        ("all", 0.5),
        ("first segment", 0.3),
        ("videos without cuts", 0.5),
    ]


def test_videos_have_rows_by_how_many_cuts_they_have() -> None:
    def videos(name: str, score: float, *parts: str) -> list[ObjectScore]:
        values = {"J": 0.0, "F": 0.0}
        apart = [ObjectScore(name, "1", values, part=part) for part in parts]
        return [*apart, scored(name, "1", score)]

    first, second, remain = "first_segment", "second_segment", "remain_segments"
    objects = [
        *videos("calm", 0.9, first),
        *videos("cut", 0.5, first, second),
        *videos("film", 0.2, first, second, remain),
        *videos("other film", 0.4, remain, first, second),
    ]
    rows = {row.name: (row.objects, round(row.both, 9)) for row in by_split(objects)}
    assert rows["videos without cuts"] == (1, 0.9)
    assert rows["videos with one cut"] == (1, 0.5)
    assert rows["videos with several cuts"] == (2, 0.3)


def test_mose_v2_goes_by_f_dot() -> None:
    values = {"J": 0.5, "F": 0.0, "Fdot": 1.0}
    curves = {"J": (0.5,), "F": (0.0,), "Fdot": (1.0,)}
    (row,) = by_video([ObjectScore("a", "1", values, ("00001",), curves)])
    assert (row.both, row.boundary) == (0.75, 1.0)


def test_scores_over_time_are_means_of_equal_stretches() -> None:
    curve = over_time([A])
    assert [score for _, score in curve] == [1.0, 1.0, 0.0, 0.0]
    assert [x for x, _ in over_time([scored("v", "1", *[1.0] * 40)])][:2] == [2.5, 7.5]


def test_frames_count_by_the_cuts_before_them() -> None:
    rows = by_cuts([A, C], {"a": ("00001", "00002"), "b": ()})
    assert rows == [("0", 5, 1.0), ("1", 1, 1.0), ("2", 2, 0.0)]
    many = by_cuts([A], {"a": tuple(f"{i:05d}" for i in range(6))})
    assert many[-1][0] == "4 or more"


def test_after_return_looks_only_at_frames_that_show_the_object(tmp_path: Path) -> None:
    clip = toys.Clip("v", ((1,), (1,), (), (1,), (1,)))
    dataset = open_dataset(Benchmark.DAVIS2017, Source(toys.davis(tmp_path, (clip,))))
    surveys = {"v": survey(dataset.videos[0], dataset.benchmark)}
    found = after_return([scored("v", "1", 0.8, 0.6, 1.0, 0.1, 0.3)], surveys)
    assert found is not None
    assert (found.objects, found.before) == (1, pytest.approx(0.7))
    assert found.after == pytest.approx(0.2)
    assert found.curve == [(0.0, 0.1), (1.0, 0.3)]
    assert after_return([scored("v", "1", 1.0, 1.0)], surveys) is None


def test_the_bootstrap_interval_is_that_of_the_mean() -> None:
    rng = np.random.default_rng(5)
    values, ones = rng.normal(0.1, 0.2, 200), np.ones(200, int)
    low, high = bootstrap_interval(values, ones)
    error = 1.96 * values.std() / math.sqrt(200)
    assert (low, high) == pytest.approx(
        (values.mean() - error, values.mean() + error), abs=error / 10
    )
    assert bootstrap_interval(values, ones) == (low, high)
    assert bootstrap_interval(np.full(4, 0.25), np.array([1, 2, 3, 4])) == (0.25, 0.25)


def test_videos_weigh_as_many_objects_as_they_have() -> None:
    low, high = bootstrap_interval(np.array([0.0, 1.0]), np.array([99, 1]))
    assert low == 0
    assert high == 1  # where the same video is drawn twice
    draws = bootstrap_interval(np.array([0.0] * 9 + [1.0]), np.array([9] * 9 + [1]))
    assert draws[1] < 0.1


MANIFEST = Manifest("davis2017", "val", "f" * 64, ("a",), "toy", {"tracker": "toy"}, False, {})


def test_a_page_holds_all_that_it_shows(tmp_path: Path) -> None:
    from segment_concept.evaluate.protocols.registry import rules_for
    from segment_concept.evaluate.scoring import Work, score_dataset

    dataset = open_dataset(Benchmark.DAVIS2017, Source(toys.davis(tmp_path / "set")))
    run = RunFolder(tmp_path / "run")
    run.begin(MANIFEST)
    for clip in toys.CLIPS:
        for i, ids in enumerate(clip.ids):
            toys.save(run.masks / f"{clip.name}/{i:05d}.png", toys.labels(i, ids[:1]))
    scores = score_dataset(dataset, run.masks, rules_for(dataset.benchmark), Work())
    report = write_report(run, dataset, scores, "segment-concept evaluate <&>")
    page = (run.path / "report.html").read_text()
    reader = well_formed(page)
    assert reader.links
    assert all(link.startswith("data:image/jpeg;base64,") for link in reader.links)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "evaluate &lt;&amp;&gt;" in page
    assert "@media print" in page
    assert not report.is_whole  # video `a` of the manifest was not predicted
    content = json.loads((run.path / "report.json").read_text())
    assert content["broken"] == [["a", "not predicted yet"]]


def test_a_video_is_done_only_when_all_of_it_is_written(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin(MANIFEST)
    from segment_concept.evaluate.predict import Prediction

    record = VideoRecord("a", Prediction(3, 1, 0, ("00002",)))
    with run.staging_folder("a") as draft:
        (draft / "00000.png").write_bytes(b"x")
        assert not run.is_done("a")
        run.commit(draft, record, Cost(3, 1.0))
    assert run.is_done("a")
    assert run.record("a") == record
    assert run.cost("a") == Cost(3, 1.0)
    assert [p.name for p in run.masks.iterdir()] == ["a"]


def test_files_left_by_a_kill_are_removed_and_replaced(tmp_path: Path) -> None:
    from segment_concept.evaluate.predict import Prediction

    run = RunFolder(tmp_path / "run")
    run.begin(MANIFEST)
    for name in (".a.x1", ".ab.x2", "a"):  # of video a, of video ab, and masks without a record
        (run.masks / name).mkdir()
        (run.masks / name / "old.png").touch()
    for folder in ("videos", "cost"):  # records that were being written
        for name in (".a.jsonq1w2e3r4", ".ab.jsonq1w2e3r4"):
            (run.path / folder / name).touch()
    run.remove_partial(["a"])
    assert sorted(p.name for p in run.masks.iterdir()) == [".ab.x2", "a"]
    for folder in ("videos", "cost"):
        assert [p.name for p in (run.path / folder).iterdir()] == [".ab.jsonq1w2e3r4"]
    with run.staging_folder("a") as draft:
        (draft / "new.png").touch()
        run.commit(draft, VideoRecord("a", Prediction(1, 1, 0, ())), Cost(1, 1.0))
    assert [p.name for p in (run.masks / "a").iterdir()] == ["new.png"]


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin(MANIFEST)
    (run.path / "videos/a.json").write_text("{")
    with pytest.raises(InputError, match=r"a\.json is not JSON.*remove it and run"):
        run.record("a")


def test_a_full_disk_ends_the_run_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin(MANIFEST)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"the disk is full.*free some space"):
        run.write_record(VideoRecord("a", None, "why"))
    assert not list((run.path / "videos").iterdir())
    with pytest.raises(OSError, match="No space left"):
        write_json(tmp_path / "x.json", {})
