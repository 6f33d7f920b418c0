"""Map parameter names of SeC's and InternVL2.5's published checkpoints to ours, and back.

Strict: every published name is either mapped or listed as unused; any other name is an error, and
so is a parameter that the checkpoint does not have. InternLM2's names map to those of Llama; its
fused query-key-value matrix has, for every key-value head, the rows of its query heads, of its key
and of its value (InternLM's `tools/convert2llama.py`).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from segment_concept.checkpoints.strict_keys import refuse_unknown_keys
from segment_concept.models.internvl.sizes import (
    SIZES,
    TINY,
    ConceptSize,
    LanguageSize,
    with_vocabulary,
)
from segment_concept.types import CheckpointError

PREFIXES = ("vision_model.", "mlp1.", "language_model.", "text_hidden_fcs.")
# By language model: the head, which is read only for training (no text is generated), and the
# token embeddings.
WORDS = {"qwen2": "language_model.lm_head.weight", "internlm2": "language_model.output.weight"}
TOKENS = {
    "qwen2": "language_model.model.embed_tokens.weight",
    "internlm2": "language_model.model.tok_embeddings.weight",
}
UNUSED = frozenset(WORDS.values())

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
_INTERNLM2 = {
    "tok_embeddings": "embed_tokens",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_PROJECTOR = {"0": "layer_norm", "1": "linear_1", "3": "linear_2"}
_QKV = ("q_proj", "k_proj", "v_proj")

_LAYER = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.(.+?)(\.weight|\.bias)?")
_MLP1 = re.compile(r"mlp1\.([013])\.(weight|bias)")
_HEAD = re.compile(r"text_hidden_fcs\.([02])\.(weight|bias)")
_WQKV = re.compile(r"language_model\.model\.(layers\.\d+)\.attention\.wqkv\.weight")
_LANGUAGE = "language_model.model."

Renamed = Callable[[str, Tensor], dict[str, Tensor]]


def belongs_to_concept(name: str) -> bool:
    """Whether a published name belongs to the concept network and not to the segmenter."""
    return name.startswith(PREFIXES)


def our_names(name: str) -> tuple[str, ...]:
    """Our name of a published parameter; three names for a fused query-key-value parameter.

    Raises:
        KeyError: unknown name.
    """
    if name in WORDS.values():
        return ("words.weight",)
    if match := _WQKV.fullmatch(name):
        return tuple(f"backbone.language_model.{match[1]}.self_attn.{part}.weight" for part in _QKV)
    if name.startswith("vision_model.embeddings."):
        ours = _EMBEDDINGS[name.removeprefix("vision_model.embeddings.")]
        return (f"backbone.vision_tower.embeddings.{ours}",)
    if name.startswith(_LANGUAGE):
        ours = name.removeprefix(_LANGUAGE)
        for theirs, llamas in _INTERNLM2.items():
            ours = ours.replace(theirs, llamas)
        return (f"backbone.language_model.{ours}",)
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


def renamed(size: ConceptSize) -> Renamed:
    """A function that returns a published parameter of this size under our name or names.

    It raises KeyError for an unknown name.
    """

    def rename(name: str, tensor: Tensor) -> dict[str, Tensor]:
        names = our_names(name)
        if _WQKV.fullmatch(name):
            return dict(zip(names, _split_wqkv(tensor, size.language), strict=True))
        return dict(zip(names, tensor.chunk(len(names)), strict=True))

    return rename


def _split_wqkv(fused: Tensor, size: LanguageSize) -> tuple[Tensor, Tensor, Tensor]:
    groups, head_width = size.heads // size.key_value_heads, size.width // size.heads
    if fused.shape[0] != size.key_value_heads * (groups + 2) * head_width:
        raise CheckpointError(
            f"the fused attention weight has {fused.shape[0]} rows, which do not fit "
            f"{size.heads} heads and {size.key_value_heads} key-value heads: config.json and "
            "weights belong to different checkpoints"
        )
    heads = fused.view(size.key_value_heads, groups + 2, head_width, fused.shape[-1])
    query, key, value = heads.split((groups, 1, 1), dim=1)
    return query.flatten(0, 2), key.flatten(0, 2), value.flatten(0, 2)


def _join_wqkv(parts: Iterable[Tensor], size: LanguageSize) -> Tensor:
    shape = (size.key_value_heads, -1, size.width // size.heads, size.width)
    return torch.cat([part.view(shape) for part in parts], dim=1).flatten(0, 2)


def published_name(name: str, size: ConceptSize) -> str:
    """The published name of one of our parameters; that of the fused one for its parts."""
    if name == "words.weight":
        return WORDS[size.language.family]
    area, _, rest = name.removeprefix("backbone.").partition(".")
    if area == "language_model":
        return _LANGUAGE + _published_language(rest, size.language)
    if area == "multi_modal_projector":
        return "mlp1." + _replaced(rest, {ours: theirs for theirs, ours in _PROJECTOR.items()})
    if area == "head":
        return f"text_hidden_fcs.{rest}"
    if rest.startswith("embeddings."):
        names = {ours: theirs for theirs, ours in _EMBEDDINGS.items()}
        return "vision_model.embeddings." + names[rest.removeprefix("embeddings.")]
    names = {f"attention.{part}": "attn.qkv" for part in _QKV}
    names |= {ours: theirs for theirs, ours in _VISION_LAYER.items()}
    return "vision_model." + _replaced(rest.replace("encoder.layer.", "encoder.layers."), names)


def published_weights(
    state: Mapping[str, Tensor], size: ConceptSize
) -> Iterator[tuple[str, Tensor]]:
    """Iterate over a network's parameters under their published names, fused as published."""
    for published in dict.fromkeys(published_name(name, size) for name in state):
        parts = [state[name] for name in our_names(published)]
        wqkv = _WQKV.fullmatch(published)
        yield published, _join_wqkv(parts, size.language) if wqkv else torch.cat(parts)


def _published_language(name: str, size: LanguageSize) -> str:
    if size.family == "qwen2":
        return name
    names = {f"self_attn.{part}": "attention.wqkv" for part in _QKV}
    return _replaced(name, names | {ours: theirs for theirs, ours in _INTERNLM2.items()})


def _replaced(name: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        name = name.replace(old, new)
    return name


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
    embeddings = next((name for name in TOKENS.values() if name in shapes), TOKENS["qwen2"])
    try:
        vocabulary, width = shapes[embeddings]
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
