"""Figures of a run for TensorBoard and Weights & Biases."""

import logging
from pathlib import Path

from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker
from accelerate.utils import is_tensorboard_available, is_wandb_available

from segment_concept.types import InputError

log = logging.getLogger(__name__)


def open_trackers(out: Path, wandb: str | None) -> list[GeneralTracker]:
    """TensorBoard if it is installed (`out/events`), and a project of Weights & Biases if named.

    Raises:
        InputError: a project is named, but the package is not installed.
    """
    trackers: list[GeneralTracker] = []
    if is_tensorboard_available():
        trackers.append(TensorBoardTracker("events", out))
    else:
        log.info("TensorBoard is not installed; figures go to %s only", out / "log.jsonl")
    if wandb is not None:
        if not is_wandb_available():
            raise InputError("--wandb needs the package wandb: pip install wandb")
        trackers.append(WandBTracker(wandb))
    for tracker in trackers:
        tracker.start()
    return trackers
