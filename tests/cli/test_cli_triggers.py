"""`track --trigger` and `--cuts`, as a user types them, with a tracker that follows a color."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from helpers.tracking_toy import ColorSegmenter, RotatingConcept
from helpers.video_toys import Film, picture, write_film
from segment_concept.checkpoints import load as build
from segment_concept.cli.app import make_app
from segment_concept.tracking.tracker import Tracker

BOX = "4,12,20,28"
CUT = 9


def shots(index: int) -> Any:
    """The moving square, on green, and from frame 9 on on blue."""
    rgb = picture(index)
    rgb[(rgb == rgb[..., :1]).all(-1)] = (40, 140, 90) if index < CUT else (20, 60, 220)
    return rgb


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", Film(), pictures=shots)


@pytest.fixture(autouse=True)
def _tracker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    concept = RotatingConcept(unknown=((0.0, 0.0, 0.0),))
    monkeypatch.setattr(concept, "encode", lambda requests, query, features: [None] * len(requests))
    tracker = Tracker(ColorSegmenter(), concept=concept)
    monkeypatch.setattr(
        build, "load", lambda recipe, **how: replace(tracker, trigger=recipe.trigger)
    )
    monkeypatch.setattr(build, "weights_hash", lambda recipe: "0" * 64)
    monkeypatch.chdir(tmp_path)


def run(*words: object) -> tuple[int, str]:
    """Exit code and all that was said."""
    given = ["track", *(str(w) for w in words), "--box", BOX, "--out", "out"]
    found = CliRunner().invoke(make_app(), given, env={"COLUMNS": "200"})
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output


def result() -> Any:
    return json.loads(Path("out/result.json").read_text())


@pytest.mark.parametrize(("name", "asked"), [("fast", [CUT]), ("adaptive", [CUT]), ("never", [])])
def test_a_trigger_is_chosen_by_name(film: Path, name: str, asked: list[int]) -> None:
    code, said = run(film, "--trigger", name)
    assert code == 0, said
    assert result()["concept_queries"] == asked


def test_a_cut_list_says_where_to_ask_and_the_result_says_so(film: Path) -> None:
    Path("cuts.txt").write_text("4 0.24s 15")
    assert run(film, "--cuts", "cuts.txt", "--cooldown", "3")[0] == 0
    found = result()
    assert found["concept_queries"] == [4, 15]
    trigger = found["recipe"]["trigger"]
    assert (trigger["type"], trigger["frames"]) == ("Cooldown", 3)
    assert trigger["trigger"] == {"type": "AtFrames", "frames": [4, 6, 15]}


def test_triggers_and_a_cut_list_go_together(film: Path) -> None:
    Path("cuts.txt").write_text("4")
    assert run(film, "--trigger", "fast", "--cuts", "cuts.txt")[0] == 0
    assert result()["concept_queries"] == [4, CUT]


def test_another_cut_list_is_another_run(film: Path) -> None:
    Path("cuts.txt").write_text("4")
    assert run(film, "--cuts", "cuts.txt")[0] == 0
    Path("cuts.txt").write_text("5")
    code, said = run(film, "--cuts", "cuts.txt", "--resume")
    assert code == 2, said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--trigger", "fastest"), "there is no trigger 'fastest': expected some of published"),
        (("--trigger", ","), "--trigger names no trigger"),
        (("--trigger", "cuts"), "needs a cut list: give --cuts FILE"),
        (("--cuts", "none.edl"), "there is no cut list none.edl"),
    ],
)
def test_invalid_values_are_refused_in_a_sentence(film: Path, words: tuple[str, ...], said) -> None:
    code, output = run(film, *words)
    assert code == 2
    assert said in output
    assert not Path("out").exists()


def test_weights_without_a_concept_encoder_are_refused(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(recipe, **how):
        return Tracker(ColorSegmenter(), trigger=recipe.trigger)

    monkeypatch.setattr(build, "load", load)
    code, output = run(film, "--trigger", "fast", "-r", "sam2_compact", "--overwrite")
    assert code == 2
    assert "there is no concept encoder that" in output
    assert run(film, "--trigger", "never", "--overwrite")[0] == 0


@pytest.mark.parametrize("recipe", ["sam2_large", "cutie_base", "samurai_large"])
def test_a_recipe_without_concepts_is_refused_before_its_weights_are_searched(
    film: Path, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(recipe, **how):
        raise AssertionError("weights were looked for")

    monkeypatch.setattr(build, "load", load)
    code, output = run(film, "--trigger", "fast", "-r", recipe)
    assert code == 2
    assert f"recipe {recipe} has no concept encoder, so triggers" in output
