import os
import subprocess
import sys

import pytest

from segment_concept import __version__
from segment_concept.cli import main


def test_the_package_runs_as_a_module():
    answer = subprocess.run(
        [sys.executable, "-m", "segment_concept", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == f"segment-concept {__version__}"


@pytest.mark.parametrize(("told", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_do_not_spin_unless_that_is_set(monkeypatch, told, expected):
    monkeypatch.setenv("OMP_WAIT_POLICY", told or "")  # so that it is restored afterwards
    if told is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr(sys, "argv", ["segment-concept", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ["OMP_WAIT_POLICY"] == expected


def test_an_unknown_training_stage_is_answered_plainly(tmp_path):
    answer = subprocess.run(
        [
            sys.executable,
            "-m",
            "segment_concept",
            "train",
            "compact",
            "--stages",
            "clip,calibrate",
            "--data",
            str(tmp_path),
            "--out",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    assert "no training stage clip: there are clips, calibrate" in answer.stderr
    assert "Traceback" not in answer.stderr
