"""Write the weight file that the package ships from a training run."""

from pathlib import Path
from typing import Any

from segment_concept.checkpoints.compact import load_compact, read_card, save_compact
from segment_concept.train.commit import current_commit
from segment_concept.train.curriculum import CALIBRATE, RESULT

DATA = (
    "clips made of photographs with object masks and of a rendered world (THIRD_PARTY.md names "
    "every source); backbone: EfficientNet-Lite0, ImageNet"
)


def export_compact(run: Path, out: Path, history: str = "") -> dict[str, Any]:
    """Write the calibrated model of a run with its card.

    Returns the card: data, commit, stages and their steps, results of calibration.

    Raises:
        CheckpointError: the run was not calibrated.
    """
    made = run / CALIBRATE / RESULT
    model = load_compact(made)
    card = {
        **read_card(made),
        "license": "Apache-2.0",
        "data": DATA,
        "commit": current_commit(),
        "history": history,
    }
    save_compact(model, out, card)
    return card
