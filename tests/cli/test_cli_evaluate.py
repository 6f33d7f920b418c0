"""`evaluate` and `report` as a user types them, with a tracker that goes by color."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from helpers import benchmark_toys as toys
from helpers.signals import default_signals
from segment_concept.cli import evaluate as benchmark
from segment_concept.cli import report

SRC = Path(benchmark.__file__).parents[2]
TESTS = Path(toys.__file__).parents[1]
TOY = toys.__name__
MAIN = (
    "import typer; from segment_concept.cli import evaluate as b; "
    "a = typer.Typer(); a.callback()(lambda: None); b.register(a); a()"
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return toys.davis(tmp_path / "davis")


def run(*words: object) -> tuple[int, str]:
    """Exit code and all that was said."""
    app = typer.Typer()
    benchmark.register(app)
    report.register(app)
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def evaluate(data: Path, out: Path, *words: object, tracker: str = "color") -> tuple[int, str]:
    recipe = ("--recipe", f"{TOY}:{tracker}")
    return run("evaluate", "-b", "davis2017", "-d", data, "-o", out, *recipe, *words)


def test_evaluate_predicts_scores_and_reports(data: Path, tmp_path: Path) -> None:
    code, said = evaluate(data, tmp_path / "run")
    assert code == 0
    assert f"{TOY}:color on davis2017 by davis2017: J&F 100.0  J 100.0" in said
    text = (tmp_path / "run/report.md").read_text()
    assert "Protocol: davis2017 (official protocol)" in text
    assert "| birds | 2 | 100.0 | 100.0 | 100.0 |" in text
    content = json.loads((tmp_path / "run/report.json").read_text())
    assert content["headline"]["J&F"] == 1
    assert content["cost"]["frames"] == 22
    assert content["cost"]["concept_calls"] == 4
    assert content["after_return"]["objects"] == 1
    assert len(content["manifest"]["dataset"]) == 64
    assert "22 frames" not in said


def test_a_second_start_predicts_nothing_again(data: Path, tmp_path: Path) -> None:
    evaluate(data, tmp_path / "run")
    before = toys.files_of(tmp_path / "run")
    stamp = (tmp_path / "run/videos/cats.json").stat().st_mtime_ns
    code, _ = evaluate(data, tmp_path / "run")
    assert code == 0
    assert toys.files_of(tmp_path / "run") == before
    assert (tmp_path / "run/videos/cats.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_again_and_again_ends_as_an_undisturbed_one(
    workers: int, data: Path, tmp_path: Path
) -> None:
    evaluate(data, tmp_path / "calm", tracker="slow_color")
    out = tmp_path / "killed"
    words = ["evaluate", "-b", "davis2017", "-d", data, "-o", out]
    words += ["--recipe", f"{TOY}:slow_color", "--workers", workers]
    command = [sys.executable, "-c", MAIN, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": f"{SRC}{os.pathsep}{TESTS}"}
    kills = 0
    for wanted in (1, 2, 3):  # videos that have masks, whole or begun, when the kill comes
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(_begun(out)) <= wanted:
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills == 3
    code, _ = evaluate(data, out, tracker="slow_color")
    assert code == 0
    assert toys.files_of(out) == toys.files_of(tmp_path / "calm")


@pytest.mark.parametrize(
    ("workers", "name"),
    [
        (1, "SIGINT"),
        (1, "SIGTERM"),
        (1, "SIGHUP"),
        (2, "SIGINT"),
        pytest.param(2, "SIGTERM", marks=pytest.mark.slow),
        pytest.param(2, "SIGHUP", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_keeps_finished_videos_and_leaves_no_partial_files(
    workers: int, name: str, data: Path, tmp_path: Path
) -> None:
    if not hasattr(signal, name):
        pytest.skip("this system has no such signal")
    out = tmp_path / "stopped"
    words = ["evaluate", "-b", "davis2017", "-d", data, "-o", out]
    words += ["--recipe", f"{TOY}:slow_color", "--workers", workers]
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, words)],
        env={**os.environ, "PYTHONPATH": f"{SRC}{os.pathsep}{TESTS}"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default_signals,
    )
    while process.poll() is None and not list((out / "videos").glob("*.json")):
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert list((out / "videos").glob("*.json"))
    assert not [entry for entry in _begun(out) if entry.startswith(".")]
    evaluate(data, tmp_path / "calm", tracker="slow_color")
    assert evaluate(data, out, tracker="slow_color")[0] == 0
    assert toys.files_of(out) == toys.files_of(tmp_path / "calm")


def _begun(out: Path) -> list[str]:
    return os.listdir(out / "masks") if (out / "masks").is_dir() else []


def test_a_broken_video_is_skipped_and_said_of_everywhere(data: Path, tmp_path: Path) -> None:
    (data / "JPEGImages/480p/cats/00003.png").write_bytes(b"no picture")
    code, said = evaluate(data, tmp_path / "run")
    assert code == 1
    assert "error: skipped video cats:" in said
    assert "00003.png cannot be read as an image" in said
    assert "1 of 4 videos have no result: the score does not cover the whole dataset" in said
    assert "| cats |" in (tmp_path / "run/report.md").read_text()
    assert "cannot be read as an image" in (tmp_path / "run/report.html").read_text()
    assert not list((tmp_path / "run/masks").glob("*cats*"))


def test_a_mended_video_is_predicted_at_the_next_start(data: Path, tmp_path: Path) -> None:
    picture = data / "JPEGImages/480p/cats/00003.png"
    whole = picture.read_bytes()
    # Of the same length: the dataset's fingerprint goes by sizes.
    picture.write_bytes(b"\0" * len(whole))
    assert evaluate(data, tmp_path / "run")[0] == 1
    picture.write_bytes(whole)
    assert evaluate(data, tmp_path / "run")[0] == 0
    evaluate(data, tmp_path / "calm")
    assert toys.files_of(tmp_path / "run") == toys.files_of(tmp_path / "calm")


def test_a_folder_of_another_run_is_refused(data: Path, tmp_path: Path) -> None:
    evaluate(data, tmp_path / "run")
    code, said = evaluate(data, tmp_path / "run", tracker="losing_first")
    assert code == 2
    assert f"holds a run with another recipe ({TOY}:color there" in said
    code, said = evaluate(data, tmp_path / "run", "--objects-alone")
    assert code == 2
    assert "another alone" in said


def test_a_folder_with_other_files_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    code, said = evaluate(data, tmp_path / "mine")
    assert code == 2
    assert "contains other files" in said


def test_workers_give_the_same_as_one_process(data: Path, tmp_path: Path, toys_path: None) -> None:
    evaluate(data, tmp_path / "one")
    code, said = evaluate(data, tmp_path / "two", "--workers", 2)
    assert code == 0, said
    assert toys.files_of(tmp_path / "two") == toys.files_of(tmp_path / "one")


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_ray_gives_the_same_as_one_process(data: Path, tmp_path: Path, toys_path: None) -> None:
    evaluate(data, tmp_path / "one")
    code, said = evaluate(data, tmp_path / "ray", "--workers", 2, "--engine", "ray")
    assert code == 0, said
    assert toys.files_of(tmp_path / "ray") == toys.files_of(tmp_path / "one")


@pytest.fixture
def toys_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets spawned workers find the toy tracker."""
    paths = [str(SRC), str(TESTS), *sys.path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))


def deadly_data(root: Path) -> Path:
    return toys.davis(root / "set", (toys.CLIPS[0], toys.Clip("trap", ((1,),) * 4, deadly=True)))


def test_the_video_of_a_lost_worker_is_tried_again(
    tmp_path: Path, toys_path: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_DEATHS", str(tmp_path))
    words = ("--workers", 2, "--retries", 1)
    code, said = evaluate(deadly_data(tmp_path), tmp_path / "run", *words, tracker="deadly")
    assert (tmp_path / "died").exists()
    assert code == 0, said
    assert sorted(os.listdir(tmp_path / "run/masks")) == ["apples", "trap"]
    assert "J&F 100.0" in said


def test_a_video_that_kills_every_worker_is_given_up(
    tmp_path: Path, toys_path: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_DEATHS", str(tmp_path))
    (tmp_path / "always").touch()
    words = ("--workers", 2, "--retries", 1)
    code, said = evaluate(deadly_data(tmp_path), tmp_path / "run", *words, tracker="deadly")
    assert code == 1
    assert "skipped video trap: its worker died 2 times" in said
    assert "SIGKILL" in said


def test_shards_fill_one_folder_and_the_last_one_scores(data: Path, tmp_path: Path) -> None:
    code, said = evaluate(data, tmp_path / "run", "--shard", "1/2")
    assert code == 0
    assert "2 videos remain for other shards" in said
    assert not (tmp_path / "run/report.md").exists()
    code, said = evaluate(data, tmp_path / "run", "--shard", "2/2")
    assert code == 0
    assert "J&F 100.0" in said
    evaluate(data, tmp_path / "whole")
    assert toys.files_of(tmp_path / "run") == toys.files_of(tmp_path / "whole")


def test_an_impossible_shard_is_refused(data: Path, tmp_path: Path) -> None:
    for text in ("3/2", "0/2", "half"):
        code, said = evaluate(data, tmp_path / "run", "--shard", text)
        assert code == 2
        assert "shard" in said
    assert not (tmp_path / "run").exists()


def test_a_dry_run_says_what_and_how_long_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    code, said = evaluate(data, tmp_path / "run", "--dry-run")
    assert code == 0
    assert "4 videos with 22 frames to predict, 0 done; 1 workers (local)" in said
    assert re.search(r"estimated time: \d:\d\d:\d\d \([\d.]+ frames/s per worker", said)
    assert not (tmp_path / "run").exists()


def test_two_recipes_are_compared(data: Path, tmp_path: Path) -> None:
    code, said = evaluate(data, tmp_path / "runs", "--recipe", f"{TOY}:losing_first")
    assert code == 0
    text = (tmp_path / "runs/comparison.md").read_text()
    assert f"-50.0 points between {TOY}:losing_first and {TOY}:color; 4 videos are too few" in text
    assert "| cats | 1 | 100.0 | 0.0 | -100.0 |" in text
    code, said = run(
        "report",
        tmp_path / f"runs/{TOY}.losing_first",
        tmp_path / f"runs/{TOY}.color",
        "--out",
        tmp_path / "back",
    )
    assert code == 0
    assert f"+50.0 points between {TOY}:color and {TOY}:losing_first" in said
    assert "<svg" in (tmp_path / "back/comparison.html").read_text()


def test_a_run_does_not_differ_from_itself(data: Path, tmp_path: Path) -> None:
    evaluate(data, tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    code, said = run("report", tmp_path / "a", tmp_path / "b")
    assert code == 0
    assert "+0.0 points between" in said


def test_runs_over_other_data_are_not_compared(data: Path, tmp_path: Path) -> None:
    evaluate(data, tmp_path / "a")
    evaluate(toys.davis(tmp_path / "few", toys.CLIPS[:2]), tmp_path / "b")
    code, said = run("report", tmp_path / "a", tmp_path / "b")
    assert code == 2
    assert "on different data" in said


def test_report_of_one_run_prints_it(data: Path, tmp_path: Path) -> None:
    evaluate(data, tmp_path / "a")
    code, said = run("report", tmp_path / "a")
    assert code == 0
    assert "## By video" in said
    code, said = run("report", tmp_path)
    assert code == 2
    assert "finish the run" in said


def test_unknown_trackers_are_refused_before_anything_is_written(
    data: Path, tmp_path: Path
) -> None:
    reasons = {"nobody": "there is no tracker", "color:twice": "does not name a tracker"}
    for tracker, reason in reasons.items():
        code, said = evaluate(data, tmp_path / "run", tracker=tracker)
        assert code == 2
        assert reason in said
    assert not (tmp_path / "run").exists()


def test_the_unsupervised_task_cannot_be_tracked(data: Path, tmp_path: Path) -> None:
    words = ("-d", data, "-o", tmp_path / "run", "--recipe", f"{TOY}:color")
    code, said = run("evaluate", "-b", "davis2017-unsupervised", *words)
    assert code == 2
    assert "gives no first masks" in said


def test_a_public_split_is_predicted_and_packed_for_the_server(tmp_path: Path) -> None:
    clip = toys.CLIPS[0]
    toys.save(tmp_path / "mose/valid/Annotations/apples/00000.png", toys.labels(0, clip.ids[0]))
    for i in range(6):
        path = tmp_path / f"mose/valid/JPEGImages/apples/{i:05d}.png"
        toys.save(path, toys.picture(i, clip))
    words = ("-b", "mose1", "-d", tmp_path / "mose", "-o", tmp_path / "run")
    words += ("--recipe", f"{TOY}:color", "--submission", tmp_path / "out.zip")
    code, said = run("evaluate", *words)
    assert code == 0, said
    assert "submission archive: " in said
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == [f"apples/{i:05d}.png" for i in range(6)]
    text = (tmp_path / "run/report.md").read_text()
    assert (
        "The full annotations of this split are not available here, so nothing was scored." in text
    )


def test_mose_v1_is_said_to_be_scored_unofficially(tmp_path: Path) -> None:
    clip = toys.CLIPS[1]
    for i, ids in enumerate(clip.ids):
        root = tmp_path / "mose/train"
        toys.save(root / f"Annotations/birds/{i:05d}.png", toys.labels(i, ids))
        toys.save(root / f"JPEGImages/birds/{i:05d}.png", toys.picture(i, clip))
    words = ("-b", "mose1", "-d", tmp_path / "mose", "-o", tmp_path / "run", "--split", "train")
    code, said = run("evaluate", *words, "--recipe", f"{TOY}:color")
    assert code == 0, said
    assert "on mose1 by vos-benchmark (not official): J&F 100.0" in said
    assert "(not official)" in (tmp_path / "run/report.md").read_text()


def test_a_submission_is_of_one_recipe(data: Path, tmp_path: Path) -> None:
    words = ("--recipe", f"{TOY}:losing_first", "--submission", tmp_path / "out.zip")
    code, said = evaluate(data, tmp_path / "run", *words)
    assert code == 2
    assert "--submission needs exactly one --recipe" in said


def test_a_file_in_place_of_the_folder_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    code, said = evaluate(data, tmp_path / "run")
    assert code == 2
    assert "is a file: choose a folder with --out" in said


def test_events_are_logged(data: Path, tmp_path: Path) -> None:
    evaluate(data, tmp_path / "run")
    text = (tmp_path / "run/log.txt").read_text()
    assert "4 videos to predict, 0 already done" in text
    assert re.search(r"video cats: 5 frames, [\d.]+ frames/s", text)
    assert re.search(r"4 of 4 videos, [\d.]+ frames/s, left: 0 s", text)


def test_an_unscorable_dataset_is_refused_before_prediction(tmp_path: Path) -> None:
    root = tmp_path / "ytvos/train"
    clip = toys.CLIPS[2]
    names = [f"{i:05d}" for i in range(len(clip.ids))]
    for i, name in enumerate(names):
        toys.save(root / f"Annotations/cats/{name}.png", toys.labels(i, (1,)))
        toys.save(root / f"JPEGImages/cats/{name}.png", toys.picture(i, clip))
    objects = {"1": {"category": "cat", "frames": names}}
    (root / "meta.json").write_text(json.dumps({"videos": {"cats": {"objects": objects}}}))
    shutil.move(tmp_path / "ytvos/train", tmp_path / "ytvos/mine")
    words = ("-b", "youtubevos2019", "-d", tmp_path / "ytvos", "-o", tmp_path / "run")
    words += ("--split", "mine", "--recipe", f"{TOY}:color")
    code, said = run("evaluate", *words)
    assert code == 2
    assert "the unseen categories are unknown" in said
    assert not (tmp_path / "run").exists()
    (tmp_path / "unseen.txt").write_text("cat\n")
    code, said = run("evaluate", *words, "--unseen", tmp_path / "unseen.txt")
    assert code == 0
    assert "(not official): G -  J_s -  F_s -  J_u 100.0  F_u 100.0" in said
