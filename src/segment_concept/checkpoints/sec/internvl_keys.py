"""Map parameter names of SeC's and InternVL2.5's published checkpoints to `ConceptNetwork`.

Strict: every published name is either mapped or listed as unused; any other name is an error, and
so is a parameter that the checkpoint does not have.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from torch import Tensor

from segment_concept.checkpoints.strict_keys import refuse_unknown_keys
from segment_concept.models.internvl.sizes import SIZES, TINY, ConceptSize, with_vocabulary
from segment_concept.types import CheckpointError

PREFIXES = ("vision_model.", "mlp1.", "language_model.", "text_hidden_fcs.")
UNUSED = frozenset({"language_model.lm_head.weight"})  # no text is generated

_EMBEDDINGS = {
    "class_embedding": "cls_token",
    "position_embedding": "position_embeddings",
    "patch_embedding.weight": "patch_embeddings.projection.weight",
    "patch_embedding.bias": "patch_embeddings.projection.bias",
}
_VISION_LAYER = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "ls1": "lambda_1",
    "ls2": "lambda_2",
    "attn.proj": "attention.projection_layer",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_PROJECTOR = {"0": "layer_norm", "1": "linear_1", "3": "linear_2"}
_QKV = ("q_proj", "k_proj", "v_proj")

_LAYER = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.(.+?)(\.weight|\.bias)?")
_MLP1 = re.compile(r"mlp1\.([013])\.(weight|bias)")
_HEAD = re.compile(r"text_hidden_fcs\.([02])\.(weight|bias)")


def belongs_to_concept(name: str) -> bool:
    """Whether a published name belongs to the concept network and not to the segmenter."""
    return name.startswith(PREFIXES)


def our_names(name: str) -> tuple[str, ...]:
    """Our name of a published parameter; three names for a fused query-key-value parameter.

    The tensor is split evenly along dimension 0 among the names.

    Raises:
        KeyError: unknown name.
    """
    if name.startswith("vision_model.embeddings."):
        ours = _EMBEDDINGS[name.removeprefix("vision_model.embeddings.")]
        return (f"backbone.vision_tower.embeddings.{ours}",)
    if name.startswith("language_model.model."):
        return (name.replace("language_model.model.", "backbone.language_model.", 1),)
    if match := _MLP1.fullmatch(name):
        return (f"backbone.multi_modal_projector.{_PROJECTOR[match[1]]}.{match[2]}",)
    if match := _HEAD.fullmatch(name):
        return (f"head.{match[1]}.{match[2]}",)
    if match := _LAYER.fullmatch(name):
        layer = f"backbone.vision_tower.encoder.layer.{match[1]}"
        end = match[3] or ""
        if match[2] == "attn.qkv":
            return tuple(f"{layer}.attention.{part}{end}" for part in _QKV)
        return (f"{layer}.{_VISION_LAYER[match[2]]}{end}",)
    raise KeyError(name)


def convert(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return a published parameter under our name or names.

    Raises:
        KeyError: unknown name.
    """
    names = our_names(name)
    return dict(zip(names, tensor.chunk(len(names)), strict=True))


def check_keys(unknown: Iterable[str], missing: Iterable[str]) -> None:
    """Raise CheckpointError if names are unknown or missing.

    Raises:
        CheckpointError: there are unknown or missing names; the message lists them.
    """
    refuse_unknown_keys(
        unknown,
        missing,
        "this concept network",
        "Is this the checkpoint of another model, or a single shard?",
    )


def size_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> ConceptSize:
    """Find the known size of published weights, for files without a `config.json`.

    Raises:
        CheckpointError: the names are not SeC's, or no known size has these shapes.
    """
    try:
        vocabulary, width = shapes["language_model.model.embed_tokens.weight"]
        concept_width = shapes["text_hidden_fcs.2.weight"][0]
        vision_width = shapes["vision_model.embeddings.class_embedding"][-1]
    except KeyError as missing:
        raise CheckpointError(
            f"the weights have no {missing}: this is not a SeC checkpoint, or a shard is missing"
        ) from missing
    layers = 1 + max(
        int(name.split(".")[3]) for name in shapes if name.startswith("language_model.model.layers")
    )
    for size in (*SIZES.values(), TINY):
        same = (size.language.width, size.language.layers, size.vision.width)
        if same == (width, layers, vision_width):
            return replace(with_vocabulary(size, vocabulary), concept_width=concept_width)
    raise CheckpointError(
        f"a language model of width {width} with {layers} layers is none of the known sizes "
        f"({', '.join(SIZES)}): put the checkpoint's config.json next to the weights"
    )
