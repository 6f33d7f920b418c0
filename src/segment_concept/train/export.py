"""From a training run to the file of weights that is shipped."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from segment_concept.checkpoints.compact import save_compact
from segment_concept.checkpoints.efficientnet import imagenet_backbone
from segment_concept.models.compact.concept import ConceptPath
from segment_concept.models.compact.network import CompactNetwork
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.synthetic import load
from segment_concept.train.loop import Stage, averaged, read_state, take_over, tracker_of
from segment_concept.train.validation import Report, validate, validation_clips
from segment_concept.types import CheckpointError

DATA = (
    "synthetic clips of data/synthetic: cut-outs of tuxpaint-stamps-default, models of "
    "megaglest-data, photographs of Debian's wallpaper packages, procedural shapes; trunk: "
    "EfficientNet-Lite0, ImageNet"
)


def export_compact(
    checkpoint: Path, out: Path, history: str = "", concept: Path | None = None
) -> dict[str, Any]:
    """Write the averaged weights of `checkpoint` (best.pt or state.pt) with their card.

    The concept path is that of the run `concept`, where it is given.
    Returns the card: data, commit, steps, how it was trained, figures on held-out clips.

    Raises:
        CheckpointError: one of the files is none of a run, or the concept's has none.
    """
    state = read_state(checkpoint)
    parts = averaged(state)
    if concept is not None:
        own = averaged(read_state(concept))
        if "concept" not in own:
            raise CheckpointError(f"{concept} is of a run without a concept path: give another")
        parts = {**parts, "concept": own["concept"]}
    segmenter = _built(parts)
    card = {
        "name": "sec-compact",
        "licence": "Apache-2.0",
        "data": DATA,
        "commit": _commit(),
        "steps": state.get("steps", state["step"]),
        "history": history,
        "held_out": {k: round(v, 4) for k, v in state.get("report", {}).items()},
    }
    save_compact(segmenter, out, card)
    return card


def mean_of(checkpoints: Sequence[Path]) -> dict[str, Any]:
    """The mean of the averaged weights of several runs, to be exported like one of them.

    Runs that began at the same weights lie close enough together for their mean to be a network
    that is as good, or better (Wortsman et al., 2022). Of each part those runs count that have it.

    Raises:
        CheckpointError: one of the files is none of a run.
    """
    states = [read_state(path) for path in checkpoints]
    runs = [averaged(state) for state in states]
    steps = [state["step"] for state in states]
    mean: dict[str, Any] = {"step": max(steps), "steps": steps}
    for part in ("network", "concept"):
        own = [run[part] for run in runs if part in run]
        if own:
            mean[part] = {name: torch.stack([w[name] for w in own]).mean(0) for name in own[0]}
    return mean


def validated(state: Mapping[str, Any], stage: Stage, assets: Path) -> Report:
    """What the weights of a checkpoint do on the held-out clips of a stage."""
    segmenter = _built(averaged(state), stage.short_side)
    clips = validation_clips(load(assets, "held_out"), stage.validation, stage.validation_clips)
    return validate(tracker_of(segmenter.eval(), stage), clips)


def _built(parts: Mapping[str, Any], short_side: int = 256) -> CompactSegmenter:
    network = CompactNetwork()
    path = ConceptPath(network.widths) if "concept" in parts else None
    segmenter = CompactSegmenter(imagenet_backbone(), network, path, short_side=short_side)
    take_over(segmenter, parts)
    return segmenter


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
