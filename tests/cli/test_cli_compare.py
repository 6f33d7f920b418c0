"""`segment-concept compare`, as a user types it, with trackers that follow a color."""

from dataclasses import fields

import pytest
from typer.testing import CliRunner

from helpers.video_toys import ColorTracker, presentation_times, write_film
from segment_concept.checkpoints import load as build
from segment_concept.cli.app import command, make_app
from segment_concept.cli.video_options import VideoOptions

RED = "4,12,20,28"


@pytest.fixture(autouse=True)
def _film_and_trackers(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "load", lambda recipe, **how: ColorTracker())
    monkeypatch.chdir(tmp_path)
    write_film(tmp_path / "film.mp4")


def run(*words):
    found = CliRunner().invoke(make_app(), list(words), env={"COLUMNS": "200"})
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output


def test_two_recipes_make_a_video_and_a_table(tmp_path):
    words = ("--box", RED, "--recipe", "sec_compact", "-r", "sam2_compact")
    code, said = run("compare", "film.mp4", *words)
    assert code == 0
    assert len(presentation_times(tmp_path / "film_compared.mp4")) == 20
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line.strip()}
    assert rows["sec_compact"][-1] == rows["sam2_compact"][-1] == "1.000"
    assert "frames/s" in said
    assert "watch film_compared.mp4" in said


def test_one_recipe_is_compared_with_itself_on_other_weights(monkeypatch):
    loaded = []
    monkeypatch.setattr(
        build, "load", lambda recipe, **how: loaded.append(recipe) or ColorTracker()
    )
    words = ("--box", RED, "-r", "sec_compact", "-r", "sec_compact=mine.safetensors", "--quiet")
    assert run("compare", "film.mp4", *words) == (0, "")
    assert [recipe.weights for recipe in loaded] == ["bundled:sec-compact", "mine.safetensors"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-r", "sec_compact"], "give --recipe at least twice"),
        (["-r", "sec_compact", "-r", "sec_compact"], "given twice"),
        (["-r", "sec_compact", "-r", "sec_compat"], "did you mean sec_compact"),
        (["-r", "sec_compact", "-r", "xmem", "--language-device", "cpu"], "is only for SeC"),
        (["-r", "sec_compact", "-r", "xmem", "--out", "film.mp4"], "already exists"),
    ],
)
def test_bad_input_is_reported_in_a_sentence_with_exit_code_2(words, why, tmp_path):
    code, said = run("compare", "film.mp4", "--box", RED, *words)
    assert code == 2
    assert said.startswith("error: ")
    assert why in said
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


def test_a_size_is_that_of_every_recipe_that_can_have_it(monkeypatch):
    loaded = []
    monkeypatch.setattr(
        build, "load", lambda recipe, **how: loaded.append(recipe) or ColorTracker()
    )
    words = ("--box", RED, "-r", "sec_compact", "-r", "sam2_tiny", "-r", "xmem", "--size", "512")
    assert run("compare", "film.mp4", *words, "--dtype", "bfloat16")[0] == 0
    assert [(r.short_side, r.image_side, r.dtype) for r in loaded] == [
        (512, None, "auto"),
        (448, 512, "bfloat16"),
        (448, None, "auto"),
    ]


def test_track_and_compare_take_the_same_options_of_a_video() -> None:
    shared = [field.name for field in fields(VideoOptions)]
    for name in ("track", "compare"):
        taken = [parameter.name for parameter in command(name).params]
        assert [one for one in taken if one in shared] == shared
