"""From a training run to the file of weights that is shipped."""

import subprocess
from pathlib import Path
from typing import Any

import torch

from segment_concept.checkpoints.compact import save_compact
from segment_concept.checkpoints.trunk import imagenet_trunk
from segment_concept.models.compact.concept import ConceptPath
from segment_concept.models.compact.network import CompactNetwork
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.train.loop import averaged, take_over

DATA = (
    "synthetic clips of data/synthetic: cut-outs of tuxpaint-stamps-default, photographs of "
    "Debian's wallpaper packages, procedural shapes; trunk: EfficientNet-Lite0, ImageNet"
)


def export_compact(checkpoint: Path, out: Path, history: str = "") -> dict[str, Any]:
    """Write the averaged weights of `checkpoint` (best.pt or state.pt) with their card.

    Returns the card: data, commit, steps, how it was trained, figures on held-out clips.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    parts = averaged(state)
    network = CompactNetwork()
    path = ConceptPath(network.widths) if "concept" in parts else None
    segmenter = CompactSegmenter(imagenet_trunk(), network, path)
    take_over(segmenter, parts)
    card = {
        "name": "sec-compact",
        "licence": "Apache-2.0",
        "data": DATA,
        "commit": _commit(),
        "steps": state["step"],
        "history": history,
        "held_out": {k: round(v, 4) for k, v in state.get("report", {}).items()},
    }
    save_compact(segmenter, out, card)
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
