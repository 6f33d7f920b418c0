"""The examples run as they stand, on the bundled clip with the bundled model."""

import runpy
import sys
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CLIP = str(files("segment_concept") / "assets/demo/demo.mp4")
BOX, CLICK = "80,90,295,298", "215,190"  # the rabbit on frame 0

ARGUMENTS = {
    "track_video.py": (CLIP, BOX),
    "correct_a_frame.py": (CLIP, CLICK, "3", CLICK),
    "own_memory_policy.py": (CLIP, BOX),
}


def test_every_example_is_run_here():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(ARGUMENTS)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_example_says_what_happened(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, *ARGUMENTS[name]])
    runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    assert capsys.readouterr().out.startswith("frame ")


def test_the_readme_shows_code_that_runs():
    text = (ROOT / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    lines = code.replace('"film.mp4"', repr(CLIP)).replace(
        "1: sc.Box(120, 80, 340, 400)", f"1: sc.Box({BOX})"
    )
    names: dict[str, object] = {}
    exec(compile(lines, "README.md", "exec"), names)
    assert names["mask"].dtype == bool
