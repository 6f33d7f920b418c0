"""From a training run to the file of weights that is shipped."""

import subprocess
from pathlib import Path
from typing import Any

from segment_concept.checkpoints.compact import load_compact, read_card, save_compact
from segment_concept.train.curriculum import CALIBRATE, RESULT

DATA = (
    "clips made of photographs with object masks and of a rendered world (THIRD_PARTY.md names "
    "every source); trunk: EfficientNet-Lite0, ImageNet"
)


def export_compact(run: Path, out: Path, history: str = "") -> dict[str, Any]:
    """Write the calibrated model of a run with its card.

    Returns the card: data, commit, stages and their steps, what calibration found.

    Raises:
        CheckpointError: the run was not calibrated yet.
    """
    made = run / CALIBRATE / RESULT
    model = load_compact(made)
    card = {
        **read_card(made),
        "license": "Apache-2.0",
        "data": DATA,
        "commit": _commit(),
        "history": history,
    }
    save_compact(model, out, card)
    return card


def _commit() -> str:
    """The commit of the checkout that exports, or `unknown` outside one."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()
