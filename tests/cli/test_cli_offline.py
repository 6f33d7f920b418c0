"""`track --offline`, as a user types it; once with the bundled model, else with one of colors."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from helpers.video_toys import ColorTracker, Film, write_film
from segment_concept.checkpoints import load as build
from segment_concept.cli.app import make_app
from segment_concept.types import Frame, InputError
from segment_concept.video.open import open_video

DEMO = files("segment_concept") / "assets/demo/demo.mp4"
RED = "4,12,20,28"


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "load", loaded)
    monkeypatch.setattr(build, "weights_hash", lambda recipe: "0" * 64)
    monkeypatch.chdir(tmp_path)
    return write_film(tmp_path / "film.mp4", Film(frames=12))


def loaded(recipe: Any, **how: Any) -> ColorTracker:
    assert recipe.offline is None
    return ColorTracker()


def run(*words: object) -> tuple[int, str]:
    """Exit code and all that was said."""
    found = CliRunner().invoke(make_app(), [str(w) for w in words], env={"COLUMNS": "200"})
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output


def test_a_cut_video_is_tracked_in_two_passes_by_the_bundled_model(tmp_path: Path):
    """Every ninth frame of the demo: a rabbit, and two cuts."""
    clip = tmp_path / "clip"
    clip.mkdir()
    for frame in open_video(str(DEMO)).frames():
        if frame.index % 9 == 0:
            write_small(clip, frame)
    out = tmp_path / "out"
    code, said = run("track", clip, "--box", "40,45,147,149", "--offline", "-o", out)
    assert code == 0, said
    assert "object 1: seen on 12 of 12 frames" in said
    result = json.loads((out / "result.json").read_text())
    assert result["offline"]["shots"] == [0, 4, 8]
    assert result["recipe"]["offline"]["keyframes"] == 7
    assert sorted(p.name for p in out.iterdir()) == ["overlay.mp4", "palette", "result.json"]
    shares = [np.asarray(Image.open(p)).astype(bool).mean() for p in (out / "palette").iterdir()]
    assert all(0.01 < share < 0.6 for share in shares)


def write_small(folder: Path, frame: Frame) -> None:
    half = cv2.resize(frame.rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    Image.fromarray(half).save(folder / f"{frame.index:03d}.png")


def test_a_recipe_for_two_passes_and_the_option_are_the_same(film: Path, tmp_path: Path):
    assert run("track", film, "--box", RED, "--offline", "-o", "a")[0] == 0
    assert run("track", film, "--box", RED, "-r", "sec_compact_offline", "-o", "b")[0] == 0
    a, b = (json.loads((tmp_path / out / "result.json").read_text()) for out in "ab")
    assert a["offline"] == b["offline"]
    assert a["frames"] == b["frames"]


def test_a_run_in_two_passes_is_not_resumed_as_one_in_one(film: Path, tmp_path: Path):
    assert run("track", film, "--box", RED, "--offline", "-o", "a")[0] == 0
    code, said = run("track", film, "--box", RED, "-o", "a", "--resume")
    assert code == 2
    assert "holds a run with another recipe" in said


def test_one_direction_is_refused(film: Path):
    code, said = run("track", film, "--box", RED, "--offline", "--direction", "backward")
    assert code == 2
    assert "offline mode looks in both directions" in said


@pytest.mark.parametrize("load", [build.load, build.load_tracker])
def test_a_recipe_for_two_passes_has_no_sessions(load: Any):
    with pytest.raises(InputError, match="sec_compact_offline plays a video twice"):
        load("sec_compact_offline")
