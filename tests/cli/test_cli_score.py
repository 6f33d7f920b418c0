"""`score`, `dataset check` and `dataset stats` as a user types them."""

import json
import re
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from helpers.fixtures import unpacked
from segment_concept.cli import dataset, score


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    score.register(made)
    dataset.register(made)
    return made


def run(app: typer.Typer, *words: object) -> tuple[int, str]:
    """Exit code and all that was said."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "120"})
    return result.exit_code, result.output


def numbers(text: str) -> list[str]:
    return re.findall(r"-?\d+\.\d", text)


def test_score_recognises_the_dataset_and_prints_its_row(app: typer.Typer) -> None:
    root = unpacked("davis")
    code, said = run(app, "score", root / "preds", "--data", root, "--processes", 1)
    assert code == 0
    assert "davis2017, protocol davis2017: 12 videos, 19 objects" in said
    assert numbers(said)[:3] == ["67.4", "62.6", "72.3"]
    assert "warning: video multi5-tiny" in said


def test_score_by_another_protocol_writes_what_it_found(app: typer.Typer, tmp_path: Path) -> None:
    root = unpacked("secvos")
    words = ("score", root / "preds", "-d", root, "-p", 1, "--protocol", "secvos-referring")
    code, said = run(app, *words, "--out", tmp_path / "run")
    assert code == 0
    assert "secvos, protocol secvos-referring" in said
    content = json.loads((tmp_path / "run/scores.json").read_text())
    assert content["headline"]["J&F"] == pytest.approx(0.7896820709306118)
    assert (tmp_path / "run/scores.csv").is_file()


def test_segments_stand_in_rows_of_their_own(app: typer.Typer) -> None:
    root = unpacked("secvos")
    code, said = run(app, "score", root / "preds", "-d", root, "-p", 1)
    assert code == 0
    rows = {line.split("│")[1].strip(): numbers(line) for line in said.splitlines() if "│" in line}
    assert rows["none"] == ["77.6", "77.6", "77.6"]
    assert rows["single"] == ["78.3", "86.0", "70.7"]
    assert rows["multi"] == ["84.2", "79.7", "88.7"]


def test_broken_predictions_end_with_exit_code_2_and_no_traceback(app: typer.Typer) -> None:
    root = unpacked("quirks") / "missing-pred-frame"
    code, said = run(app, "score", root / "pred", "-d", root / "gt", "-p", 1)
    assert code == 2
    assert "error: 1 video cannot be scored:" in said
    assert "video v, frame 00003" in said
    assert "Traceback" not in said


def test_skipping_broken_videos_ends_with_exit_code_1(app: typer.Typer, tmp_path: Path) -> None:
    root = unpacked("davis16")
    predictions = Path(shutil.copytree(root / "preds", tmp_path / "preds"))
    (predictions / "camel/00003.png").unlink()
    code, said = run(app, "score", predictions, "-d", root / "gt", "-p", 1, "--skip-broken")
    assert code == 1
    assert "1 of 2 videos were left out: the score does not cover the whole dataset" in said


def test_check_describes_a_sound_dataset(app: typer.Typer) -> None:
    code, said = run(app, "dataset", "check", unpacked("mosev2"))
    assert code == 0
    assert "mose2, split val: 5 videos, 0 images, 100 masks, 7 objects" in said
    assert "no errors found" in said


def test_check_ends_with_exit_code_1_where_something_is_wrong(
    app: typer.Typer, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(unpacked("mosev2"), tmp_path / "set"))
    (root / "Annotations/big1/00004.png").write_bytes(b"x")
    code, said = run(app, "dataset", "check", root)
    assert code == 1
    assert "error: video big1, frame 00004" in said


def test_check_of_no_dataset_ends_with_exit_code_2(app: typer.Typer, tmp_path: Path) -> None:
    code, said = run(app, "dataset", "check", tmp_path)
    assert code == 2
    assert "does not look like a dataset" in said


def test_stats_prints_the_table(app: typer.Typer) -> None:
    code, said = run(app, "dataset", "stats", unpacked("mosev2"), "--no-scenes")
    assert code == 0
    assert "57.1" in said
    assert "28.6" in said
