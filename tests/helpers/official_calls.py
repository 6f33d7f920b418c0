"""The tiny network of the official numbers, and what SAM 2 answered to a series of calls."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from helpers.fixtures import fixture
from segment_concept.checkpoints.sam2.load import load_sam2
from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter
from segment_concept.models.sam2.sizes import HieraWiring

STORED = Path(__file__).parents[1] / "compat" / "official"
WIRING = HieraWiring(1, (8, 4, 8, 4), (3,))
EVERY = 4  # of logits in the size of the video every fourth row and column is stored


def weights() -> Path:
    return fixture("parity/sam2_tiny_weights.safetensors")


def tiny(options: Sam2Options | None = None) -> Sam2Segmenter:
    return load_sam2(weights(), image_side=128, wiring=WIRING, options=options)


@cache
def answers() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts; `facts["source"]` says how they were made."""
    facts = json.loads((STORED / "sam2_calls.json").read_text())
    return load_file(STORED / "sam2_calls.safetensors"), facts


@cache
def frames() -> Tensor:
    """(6, 96, 160, 3) uint8: the video of the calls."""
    return load_file(fixture("parity/sam2_prompts.safetensors"))["frames"]
