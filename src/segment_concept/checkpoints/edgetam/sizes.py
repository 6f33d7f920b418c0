"""Infer the sizes of an EdgeTAM network from the shapes of its weights."""

import re
from collections.abc import Mapping
from math import isqrt

from segment_concept.models.edgetam.repvit import RepVitSizes
from segment_concept.models.edgetam.sizes import EdgeTamSizes
from segment_concept.types import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]
_BLOCK = re.compile(
    r"vision_encoder\.backbone\.stages_(\d)\.blocks\.\d+\.channel_mixer\.conv2\.c\.weight"
)


def infer_sizes(shapes: Shapes, image_side: int) -> EdgeTamSizes:
    """Infer the sizes of the network to which the weights belong.

    Args:
        shapes: shapes of the weights, under our names.
        image_side: side of the input in pixels; it cannot be inferred from shapes.

    Raises:
        CheckpointError: not the weights of EdgeTAM, or they are damaged.
    """
    try:
        return EdgeTamSizes(
            trunk=_trunk(shapes),
            image_side=image_side,
            width=shapes["no_object_pointer"][1],
            memory_width=shapes["memory_encoder.projection.weight"][0],
            slots=shapes["memory_temporal_positional_encoding"][0],
            attention_layers=_count(shapes, "memory_attention.layers."),
            attention_mlp=shapes["memory_attention.layers.0.linear1.weight"][0],
            decoder_mlp=shapes["mask_decoder.transformer.layers.0.mlp.proj_in.weight"][0],
            iou_width=shapes["mask_decoder.iou_prediction_head.proj_in.weight"][0],
            mask_channels=shapes["prompt_encoder.mask_embed.conv2.weight"][0],
            fuser_layers=_count(shapes, "memory_encoder.memory_fuser.layers."),
            fuser_mlp=shapes["memory_encoder.memory_fuser.layers.0.pointwise_conv1.weight"][0],
            latents=shapes["spatial_perceiver.latents_1d"][0],
            side=isqrt(shapes["spatial_perceiver.latents_2d"][0]),
            perceiver_layers=_count(shapes, "spatial_perceiver.layers."),
            perceiver_mlp=shapes["spatial_perceiver.layers.0.mlp.up_proj.weight"][0],
        )
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"the weights are not those of EdgeTAM, or are damaged ({error}): use "
            "yonigozlan/EdgeTAM-hf, or edgetam.pt of the release"
        ) from error


def _trunk(shapes: Shapes) -> RepVitSizes:
    stages = [(int(m[1]), shapes[m[0]][0]) for name in shapes if (m := _BLOCK.fullmatch(name))]
    counts = [[width for stage, width in stages if stage == i] for i in range(4)]
    first, second, third, fourth = (widths[0] for widths in counts)
    blocks = (len(counts[0]), len(counts[1]), len(counts[2]), len(counts[3]))
    return RepVitSizes((first, second, third, fourth), blocks)


def _count(shapes: Shapes, prefix: str) -> int:
    """Count the numbered layers under a prefix."""
    return len({n.removeprefix(prefix).split(".")[0] for n in shapes if n.startswith(prefix)})
