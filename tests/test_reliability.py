"""The campaign of `tools/reliability.py`, in small."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "reliability.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the campaign needs fork")
@pytest.mark.parametrize(
    "words",
    [("kills", "--points", "30"), ("malformed", "--inputs", "90"), ("stream", "--frames", "500")],
    ids=lambda words: words[0],
)
def test_rough_handling_ends_as_it_should(words: tuple[str, ...]) -> None:
    ended = subprocess.run([sys.executable, TOOL, *words], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]


def test_the_campaign_says_how_it_is_called() -> None:
    ended = subprocess.run([sys.executable, TOOL, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    assert "malformed" in ended.stdout
