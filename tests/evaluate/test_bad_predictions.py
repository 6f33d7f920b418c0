"""Whatever is wrong with predictions is said: in which video and frame, and what to do."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.fixtures import unpacked
from helpers.scoring_goldens import scored
from segment_concept.datasets.types import Benchmark, Source
from segment_concept.evaluate.protocols.registry import ProtocolName, RuleOptions
from segment_concept.evaluate.scores import Scores, read_scores, write_scores
from segment_concept.evaluate.scoring import ScoringError, Work
from segment_concept.types import InputError

LABELS = np.zeros((40, 60), np.uint8)
LABELS[10:20, 10:30] = 1
LABELS[25:35, 20:50] = 2


def save(path: Path, ids: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids.astype(np.uint8), "L").convert("P")
    image.putdata(ids.ravel().tolist())
    image.putpalette(list(range(256)) * 3)
    image.save(path)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    for video in ("bear", "camel"):
        for i in range(6):
            save(tmp_path / f"truth/{video}/{i:05d}.png", LABELS)
    return tmp_path / "truth"


@pytest.fixture
def predictions(truth: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(truth, tmp_path / "predictions"))


ALL_LABEL_MAPS = pytest.mark.parametrize(
    "protocol",
    [ProtocolName.DAVIS2017, ProtocolName.VOS_BENCHMARK, ProtocolName.SA_V],
)


def refusal(protocol: ProtocolName, truth: Path, predictions: Path) -> str:
    with pytest.raises(InputError) as caught:
        scored(protocol, Source(truth), predictions)
    return str(caught.value)


def warnings(scores: Scores) -> str:
    return "\n".join(str(finding) for finding in scores.findings)


@ALL_LABEL_MAPS
def test_good_predictions_score_1_without_a_remark(
    protocol: ProtocolName, truth: Path, predictions: Path
) -> None:
    scores = scored(protocol, Source(truth), predictions)
    assert scores.headline["J&F"] == 1
    assert scores.findings == ()


@ALL_LABEL_MAPS
def test_a_missing_frame_is_named(protocol: ProtocolName, truth: Path, predictions: Path) -> None:
    (predictions / "camel/00003.png").unlink()
    message = refusal(protocol, truth, predictions)
    assert "video camel, frame 00003" in message
    assert "lacks 1 of 4 scored frames (00003); write a mask for every frame" in message


@ALL_LABEL_MAPS
def test_the_first_and_last_frame_may_be_missing_where_they_do_not_count(
    protocol: ProtocolName, truth: Path, predictions: Path
) -> None:
    (predictions / "camel/00000.png").unlink()
    (predictions / "camel/00005.png").unlink()
    assert scored(protocol, Source(truth), predictions).headline["J&F"] == 1


def test_every_broken_video_is_named_at_once(truth: Path, predictions: Path) -> None:
    (predictions / "camel/00003.png").unlink()
    (predictions / "bear/00001.png").unlink()
    message = refusal(ProtocolName.VOS_BENCHMARK, truth, predictions)
    assert message.startswith("2 videos cannot be scored:")
    assert "video bear, frame 00001" in message
    assert "video camel, frame 00003" in message


def test_a_missing_video_is_named(truth: Path, predictions: Path) -> None:
    shutil.rmtree(predictions / "camel")
    message = refusal(ProtocolName.VOS_BENCHMARK, truth, predictions)
    assert "video camel: " in message
    assert "predict this video, or leave it out with --skip-broken" in message


def test_skipping_broken_videos_scores_the_rest_and_says_so(truth: Path, predictions: Path) -> None:
    (predictions / "camel/00003.png").unlink()
    scores = scored(
        ProtocolName.VOS_BENCHMARK, Source(truth), predictions, work=Work(skip_broken=True)
    )
    assert {o.video for o in scores.objects} == {"bear"}
    assert scores.broken_videos == ("camel",)


def test_extra_frames_are_ignored_with_a_warning(truth: Path, predictions: Path) -> None:
    save(predictions / "bear/00006.png", LABELS)
    scores = scored(ProtocolName.VOS_BENCHMARK, Source(truth), predictions)
    assert scores.headline["J&F"] == 1
    assert "1 masks for frames that the truth does not have (00006)" in warnings(scores)


def test_frames_between_a_sparse_truth_are_expected(truth: Path, predictions: Path) -> None:
    for i in (1, 3):
        (truth / f"bear/{i:05d}.png").unlink()
    assert not scored(ProtocolName.VOS_BENCHMARK, Source(truth), predictions).findings


def test_predictions_named_in_another_way_are_reported(truth: Path, predictions: Path) -> None:
    for path in sorted((predictions / "bear").iterdir()):
        path.rename(path.with_name(f"frame_{path.name}"))
    message = refusal(ProtocolName.VOS_BENCHMARK, truth, predictions)
    assert "none of the 4 scored frames: it has frame_00000, frame_00001" in message
    assert "expected 00001, 00002, 00003 and 1 more; use the names of the annotations" in message


def test_predictions_of_another_dataset_are_reported(truth: Path, predictions: Path) -> None:
    for name in ("bear", "camel"):
        (predictions / name).rename(predictions / f"youtube-{name}")
    message = refusal(ProtocolName.DAVIS2017, truth, predictions)
    assert "none of the dataset's 2 videos. It has youtube-bear, youtube-camel" in message
    assert "another dataset or split?" in message


def test_an_empty_folder_of_predictions_is_reported(truth: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "has no subfolders" in refusal(ProtocolName.VOS_BENCHMARK, truth, tmp_path / "empty")


def test_a_folder_that_does_not_exist_is_reported(truth: Path, tmp_path: Path) -> None:
    assert "does not exist" in refusal(ProtocolName.VOS_BENCHMARK, truth, tmp_path / "nowhere")


def test_a_video_without_a_single_mask_is_reported(truth: Path, predictions: Path) -> None:
    for path in (predictions / "bear").iterdir():
        path.unlink()
    assert "bear has no PNG file" in refusal(ProtocolName.VOS_BENCHMARK, truth, predictions)


def test_a_truth_without_masks_is_reported(truth: Path, predictions: Path) -> None:
    for path in (truth / "bear").iterdir():
        path.unlink()
    message = refusal(ProtocolName.VOS_BENCHMARK, truth, predictions)
    assert "video bear: the truth has no PNG mask" in message


@ALL_LABEL_MAPS
def test_a_mask_of_another_size_names_both_files(
    protocol: ProtocolName, truth: Path, predictions: Path
) -> None:
    save(predictions / "bear/00002.png", LABELS[::2, ::2])
    message = refusal(protocol, truth, predictions)
    assert "video bear: " in message
    assert "predictions/bear/00002.png" in message
    assert "30x20" in message
    assert "60x40" in message
    assert "nearest" in message


@ALL_LABEL_MAPS
def test_a_color_mask_is_refused(protocol: ProtocolName, truth: Path, predictions: Path) -> None:
    Image.new("RGB", (60, 40)).save(predictions / "bear/00002.png")
    message = refusal(protocol, truth, predictions)
    assert "bear/00002.png cannot be read as a mask: it is a RGB image" in message


@ALL_LABEL_MAPS
def test_an_unreadable_mask_is_named(
    protocol: ProtocolName, truth: Path, predictions: Path
) -> None:
    (predictions / "bear/00002.png").write_bytes(b"\x89PNG\r\n\x1a\nnot any more")
    assert "bear/00002.png cannot be read" in refusal(protocol, truth, predictions)


def test_davis_2017_refuses_black_and_white_masks(truth: Path, predictions: Path) -> None:
    save(predictions / "bear/00002.png", (LABELS > 0) * 255)
    message = refusal(ProtocolName.DAVIS2017, truth, predictions)
    assert "bear/00002.png has object id 255" in message
    assert "write the object id instead of 255" in message


def test_black_and_white_masks_are_no_silent_zero(tmp_path: Path) -> None:
    root = unpacked("quirks") / "pred-0-255-gt-0-1"
    scores = scored(ProtocolName.VOS_BENCHMARK, Source(root / "gt"), root / "pred")
    assert scores.headline["J"] == 0
    assert "id 255 and the truth has 1: masks of 0 and 255 are not label maps" in warnings(scores)


def test_void_pixels_scored_as_an_object_are_warned_of() -> None:
    root = unpacked("quirks") / "void255"
    scores = scored(ProtocolName.VOS_BENCHMARK, Source(root / "gt"), root / "pred")
    assert "object 255: the truth has id 255" in warnings(scores)


def test_an_id_that_the_truth_does_not_have_is_refused_by_davis_and_warned_of_elsewhere() -> None:
    root = unpacked("quirks") / "extra-pred-id"
    message = refusal(ProtocolName.DAVIS2017, root / "gt", root / "pred")
    assert "ids up to 1; write only the ids of frame 0 of the truth" in message
    scores = scored(ProtocolName.VOS_BENCHMARK, Source(root / "gt"), root / "pred")
    assert "the prediction has ids that are not in the scored truth" in warnings(scores)


def test_an_object_that_appears_late_is_explained_to_users_of_davis() -> None:
    root = unpacked("quirks") / "late-object"
    message = refusal(ProtocolName.DAVIS2017, root / "gt", root / "pred")
    assert "the object appears after frame 0" in message
    assert "vos-benchmark" in message


def test_ids_that_davis_invents_are_warned_of() -> None:
    root = unpacked("quirks") / "noncontiguous-ids"
    scores = scored(ProtocolName.DAVIS2017, Source(root / "gt"), root / "pred")
    assert "frame 0 of the truth has no object 1, 2, 4, 5, 6" in warnings(scores)


def test_a_video_too_short_to_score_is_reported() -> None:
    root = unpacked("quirks") / "two-frames"
    message = refusal(ProtocolName.DAVIS2017, root / "gt", root / "pred")
    assert "video v has 2 annotated frames (00000, 00001)" in message
    assert "vos-benchmark-every-frame" in message
    scores = scored(ProtocolName.VOS_BENCHMARK, Source(root / "gt"), root / "pred")
    assert "nothing is scored" in warnings(scores)
    assert np.isnan(scores.headline["J&F"])


def test_more_than_20_proposals_are_refused(truth: Path, predictions: Path) -> None:
    save(predictions / "bear/00002.png", LABELS * 11)
    message = refusal(ProtocolName.DAVIS2017_UNSUPERVISED, truth, predictions)
    assert "bear/00002.png has proposal 22: at most 20" in message


def test_an_empty_truth_is_no_silent_score() -> None:
    root = unpacked("quirks") / "gt-all-empty"
    for protocol in (ProtocolName.DAVIS2017, ProtocolName.VOS_BENCHMARK):
        scores = scored(protocol, Source(root / "gt"), root / "pred")
        assert np.isnan(scores.headline["J&F"])
        assert "nothing is scored" in warnings(scores)


def test_a_missing_object_folder_is_named(tmp_path: Path) -> None:
    root = unpacked("sav")
    predictions = Path(shutil.copytree(root / "preds", tmp_path / "preds"))
    shutil.rmtree(predictions / "sav_000001/001")
    with pytest.raises(ScoringError, match=r"video sav_000001, object 001, .*001 is missing"):
        scored(ProtocolName.SA_V, Source(root / "gt"), predictions, benchmark=Benchmark.SA_V)


def test_an_object_that_is_never_shown_may_be_dropped() -> None:
    root = unpacked("sav_assert")
    scores = scored(
        ProtocolName.SA_V,
        Source(root / "gt"),
        root / "preds",
        benchmark=Benchmark.SA_V,
        options=RuleOptions(drop_unseen=True),
    )
    assert scores.objects == ()


def test_a_missing_video_of_mose_v2_is_a_zero_but_not_a_silent_one() -> None:
    root = unpacked("mosev2")
    scores = scored(ProtocolName.MOSE2, Source(root), root / "preds", benchmark=Benchmark.MOSE2)
    assert "video nopred: " in warnings(scores)
    assert "score 0, as in the official evaluator" in warnings(scores)


def test_a_folder_around_predictions_of_mose_v2_is_entered(tmp_path: Path) -> None:
    root = unpacked("mosev2")
    shutil.copytree(root / "preds", tmp_path / "outer/inner")
    inside, outside = (
        scored(ProtocolName.MOSE2, Source(root), folder, benchmark=Benchmark.MOSE2)
        for folder in (tmp_path / "outer/inner", tmp_path / "outer")
    )
    assert inside.headline == outside.headline


def test_a_frame_missing_from_mose_v2_is_named(tmp_path: Path) -> None:
    root = unpacked("mosev2")
    predictions = Path(shutil.copytree(root / "preds", tmp_path / "preds"))
    (predictions / "big1/00007.png").unlink()
    with pytest.raises(ScoringError, match=r"video big1, frame 00007: .*missing 00007"):
        scored(ProtocolName.MOSE2, Source(root), predictions, benchmark=Benchmark.MOSE2)


def test_a_truth_of_mose_v2_that_contradicts_its_metadata_is_reported(tmp_path: Path) -> None:
    root = Path(shutil.copytree(unpacked("mosev2"), tmp_path / "mosev2"))
    (root / "Annotations/big1/00019.png").unlink()
    with pytest.raises(ScoringError, match=r"video big1: the truth has 19 masks .* says 20"):
        scored(ProtocolName.MOSE2, Source(root), root / "preds", benchmark=Benchmark.MOSE2)


def test_lvos_asks_for_its_list_of_unseen_videos(tmp_path: Path) -> None:
    root = Path(shutil.copytree(unpacked("lvos"), tmp_path / "lvos"))
    (root / "unseen_videos.txt").unlink()
    with pytest.raises(InputError, match=r"give it with --unseen\. v1 and v2 have different"):
        scored(ProtocolName.LVOS, Source(root), root / "preds", benchmark=Benchmark.LVOS2)


def test_a_list_of_the_other_version_of_lvos_is_noticed(tmp_path: Path) -> None:
    root = unpacked("lvos")
    (tmp_path / "other.txt").write_text("ZyXw9999\n")
    source = Source(root, unseen=tmp_path / "other.txt")
    scores = scored(ProtocolName.LVOS, source, root / "preds", benchmark=Benchmark.LVOS2)
    assert "is it the list of the other version of LVOS?" in warnings(scores)
    assert np.isnan(scores.headline["J&F"])


def test_a_mask_that_lvos_promises_must_be_there(tmp_path: Path) -> None:
    root = Path(shutil.copytree(unpacked("lvos"), tmp_path / "lvos"))
    (root / "Annotations/AbCd0002/00000011.png").unlink()
    with pytest.raises(ScoringError, match=r"video AbCd0002, frame 00000011: .*complete the ann"):
        scored(ProtocolName.LVOS, Source(root), root / "preds", benchmark=Benchmark.LVOS2)


def test_youtube_vos_cannot_be_scored_without_its_truth() -> None:
    root = unpacked("ytvos")
    source = Source(root / "valid", unseen=root / "split.json")
    with pytest.raises(InputError, match="kept by the server"):
        scored(
            ProtocolName.YOUTUBE_VOS, source, root / "preds", benchmark=Benchmark.YOUTUBE_VOS_2019
        )


def test_a_layout_that_does_not_suit_the_protocol_is_reported() -> None:
    root = unpacked("sav")
    with pytest.raises(ScoringError, match="has one folder per object"):
        scored(
            ProtocolName.DAVIS2017, Source(root / "gt"), root / "preds", benchmark=Benchmark.SA_V
        )


class TestWritingScores:
    @pytest.fixture
    def scores(self) -> Scores:
        root = unpacked("mosev2")
        return scored(ProtocolName.MOSE2, Source(root), root / "preds", benchmark=Benchmark.MOSE2)

    def test_scores_come_back_as_they_were_written(self, scores: Scores, tmp_path: Path) -> None:
        write_scores(scores, tmp_path / "run")
        back = read_scores(tmp_path / "run")
        assert repr(back) == repr(scores)
        rows = (tmp_path / "run/scores.csv").read_text().splitlines()
        assert rows[0] == "video,object,part,group,J,F,Fdot,Jd,Fdotd,Jr,Fdotr"
        assert len(rows) == 1 + len(scores.objects)

    def test_a_folder_that_cannot_be_written_is_reported(
        self, scores: Scores, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match=r"cannot be written to .*choose another folder"):
            write_scores(scores, tmp_path / "file/run")

    def test_a_full_disk_leaves_what_was_there(
        self, scores: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_scores(scores, tmp_path)
        before = (tmp_path / "scores.json").read_text()

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"No space left .*free disk space"):
            write_scores(scores, tmp_path)
        assert (tmp_path / "scores.json").read_text() == before
        assert sorted(p.name for p in tmp_path.iterdir()) == ["scores.csv", "scores.json"]

    def test_a_file_of_something_else_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "scores.json").write_text("{}")
        with pytest.raises(InputError, match="not a scores file"):
            read_scores(tmp_path)


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b"x")])
def test_nothing_hangs_with_several_processes(
    damage: Callable[[Path], object], truth: Path, predictions: Path
) -> None:
    damage(predictions / "camel/00003.png")
    with pytest.raises(ScoringError, match="video camel"):
        scored(ProtocolName.VOS_BENCHMARK, Source(truth), predictions, work=Work(processes=2))
