"""The compact model on disk: one safetensors file, half precision, with its card inside."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from segment_concept.checkpoints.keys import refuse_strangers
from segment_concept.models.compact.concept import ConceptPath, ConceptWidths
from segment_concept.models.compact.network import CompactNetwork
from segment_concept.models.compact.picture import Widths
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.models.compact.trunk import Trunk
from segment_concept.types import CheckpointError

FORMAT = "segment-concept/compact-1"


def save_compact(segmenter: CompactSegmenter, path: Path, card: Mapping[str, Any]) -> None:
    """Write trunk and network as float16, with `card` (how they came about) in the header."""
    weights = {k: v.detach().half().contiguous() for k, v in segmenter.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "widths": json.dumps(asdict(segmenter.widths)),
        "mask_bias": json.dumps(segmenter.mask_bias),
        "card": json.dumps(dict(card), sort_keys=True),
    }
    if segmenter.concept is not None:
        metadata["concept"] = json.dumps(asdict(segmenter.concept.widths))
    save_file(weights, path, metadata=metadata)


def load_compact(path: Path, *, short_side: int = 256) -> CompactSegmenter:
    """Read a file written by `save_compact`, as float32. See `CompactSegmenter` for the options.

    Raises:
        CheckpointError: no such file, a damaged one, or weights of another network.
    """
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}: check the path or the installation")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): fetch it again") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} does not hold a compact model (format {metadata.get('format')!r}, "
            f"expected {FORMAT!r}): give its recipe the weights it was made for"
        )
    with torch.device("meta"):
        widths = Widths(**json.loads(metadata["widths"]))
        concept = None
        if "concept" in metadata:
            concept = ConceptPath(widths, ConceptWidths(**json.loads(metadata["concept"])))
        segmenter = CompactSegmenter(
            Trunk(),
            CompactNetwork(widths),
            concept,
            short_side=short_side,
            mask_bias=float(json.loads(metadata.get("mask_bias", "0.0"))),
        )
    expected = set(segmenter.state_dict())
    refuse_strangers(
        unknown=weights.keys() - expected,
        missing=expected - weights.keys(),
        network=f"a compact model of the widths that {path} tells",
        hint="Export it again with this version of the package.",
    )
    segmenter.load_state_dict(weights, assign=True)
    segmenter.trunk.channels_last()
    return segmenter.eval().requires_grad_(False)


def read_card(path: Path) -> dict[str, Any]:
    """How the weights in `path` came about: data, commit, seed, steps, figures."""
    with safe_open(path, framework="pt") as file:
        card: dict[str, Any] = json.loads((file.metadata() or {}).get("card", "{}"))
    return card
