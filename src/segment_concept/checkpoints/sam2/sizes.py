"""Infer the sizes of a SAM 2.1 network from its weights."""

import re
from collections.abc import Mapping
from typing import Any

from segment_concept.models.sam2.sizes import WIRINGS, HieraSizes, HieraWiring, Sam2Sizes
from segment_concept.types import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]
_BLOCK = re.compile(r"vision_encoder\.backbone\.blocks\.(\d+)\.layer_norm2\.weight")
_STAGES = 4


def infer_sizes(shapes: Shapes, image_side: int, wiring: HieraWiring | None = None) -> Sam2Sizes:
    """Infer the sizes of the network to which the weights belong.

    Args:
        shapes: shapes of the weights, under our names.
        image_side: side of the training input in pixels; it cannot be inferred from shapes.
        wiring: heads, windows and global blocks of the image encoder, if it is not one of the
            official four.

    Raises:
        CheckpointError: not the weights of SAM 2.1, or an unknown image encoder.
    """
    decoder = "mask_decoder.transformer.layers.0.mlp.proj_in.weight"
    fuser = "memory_encoder.memory_fuser.layers.0.pointwise_conv1.weight"
    try:
        return Sam2Sizes(
            trunk=_trunk(shapes, wiring),
            image_side=image_side,
            width=shapes["vision_encoder.neck.convs.0.weight"][0],
            memory_width=shapes["memory_encoder.projection.weight"][0],
            slots=shapes["memory_temporal_positional_encoding"][0],
            attention_layers=_layers(shapes, "memory_attention.layers."),
            attention_mlp=shapes["memory_attention.layers.0.linear1.weight"][0],
            concept_layers=_layers(shapes, "token_attn.layers."),
            decoder_mlp=shapes[decoder][0],
            iou_width=shapes["mask_decoder.iou_prediction_head.proj_in.weight"][0],
            mask_channels=shapes["prompt_encoder.mask_embed.conv2.weight"][0],
            fuser_layers=_layers(shapes, "memory_encoder.memory_fuser.layers."),
            fuser_mlp=shapes[fuser][0],
        )
    except KeyError as missing:
        raise CheckpointError(
            f"the weights are not those of SAM 2.1: {missing} is missing. Use "
            "facebook/sam2.1-hiera-*"
        ) from missing
    except IndexError as error:
        raise CheckpointError(
            "the weights are not those of SAM 2.1: a weight that tells the network's sizes has "
            "fewer dimensions than it should. In the hub look for facebook/sam2.1-hiera-*"
        ) from error


def stated_sizes(stated: Mapping[str, Any]) -> Sam2Sizes:
    """The sizes of a network as `dataclasses.asdict` wrote them to JSON.

    Raises:
        KeyError, TypeError, ValueError: a size is missing, unknown or invalid.
    """
    trunk, wiring = stated["trunk"], stated["trunk"]["wiring"]
    first, second, third, fourth = wiring["windows"]
    hiera = HieraWiring(
        wiring["heads"], (first, second, third, fourth), tuple(wiring["global_blocks"])
    )
    sizes = HieraSizes(**{**trunk, "blocks": tuple(trunk["blocks"]), "wiring": hiera})
    return Sam2Sizes(**{**stated, "trunk": sizes})


def _trunk(shapes: Shapes, wiring: HieraWiring | None) -> HieraSizes:
    width = shapes["vision_encoder.backbone.patch_embed.projection.weight"][0]
    found = [(int(m[1]), shapes[m[0]][0]) for name in shapes if (m := _BLOCK.fullmatch(name))]
    widths = [w for _, w in sorted(found)]
    first, second, third, fourth = (widths.count(width * 2**stage) for stage in range(_STAGES))
    blocks = (first, second, third, fourth)
    known = wiring or WIRINGS.get((width, blocks))
    if known is None:
        raise CheckpointError(
            f"an image encoder of width {width} with {blocks} blocks is none of SAM 2.1's four: "
            "pass its `wiring` (heads, windows and global blocks cannot be inferred from weights)"
        )
    background = shapes["vision_encoder.backbone.pos_embed"][-1]
    return HieraSizes(width, blocks, background, known)


def _layers(shapes: Shapes, prefix: str) -> int:
    """Count the numbered layers under a prefix."""
    return len({n.removeprefix(prefix).split(".")[0] for n in shapes if n.startswith(prefix)})
