import subprocess
import sys

from segment_concept import __version__


def test_the_package_runs_as_a_module():
    answer = subprocess.run(
        [sys.executable, "-m", "segment_concept", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == f"segment-concept {__version__}"


def test_an_unknown_training_stage_is_answered_plainly(tmp_path):
    answer = subprocess.run(
        [
            sys.executable,
            "-m",
            "segment_concept",
            "train",
            "run",
            "bas",
            "--assets",
            "none.npz",
            "--out",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    assert "there is no training stage 'bas': there are base, fine" in answer.stderr
    assert "Traceback" not in answer.stderr
