"""`train concept`, `train objects` and `train export`, as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import segment_concept
from helpers.sec_training import base, data, log_rows, segmenter
from segment_concept.cli.app import make_app
from segment_concept.train.run_state import newest_state, trained_weights

SOURCE = Path(segment_concept.__file__).parents[1]
TESTS = Path(__file__).parents[1]


def run(*words: object) -> tuple[int, str]:
    """Exit code and what was said, without line breaks."""
    result = CliRunner().invoke(make_app(), [str(word) for word in words])
    return result.exit_code, " ".join(result.output.split())


def concept(out: Path, *words: object) -> tuple[object, ...]:
    """A command of two steps."""
    return (
        *("train", "concept", "--data", data(), "--base", base(), "--segmenter", segmenter()),
        *("--out", out, "--steps", 2, "--batch", 2, "--rank", 4, "--variant", "lean"),
        *("--device", "cpu", "--workers", 0, "--log-every", 1, *words),
    )


def test_a_dry_run_prints_parameters_memory_steps_and_hours_and_trains_nothing(tmp_path):
    code, said = run(*concept(tmp_path / "run", "--dry-run"))
    assert code == 0
    assert "M trained" in said
    assert "memory (estimate)" in said
    assert "steps: 2 of 2 examples" in said
    assert "hours (estimate)" in said
    assert "loaded 2 examples" in said
    assert not (tmp_path / "run").exists()


def test_objects_with_three_visible_masks_are_listed(tmp_path):
    code, said = run("train", "objects", data(), "--out", tmp_path / "objects.txt")
    assert code == 0
    assert "6 objects of 3 videos" in said
    lines = (tmp_path / "objects.txt").read_text().splitlines()
    assert lines[0] == "sav_000001 0"
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--variant", "huge"], "no variant 'huge'"),
        (["--shard"], "sharding needs GPUs"),
        (["--four-bit"], "--four-bit needs a GPU"),
        (["--base", "nowhere"], "nowhere"),
        (["--segmenter", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--rank", 0], "--rank 0: must be at least 1"),
    ],
)
def test_what_cannot_be_used_ends_with_one_sentence(tmp_path, words, sentence):
    code, said = run(*concept(tmp_path / "run", *words))
    assert code == 2
    assert sentence in said
    assert "Traceback" not in said


def test_a_folder_that_is_no_run_is_not_exported(tmp_path):
    code, said = run("train", "export", tmp_path, tmp_path / "out.safetensors")
    assert code == 2
    assert said.startswith("error: ")


@pytest.mark.slow
def test_stage_2_is_trained_exported_and_tracked_with(tmp_path):
    out, sec = tmp_path / "run", tmp_path / "sec"
    code, said = run(*concept(out))
    assert code == 0, said
    code, said = run("train", "export", out, sec)
    assert code == 0, said
    assert json.loads((sec / "config.json").read_text())["training"]["steps"] == 2
    video = data() / "sav_000003.mp4"
    words = ["track", video, "--box", "10,10,40,60", "--recipe", "sec_4b", "--weights", sec]
    code, said = run(*words, "--device", "cpu", "--out", tmp_path / "tracked")
    assert code == 0, said
    masks = list((tmp_path / "tracked").rglob("*.png"))
    assert len(masks) >= 1


def launched(out: Path, *words: object, processes: int = 1) -> int:
    """Train three steps without dropout in so many processes. Returns the exit code."""
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--nproc-per-node", str(processes), "-m"]
    command += ["helpers.sec_training", str(out), *map(str, words)]
    path = os.pathsep.join([str(SOURCE), str(TESTS)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, check=False).returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run in one process, with all examples of a step in one forward pass."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert launched(out) == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_step_does_not_depend_on_how_it_is_cut(whole, tmp_path, processes):
    assert launched(tmp_path / "cut", "--micro-batch", 1, processes=processes) == 0
    ours, theirs = trained_weights(tmp_path / "cut"), trained_weights(whole)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.allclose(ours[name], value, atol=1e-6), name
    for one, two in zip(log_rows(tmp_path / "cut", "train"), log_rows(whole, "train"), strict=True):
        for term in ("focal", "dice", "iou_error", "presence", "language"):
            assert one[term] == pytest.approx(two[term], rel=1e-5)


@pytest.mark.slow
def test_a_killed_run_continues_as_if_nothing_had_happened(whole, tmp_path):
    assert launched(tmp_path / "killed", "--die-at", 2) != 0
    assert newest_state(tmp_path / "killed").name == "state-2"
    assert launched(tmp_path / "killed") == 0
    ours, theirs = trained_weights(tmp_path / "killed"), trained_weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    steps = [row["step"] for row in log_rows(tmp_path / "killed", "train")]
    assert steps == [1, 2, 3]
