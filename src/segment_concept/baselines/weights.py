"""Build networks from official weights: sizes are read from the weights, all names are checked."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from segment_concept.baselines.cutie.network import CutieNetwork, CutieSize
from segment_concept.baselines.resnet import BasicBlock, Bottleneck, TrunkSize
from segment_concept.baselines.xmem.network import XMemNetwork, XMemSize
from segment_concept.types import CheckpointError

Weights = Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)

# Prefixes of names that only one network has.
SIGNATURES = {
    "object_transformer.": "Cutie",
    "value_encoder.hidden_reinforce.": "XMem",
    "image_encoder.trunk.": "SAM 2",
    "grounding_encoder.": "SeC",
}


def cutie_from_weights(weights: Weights) -> CutieNetwork:
    """A network of the size of official Cutie weights (base or small).

    Raises:
        CheckpointError: these are not Cutie's weights, or some are missing, unknown or misshaped.
    """
    _check_owner(weights, "Cutie")
    size = CutieSize(
        key=_shape(weights, "key_proj.key_proj.weight")[0],
        channels=_shape(weights, "pix_feat_proj.weight")[0],
        queries=_shape(weights, "object_transformer.query_init.weight")[0],
        feed_forward=_shape(weights, "object_transformer.blocks.0.ffn.linear1.weight")[0],
        blocks=_count(weights, "object_transformer.blocks."),
        image=_trunk(weights, "pixel_encoder.", first="res2"),
        mask=_trunk(weights, "mask_encoder.", first="layer1"),
    )
    inputs = {
        "mask_encoder.conv1.weight": 5,
        "pixel_fuser.sensory_compress.weight": size.channels + 2,
    }
    multi_object = _for_several_objects(weights, inputs)
    used = {k: v for k, v in multi_object.items() if not k.startswith("aux_computer.")}
    return _filled(CutieNetwork(size), used, "Cutie")


def xmem_from_weights(weights: Weights) -> XMemNetwork:
    """A network of the size of official XMem weights.

    Raises:
        CheckpointError: these are not XMem's weights, or some are missing, unknown or misshaped.
    """
    _check_owner(weights, "XMem")
    size = XMemSize(
        key=_shape(weights, "key_proj.key_proj.weight")[0],
        value=_shape(weights, "value_encoder.fuser.block2.conv2.weight")[0],
        hidden=_shape(weights, "decoder.hidden_update.transform.weight")[0] // 3,
        decoder=_shape(weights, "decoder.fuser.block2.conv2.weight")[0],
        image=_trunk(weights, "key_encoder.", first="res2"),
        mask=_trunk(weights, "value_encoder.", first="layer1"),
    )
    multi_object = _for_several_objects(weights, {"value_encoder.conv1.weight": 5})
    return _filled(XMemNetwork(size), multi_object, "XMem")


def owner(weights: Weights) -> str | None:
    """The network of weights: "Cutie", "XMem", "SAM 2" or "SeC"; None if unknown."""
    for beginning, name in SIGNATURES.items():
        if any(key.startswith(beginning) for key in weights):
            return name
    return None


def _check_owner(weights: Weights, expected: str) -> None:
    found = owner(weights)
    if found == expected:
        return
    if found is not None:
        raise CheckpointError(f"these are weights of {found}, not of {expected}")
    some = ", ".join(sorted(weights)[:3]) or "none"
    raise CheckpointError(
        f"these are not weights of {expected}: no parameter has a name of its own "
        f"(the {len(weights)} names begin with: {some})"
    )


def _filled(network: Network, weights: Weights, name: str) -> Network:
    """Load strictly: only buffers that the network computes may be missing."""
    expected = network.state_dict()
    computed = (".inv_freq", ".num_batches_tracked")
    missing = [k for k in expected if k not in weights and not k.endswith(computed)]
    unknown = [k for k in weights if k not in expected]
    misshapen = [
        f"{k} is {tuple(weights[k].shape)} and not {tuple(expected[k].shape)}"
        for k in expected
        if k in weights and weights[k].shape != expected[k].shape
    ]
    problems = [
        f"{len(found)} {kind} ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''})"
        for kind, found in (("missing", missing), ("unknown", unknown), ("misshapen", misshapen))
        if found
    ]
    if problems:
        raise CheckpointError(
            f"these weights do not fit {name}: {'; '.join(problems)}. "
            "The file is damaged or belongs to another version of the network"
        )
    network.load_state_dict(expected | {k: v.float() for k, v in weights.items()})
    return network


def _for_several_objects(weights: Weights, inputs: Mapping[str, int]) -> dict[str, Tensor]:
    """Add the missing input channel of single-object weights, filled with zeros.

    This last channel is for the masks of other objects. `inputs` are the layers that use it and
    their input channels. One object is tracked exactly as by the original; several are refused by
    the session, which detects the zeros (`sees_others`).
    """
    result = dict(weights)
    short = [key for key, channels in inputs.items() if _shape(weights, key)[1] == channels - 1]
    for key in short:
        outputs, _, *window = _shape(weights, key)
        zeros = weights[key].new_zeros(outputs, 1, *window)
        result[key] = torch.cat([weights[key], zeros], dim=1)
    return result


def _trunk(weights: Weights, prefix: str, first: str) -> TrunkSize:
    """The size of a residual network whose stages are `first`, layer2 and layer3."""
    bottleneck = f"{prefix}layer2.0.conv3.weight" in weights
    depths = [_count(weights, f"{prefix}{stage}.") for stage in (first, "layer2", "layer3")]
    return TrunkSize(
        Bottleneck if bottleneck else BasicBlock,
        (depths[0], depths[1], depths[2]),
        width=_shape(weights, f"{prefix}conv1.weight")[0],
    )


def _count(weights: Weights, prefix: str) -> int:
    """Number of numbered entries below `prefix`."""
    count = len({k[len(prefix) :].split(".")[0] for k in weights if k.startswith(prefix)})
    if count == 0:
        raise CheckpointError(f"the weights are incomplete: no name starts with {prefix}")
    return count


def _shape(weights: Weights, key: str) -> tuple[int, ...]:
    if key not in weights:
        raise CheckpointError(f"the weights are incomplete: {key} is missing")
    return tuple(weights[key].shape)
