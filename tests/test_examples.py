"""The examples run as they stand, on the first frames of the bundled clip and its model."""

import runpy
import sys
from importlib.resources import files
from itertools import islice
from pathlib import Path

import pytest

from helpers.video_toys import Film, write_film
from segment_concept import open_video

ROOT = Path(__file__).parents[1]
DEMO = str(files("segment_concept") / "assets/demo/demo.mp4")
FRAMES = 6
BOX, CLICK = "80,90,295,298", "215,190"  # the rabbit on frame 0

ARGUMENTS = {
    "track_video.py": (BOX,),
    "correct_a_frame.py": (CLICK, "3", CLICK),
    "own_memory_policy.py": (BOX,),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    frames = [frame.rgb for frame in islice(open_video(DEMO).frames(), FRAMES)]
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return str(write_film(path, Film(frames=FRAMES), pictures=frames.__getitem__))


def test_every_example_is_run_here():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(ARGUMENTS)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_example_says_what_happened(name, clip, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, clip, *ARGUMENTS[name]])
    runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    assert capsys.readouterr().out.startswith("frame ")


def test_the_readme_shows_code_that_runs(clip):
    text = (ROOT / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    lines = code.replace('"film.mp4"', repr(clip)).replace(
        "1: sc.Box(120, 80, 340, 400)", f"1: sc.Box({BOX})"
    )
    names: dict[str, object] = {}
    exec(compile(lines, "README.md", "exec"), names)
    assert names["mask"].dtype == bool
