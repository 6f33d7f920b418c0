"""`cuts` as a user types it, and what `score` makes of its clips."""

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from helpers.cuts_toys import four_sequences
from segment_concept.cli import dataset
from segment_concept.cli import score as evaluate

MAKE = ("dataset", "make-multishot")
SHORT = ["--shot-frames", "4-5", "--uncut-frames", "4", "--interlude-frames", "3"]


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    dataset.register(made)
    evaluate.register(made)
    return made


def run(app: typer.Typer, *words: object) -> tuple[int, str]:
    """Exit code and all that was said."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "120"})
    return result.exit_code, result.output


def test_clips_are_made_and_scored_by_how_many_cuts_they_have(
    app: typer.Typer, tmp_path: Path
) -> None:
    four_sequences(tmp_path / "data", frames=18)
    out = tmp_path / "out"
    code, said = run(
        app, "dataset", "make-multishot", tmp_path / "data", out, "--seed", 3, *SHORT, "-q"
    )
    assert (code, said.split(" with ")[0]) == (0, "12 clips (4 none, 4 single, 4 multi)")
    code, said = run(app, "score", out / "Annotations", "--data", out, "-p", 1)
    assert code == 0
    assert "secvos, protocol secvos: 12 videos" in said
    for kind in ("without cuts", "with one cut", "with several cuts"):
        assert re.search(rf"videos {kind}: J&F 100.0, J 100.0, F 100.0 \(4 objects\)", said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--splits", "none,two"), "--splits two: expected one or more of none, single, multi"),
        (("--shots", "9-3"), "--shots '9-3': expected LEAST-MOST, such as 12-30"),
        (("--targets", "0"), "0 targets: expected at least 1"),
        (("--shot-frames", "20"), "no clip can be made"),
        (("--categories", "none.json"), "there is no JSON file none.json"),
        (("--categories", "a.json", "--distractors-by", "random"), "give either"),
    ],
)
def test_impossible_values_are_refused_in_a_sentence(
    app: typer.Typer, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    four_sequences(tmp_path / "data", frames=6)
    splits = () if "--splits" in words else ("--splits", "single")
    code, output = run(
        app, "dataset", "make-multishot", tmp_path / "data", tmp_path / "out", *splits, *words
    )
    assert code == 2
    assert said in output.replace("\n", " ")
    assert not (tmp_path / "out").exists()
