"""`segment-concept train memory`, `train frames` and `train scenes`, as a user types them."""

import json
from itertools import islice

import pytest
from typer.testing import CliRunner

from helpers.memory_toy import WIRING
from helpers.sav_toy import write_video
from helpers.tiny_weights import tiny_weights_file
from segment_concept import Tracker
from segment_concept.checkpoints.sam2.load import load_sam2
from segment_concept.checkpoints.sam2.save import save_sam2
from segment_concept.cli import console
from segment_concept.cli.app import make_app
from segment_concept.datasets.masklets import read_masklets
from segment_concept.datasets.sav import find_videos
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.types import Mask
from segment_concept.video.video_file import VideoFile


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("sav")
    write_video(root / "sav_000", "sav_000001", 240)
    write_video(root / "sav_000", "sav_000002", 30)
    write_video(root / "sav_000", "sav_000219", 240, objects=1)  # held out
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of a network with 7 slots, in a file that states its sizes."""
    path = tmp_path_factory.mktemp("weights") / "start.safetensors"
    save_sam2(load_sam2(tiny_weights_file("sam2"), image_side=128, wiring=WIRING).network, path)
    return path


def run(*arguments):
    return CliRunner().invoke(make_app(), ["train", *map(str, arguments)])


@pytest.fixture
def memory(data, weights):
    def start(out, *more):
        return run(
            *("memory", "--data", data, "--weights", weights, "--out", out, "--device", "cpu"),
            *("--workers", 0, "--batch", 1, *more),
        )

    return start


def test_a_dry_run_says_what_would_be_trained_and_trains_nothing(memory, tmp_path):
    found = memory(tmp_path / "run", "--dry-run", "--recipe", "memory_paper")
    assert found.exit_code == 0, found.output
    for words in (
        '"recipe": "memory_paper"',
        "steps: 1,250 of 1 clips, 1,250 in all",
        "trained, ",
        "GiB with micro-batches of 1 (an estimate, not measured)",
        "hours (an estimate, not measured)",
        "loaded 1 clips: sav_000001",
    ):
        assert words in found.output
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_stage_one_is_trained_exported_and_tracked_with(memory, data, tmp_path):
    out = tmp_path / "run"
    found = memory(out, "--steps", 2, "--save-every", 1, "--log-every", 1)
    assert found.exit_code == 0, found.output
    assert (out / "state-2/trained.safetensors").is_file()
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["train", "train", "held_out"]
    assert rows[-1]["videos"] == 1
    again = memory(out, "--steps", 3)
    assert again.exit_code == 2
    assert "schedule.steps was 2 and is 3" in again.output
    exported = tmp_path / "sam2-22.safetensors"
    found = run("export", out, exported)
    assert found.exit_code == 0, found.output
    tracker = Tracker(load_sam2(exported), ReliableMemory(22))
    video = find_videos(data)["sav_000219"]
    truth = read_masklets(video.masklets).mask(0, 0)
    session = tracker.session()
    frames = islice(VideoFile(video.movie).frames(), 6)
    session.prompt(next(frames), {1: Mask(truth)})
    assert [result.logits.isfinite().all() for result in session.track(frames)] == [True] * 5


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--recipe", "best"), "no recipe 'best' of stage 1: there are memory, memory_ordered"),
        (("--steps", 0), "--steps 0: must be at least 1"),
        (("--precision", "half"), "there is no precision 'half'"),
        (("--shard",), "sharding needs GPUs"),
        (("--weights", "nowhere.safetensors"), "nowhere.safetensors"),
        (("--frames", "nowhere"), "train frames"),
        (("--videos", "nowhere.txt"), "nowhere.txt"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(memory, tmp_path, more, message):
    found = memory(tmp_path / "run", *more)
    assert found.exit_code == 2
    assert message in found.output
    assert "Traceback" not in found.output


def test_a_missing_package_is_named_with_the_extra_that_has_it(memory, tmp_path, monkeypatch):
    monkeypatch.setattr(console, "find_spec", lambda name: None)
    found = memory(tmp_path / "run")
    assert found.exit_code == 2
    assert "this needs accelerate: pip install 'segment-concept[train-full]'" in found.output


def test_a_list_with_unknown_names_is_refused_by_name(memory, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("sav_000001\nsav_999999\n")
    found = memory(tmp_path / "run", "--videos", path)
    assert found.exit_code == 2
    assert "sav_999999" in found.output
    path.write_text("sav_000219\n")
    found = memory(tmp_path / "run", "--videos", path)
    assert "all 1 videos are held out" in found.output


def test_weights_of_another_size_than_sam_2_are_refused(memory, tmp_path):
    found = memory(tmp_path / "run", "--weights", tiny_weights_file("sec").parent)
    assert found.exit_code == 2
    assert "Traceback" not in found.output


def test_frames_are_extracted_and_listed_by_cuts(data, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("sav_000002\n")
    found = run("frames", data, tmp_path / "frames", "--videos", names)
    assert found.exit_code == 0, found.output
    assert "wrote the frames of 1 videos" in found.output
    assert len(list((tmp_path / "frames/sav_000002").iterdir())) == 8
    found = run("scenes", data, "--top", 2, "--out", tmp_path / "top.txt")
    assert found.exit_code == 0, found.output
    assert len((tmp_path / "top.txt").read_text().split()) == 2
