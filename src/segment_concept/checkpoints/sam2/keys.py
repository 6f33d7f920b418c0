"""Map parameter names of SAM 2.1's and SeC's published checkpoints to `Sam2Network`, and back.

The network uses transformers' names, so `facebook/sam2.1-hiera-*/model.safetensors` needs no
renaming. Strict: a name that is neither mapped nor listed as unused is an error.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from segment_concept.checkpoints.strict_keys import refuse_unknown_keys
from segment_concept.types import CheckpointError

SEC_PREFIX = "grounding_encoder."  # prefix of the segmenter in SeC's checkpoint
UNUSED = frozenset({"no_memory_positional_encoding"})  # SAM 2.1 adds `no_mem_embed` instead
FREQUENCIES = "prompt_encoder.shared_embedding.positional_embedding"  # for point positions
SECOND_COPY = "shared_image_embedding.positional_embedding"  # transformers' second copy

_POINT = re.compile(r"sam_prompt_encoder\.point_embeddings\.([0-3])\.weight")
POINTS = "prompt_encoder.point_embed.weight"  # the four of them, a row each

_HEAD = {"layers.0.": "proj_in.", "layers.1.": "layers.0.", "layers.2.": "proj_out."}
_BLOCK_MLP = {"mlp.layers.0.": "mlp.proj_in.", "mlp.layers.1.": "mlp.proj_out."}
_TRANSFORMER = {".out_proj.": ".o_proj.", ".norm": ".layer_norm"}
_DOWNSAMPLER = {  # four halvings, each a convolution and a norm (and a GELU between them)
    **{f".{3 * i}.": f".layers.{i}.conv." for i in range(4)},
    **{f".{3 * i + 1}.": f".layers.{i}.layer_norm." for i in range(4)},
    ".12.": ".final_conv.",
}

# Official prefix, our prefix, and further replacements in names with that prefix. The first
# matching row applies; its replacements are made in order.
_PARTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "image_encoder.trunk.",
        "vision_encoder.backbone.",
        {"patch_embed.proj.": "patch_embed.projection.", ".norm": ".layer_norm", **_BLOCK_MLP},
    ),
    (
        "image_encoder.neck.",
        "vision_encoder.neck.",
        {f".{i}.conv.": f".{i}." for i in range(4)},
    ),
    (
        "sam_prompt_encoder.mask_downscaling.",
        "prompt_encoder.mask_embed.",
        {
            "embed.0.": "embed.conv1.",
            "embed.1.": "embed.layer_norm1.",
            "embed.3.": "embed.conv2.",
            "embed.4.": "embed.layer_norm2.",
            "embed.6.": "embed.conv3.",
        },
    ),
    (
        "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        FREQUENCIES,
        {},
    ),
    ("sam_prompt_encoder.", "prompt_encoder.", {}),
    (
        "sam_mask_decoder.transformer.",
        "mask_decoder.transformer.",
        {"norm_final_attn": "layer_norm_final_attn", **_TRANSFORMER, **_BLOCK_MLP},
    ),
    ("sam_mask_decoder.output_upscaling.0.", "mask_decoder.upscale_conv1.", {}),
    ("sam_mask_decoder.output_upscaling.1.", "mask_decoder.upscale_layer_norm.", {}),
    ("sam_mask_decoder.output_upscaling.3.", "mask_decoder.upscale_conv2.", {}),
    ("sam_mask_decoder.", "mask_decoder.", _HEAD),
    ("memory_attention.", "memory_attention.", _TRANSFORMER),
    ("token_attn.", "token_attn.", _TRANSFORMER),
    ("memory_encoder.pix_feat_proj.", "memory_encoder.feature_projection.", {}),
    ("memory_encoder.out_proj.", "memory_encoder.projection.", {}),
    (
        "memory_encoder.mask_downsampler.encoder.",
        "memory_encoder.mask_downsampler.",
        {f"downsampler{old}": f"downsampler{new}" for old, new in _DOWNSAMPLER.items()},
    ),
    (
        "memory_encoder.fuser.",
        "memory_encoder.memory_fuser.",
        {
            ".dwconv.": ".depthwise_conv.",
            ".norm.": ".layer_norm.",
            ".pwconv": ".pointwise_conv",
            ".g_weight": ".scale",  # in SeC's checkpoint
            ".gamma": ".scale",
        },
    ),
    ("obj_ptr_proj.", "object_pointer_proj.", _HEAD),
    ("obj_ptr_tpos_proj.", "temporal_positional_encoding_projection_layer.", {}),
    ("mask_downsample.", "mask_downsample.", {}),
    ("maskmem_tpos_enc", "memory_temporal_positional_encoding", {}),
    ("no_mem_embed", "no_memory_embedding", {}),
    ("no_mem_pos_enc", "no_memory_positional_encoding", {}),
    ("no_obj_ptr", "no_object_pointer", {}),
    ("no_obj_embed_spatial", "occlusion_spatial_embedding_parameter", {}),
)


def our_name(name: str) -> str:
    """Return our name of a published parameter; our own names stay unchanged."""
    if _POINT.fullmatch(name):
        return POINTS
    for official, ours, renames in _PARTS:
        if name.startswith(official):
            renamed = ours + name.removeprefix(official)
            for old, new in renames.items():
                renamed = renamed.replace(old, new)
            return renamed
    return name


def published_names(name: str, *, of_sec: bool = False) -> tuple[str, ...]:
    """Return the official name of one of our parameters; four names, one per row, for the points.

    Args:
        name: our name.
        of_sec: use the names of SeC's checkpoint, which differ in one place.

    Raises:
        KeyError: the name is none of `Sam2Network`'s.
    """
    if name == POINTS:
        return tuple(f"sam_prompt_encoder.point_embeddings.{i}.weight" for i in range(4))
    for official, ours, renames in _PARTS:
        if not name.startswith(ours):
            continue
        published = name
        for old, new in reversed(renames.items()):
            published = published.replace(new, old)
        published = published.replace(ours, official, 1)
        if our_name(published) == name:
            scale = of_sec and published.endswith(".gamma")
            return (published.removesuffix("gamma") + "g_weight" if scale else published,)
    raise KeyError(name)


def plan(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Map each of our names to the published tensors to concatenate along dimension 0.

    Raises:
        CheckpointError: two published names map to the same parameter.
    """
    sources: dict[str, tuple[str, ...]] = {}
    for name in sorted(names):
        ours = our_name(name)
        known = sources.get(ours, ())
        if known and ours != POINTS:
            raise CheckpointError(f"{known[0]} and {name} are the same parameter: {ours}")
        sources[ours] = (*known, name)
    copy = sources.pop(SECOND_COPY, None)
    if copy:
        sources.setdefault(FREQUENCIES, copy)
    return {ours: found for ours, found in sources.items() if ours not in UNUSED}


def published_weights(
    state: Mapping[str, Tensor], *, of_sec: bool = False
) -> Iterator[tuple[str, Tensor]]:
    """Iterate over a network's weights under their official names."""
    for name, tensor in state.items():
        names = published_names(name, of_sec=of_sec)
        yield from zip(names, tensor.split(1) if len(names) > 1 else (tensor,), strict=True)


def check_keys(unknown: Iterable[str], missing: Iterable[str]) -> None:
    """Raise CheckpointError if names are unknown or missing.

    Raises:
        CheckpointError: there are unknown or missing names; the message lists them.
    """
    refuse_unknown_keys(
        unknown,
        missing,
        "SAM 2.1",
        "SAM 2 (without .1), SAM and SAM 3 are other networks: use facebook/sam2.1-hiera-*",
    )
