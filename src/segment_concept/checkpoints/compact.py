"""The compact model on disk: one safetensors file, half precision, with its card inside."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from segment_concept.checkpoints.strict_keys import refuse_not_finite, refuse_unknown_keys
from segment_concept.models.compact.backbone import Backbone
from segment_concept.models.compact.neck import Widths
from segment_concept.models.compact.network import CompactNetwork
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.models.compact.verifier import Verifier
from segment_concept.runtime.json_files import parse_json
from segment_concept.types import CheckpointError, InputError

FORMAT = "segment-concept/compact-1"
# Older files have a network that encoded concepts, which is not read: calibrate such a model.
_FORMER = "concept."
# Older files lack what reads the scores of classifiers: with weights of 0 nothing does.
_LATER = ("network.memory_attention.score.weight", "network.decoder.score_eighth.weight")


def save_compact(segmenter: CompactSegmenter, path: Path, card: Mapping[str, Any]) -> None:
    """Write trunk and network as float16, with `card` (how they came about) in the header."""
    weights = {k: v.detach().half().contiguous() for k, v in segmenter.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "widths": json.dumps(asdict(segmenter.widths)),
        "mask_bias": json.dumps(segmenter.mask_bias),
        "card": json.dumps(dict(card), sort_keys=True),
    }
    if segmenter.verifier is not None:
        metadata["verifier"] = "yes"
    save_file(weights, path, metadata=metadata)


def load_compact(path: Path, *, short_side: int = 256) -> CompactSegmenter:
    """Read a file written by `save_compact`, as float32. See `CompactSegmenter` for the options.

    Raises:
        CheckpointError: no such file, a damaged one, or weights of another network.
    """
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}: check the path or the installation")
    if path.suffix != ".safetensors":
        raise _another(path, f"it is a {path.suffix or 'nameless'} file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = [name for name in file.keys() if not name.startswith(_FORMER)]  # noqa: SIM118
            weights = {name: file.get_tensor(name).float() for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): fetch it again") from error
    if metadata.get("format") != FORMAT:
        raise _another(path, f"format {metadata.get('format')!r}, expected {FORMAT!r}")
    segmenter = _laid_out(path, metadata, short_side)
    expected = {name: tensor.shape for name, tensor in segmenter.state_dict().items()}
    for name in _LATER:
        weights.setdefault(name, torch.zeros(expected[name]))
    refuse_unknown_keys(
        unknown=weights.keys() - expected.keys(),
        missing=expected.keys() - weights.keys(),
        network=f"a compact model of the widths that {path} tells",
        hint="Export it again with this version of the package.",
    )
    for name, tensor in weights.items():
        if tensor.shape != expected[name]:
            raise CheckpointError(
                f"{path} is damaged: {name} has shape {tuple(tensor.shape)}, expected "
                f"{tuple(expected[name])} in a network of the widths that it tells"
            )
        refuse_not_finite(name, tensor)
    segmenter.load_state_dict(weights, assign=True)
    segmenter.trunk.channels_last()
    return segmenter.eval().requires_grad_(False)


def _another(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} does not hold a compact model ({what}): use the recipe of its network, for "
        "example sam2_large for SAM 2.1's weights or sec_4b for SeC's"
    )


def _laid_out(path: Path, metadata: Mapping[str, str], short_side: int) -> CompactSegmenter:
    """A network without memory for its weights, of the widths in the header."""
    try:
        with torch.device("meta"):
            widths = Widths(**_counts(metadata["widths"], path))
            network = CompactNetwork(widths)
            return CompactSegmenter(
                Backbone(),
                network,
                Verifier(widths.descriptor) if "verifier" in metadata else None,
                short_side=short_side,
                mask_bias=_mask_bias(metadata.get("mask_bias", "0.0"), path),
            )
    except (InputError, KeyError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise CheckpointError(
            f"the header of {path} does not describe a network ({error}): it is damaged, fetch "
            "it again"
        ) from error


def _counts(text: str, path: Path) -> dict[str, int]:
    """Channel counts by name. Raises InputError, ValueError."""
    found = parse_json(text, str(path))
    if not isinstance(found, dict) or not all(type(v) is int and v > 0 for v in found.values()):
        raise ValueError("expected whole numbers above 0 by name")
    return found


def _mask_bias(text: str, path: Path) -> float:
    """A logit. Raises InputError, ValueError."""
    found = parse_json(text, str(path))
    if type(found) not in (int, float) or not math.isfinite(found):
        raise ValueError("expected a finite number as mask bias")
    return float(found)


def read_card(path: Path) -> dict[str, Any]:
    """How the weights in `path` came about: data, commit, seed, steps, figures."""
    with safe_open(path, framework="pt") as file:
        card: dict[str, Any] = json.loads((file.metadata() or {}).get("card", "{}"))
    return card
