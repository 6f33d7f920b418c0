"""`track --offline`, as a user types it."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from segment_concept.checkpoints import load as build
from segment_concept.cli.app import make_app
from segment_concept.types import Frame
from segment_concept.video.open import open_video

DEMO = files("segment_concept") / "assets/demo/demo.mp4"


def run(*words: object) -> tuple[int, str]:
    """Exit code and all that was said."""
    found = CliRunner().invoke(make_app(), [str(w) for w in words], env={"COLUMNS": "200"})
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output


def test_a_cut_video_is_tracked_twice_by_the_bundled_model(tmp_path: Path):
    """Every ninth frame of the demo: a rabbit, and two cuts."""
    clip = tmp_path / "clip"
    clip.mkdir()
    for frame in open_video(str(DEMO)).frames():
        if frame.index % 9 == 0:
            write_small(clip, frame)
    out = tmp_path / "out"
    code, said = run("track", clip, "--box", "40,45,147,149", "--offline", "-o", out)
    assert code == 0, said
    assert "24 frames in" in said
    result = json.loads((out / "result.json").read_text())
    assert result["request"]["offline"] is True
    assert {4, 8} <= set(result["concept_queries"])
    assert sorted(p.name for p in out.glob("[!.]*")) == ["overlay.mp4", "palette", "result.json"]
    shares = [np.asarray(Image.open(p)).astype(bool).mean() for p in (out / "palette").iterdir()]
    assert all(0.01 < share < 0.6 for share in shares)
    code, said = run("track", clip, "--box", "40,45,147,149", "-o", out, "--resume")
    assert code == 2
    assert "holds a run with another offline" in said


def write_small(folder: Path, frame: Frame) -> None:
    half = cv2.resize(frame.rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    Image.fromarray(half).save(folder / f"{frame.index:03d}.png")


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ("cutie_base", "recipe cutie_base has no concept encoder"),
        ("sam2_large", "recipe sam2_large has no concept encoder"),
        ("sam2_compact", "recipe sam2_compact never queries its concept encoder"),
    ],
)
def test_a_recipe_without_keyframes_is_refused_before_its_weights_are_searched(
    recipe: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def load(recipe: Any, **how: Any) -> None:
        raise AssertionError("weights were looked for")

    monkeypatch.setattr(build, "load", load)
    out = tmp_path / "out"
    code, said = run("track", DEMO, "--box", "9,9,99,99", "--offline", "-r", recipe, "-o", out)
    assert code == 2
    assert why in said
    assert not out.exists()
