"""Sizes of the InternVL2.5 networks that can be concept encoders.

Sources of the numbers: the `config.json` of OpenGVLab/InternVL2_5-{1B,2B,4B,8B} (vision:
InternViT-300M-448px-V2_5; language: Qwen2.5-0.5B-Instruct, internlm2_5-1_8b-chat,
Qwen2.5-3B-Instruct, internlm2_5-7b-chat).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from segment_concept.types import CheckpointError, InputError

IMAGE_SIDE = 448  # pixels; every image is resized to a square of this side
PATCH_SIDE = 14  # pixels
TOKENS_PER_IMAGE = 256  # (448 / 14)^2 patches, 2 x 2 patches per token

Family = Literal["qwen2", "internlm2"]  # kinds of language models


@dataclass(frozen=True, slots=True)
class VisionSize:
    """InternViT: a plain ViT with layer scale and learned positions."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    norm_eps: float = 1e-6


@dataclass(frozen=True, slots=True)
class LanguageSize:
    """A Qwen2 or InternLM2 decoder.

    InternLM2 is Llama's decoder with other parameter names and one fused query-key-value matrix
    (InternLM's own `tools/convert2llama.py`), so transformers' Llama computes it.
    """

    width: int
    layers: int
    heads: int
    key_value_heads: int
    mlp_width: int
    vocabulary: int
    rope_theta: float = 1e6
    norm_eps: float = 1e-6
    positions: int = 32768  # longest sequence; eight images have about 2100
    family: Family = "qwen2"


@dataclass(frozen=True, slots=True)
class ConceptSize:
    """Everything needed to build the network; `concept_width` is the segmenter's width."""

    vision: VisionSize
    language: LanguageSize
    concept_width: int = 256

    def cache_bytes(self, keyframes: int, bytes_per_number: int) -> int:
        """Size of the cached keys, values and image features of one object's bank."""
        language = self.language
        head_width = language.width // language.heads
        per_token = 2 * language.layers * language.key_value_heads * head_width + language.width
        return keyframes * TOKENS_PER_IMAGE * per_token * bytes_per_number


_INTERNVIT_300M = VisionSize(width=1024, layers=24, heads=16, mlp_width=4096)

INTERNVL2_5_1B = ConceptSize(
    _INTERNVIT_300M,
    LanguageSize(
        width=896, layers=24, heads=14, key_value_heads=2, mlp_width=4864, vocabulary=151674
    ),
)
INTERNVL2_5_2B = ConceptSize(
    _INTERNVIT_300M,
    LanguageSize(
        width=2048,
        layers=24,
        heads=16,
        key_value_heads=8,
        mlp_width=8192,
        vocabulary=92553,
        norm_eps=1e-5,
        family="internlm2",
    ),
)
INTERNVL2_5_4B = ConceptSize(
    _INTERNVIT_300M,
    LanguageSize(
        width=2048, layers=36, heads=16, key_value_heads=2, mlp_width=11008, vocabulary=151674
    ),
)
INTERNVL2_5_8B = ConceptSize(
    _INTERNVIT_300M,
    LanguageSize(
        width=4096,
        layers=32,
        heads=32,
        key_value_heads=8,
        mlp_width=14336,
        vocabulary=92553,
        norm_eps=1e-5,
        family="internlm2",
    ),
)
# Of the network that tests are run on; read like any other, but no size that is published.
TINY = ConceptSize(
    VisionSize(width=64, layers=2, heads=4, mlp_width=128),
    LanguageSize(width=64, layers=2, heads=4, key_value_heads=2, mlp_width=128, vocabulary=263),
    concept_width=128,
)

SIZES: Mapping[str, ConceptSize] = {
    "internvl2.5-1b": INTERNVL2_5_1B,
    "internvl2.5-2b": INTERNVL2_5_2B,
    "internvl2.5-4b": INTERNVL2_5_4B,
    "internvl2.5-8b": INTERNVL2_5_8B,
}


def size_named(name: str) -> ConceptSize:
    """The size of that name, one of `SIZES`, whatever its case.

    Raises:
        InputError: an unknown name.
    """
    key = name.lower().replace("_", ".")
    if key not in SIZES:
        raise InputError(f"unknown concept size {name!r}: there are {', '.join(SIZES)}")
    return SIZES[key]


def size_from_config(config: Mapping[str, Any], concept_width: int = 256) -> ConceptSize:
    """The size that a checkpoint's `config.json` (SeC's or InternVL2.5's layout) declares.

    Raises:
        CheckpointError: a part is missing, or the network is of a kind that is not supported.
    """
    try:
        vision, language = config["vision_config"], config["llm_config"]
        _refuse_other_kinds(config, vision, language)
        return ConceptSize(
            VisionSize(
                width=vision["hidden_size"],
                layers=vision["num_hidden_layers"],
                heads=vision["num_attention_heads"],
                mlp_width=vision["intermediate_size"],
                norm_eps=vision.get("layer_norm_eps", 1e-6),
            ),
            _language_size(language),
            concept_width,
        )
    except KeyError as missing:
        raise CheckpointError(
            f"the checkpoint's config.json has no {missing}: expected the layout of "
            "OpenIXCLab/SeC-4B or OpenGVLab/InternVL2_5-4B"
        ) from missing


def _language_size(language: Mapping[str, Any]) -> LanguageSize:
    rope = language.get("rope_parameters") or {}
    theta = rope["rope_theta"] if "rope_theta" in rope else language["rope_theta"]
    return LanguageSize(
        width=language["hidden_size"],
        layers=language["num_hidden_layers"],
        heads=language["num_attention_heads"],
        key_value_heads=language["num_key_value_heads"],
        mlp_width=language["intermediate_size"],
        vocabulary=language["vocab_size"],
        rope_theta=theta,
        norm_eps=language["rms_norm_eps"],
        positions=language.get("max_position_embeddings", 32768),
        family="internlm2" if _is_internlm2(language) else "qwen2",
    )


def _is_internlm2(language: Mapping[str, Any]) -> bool:
    kinds = (language.get("model_type"), *(language.get("architectures") or ()))
    return any("internlm2" in str(kind).lower() for kind in kinds)


def _refuse_other_kinds(
    config: Mapping[str, Any], vision: Mapping[str, Any], language: Mapping[str, Any]
) -> None:
    family = "internlm2" if _is_internlm2(language) else "qwen2"
    rope = language.get("rope_parameters") or language.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) == "dynamic":
        rope = {}  # changes nothing below `positions` tokens, and a query has about 2100
    expected = {
        "llm_config.rope_scaling": (rope.get("rope_type", rope.get("type", "default")), "default"),
        "llm_config.model_type": (language.get("model_type") or family, family),
        "llm_config.bias": (language.get("bias", False), False),
        "llm_config.use_sliding_window": (language.get("use_sliding_window", False), False),
        "vision_config.norm_type": (vision.get("norm_type", "layer_norm"), "layer_norm"),
        "vision_config.qk_normalization": (vision.get("qk_normalization", False), False),
        "vision_config.qkv_bias": (vision.get("qkv_bias", True), True),
        "vision_config.image_size": (vision.get("image_size", IMAGE_SIDE), IMAGE_SIDE),
        "vision_config.patch_size": (vision.get("patch_size", PATCH_SIDE), PATCH_SIDE),
        "downsample_ratio": (config.get("downsample_ratio", 0.5), 0.5),
        "select_layer": (config.get("select_layer", -1), -1),
        "ps_version": (config.get("ps_version", "v2"), "v2"),
    }
    wrong = [f"{key} = {is_!r} (must be {must!r})" for key, (is_, must) in expected.items()
             if is_ != must]  # fmt: skip
    if wrong:
        raise CheckpointError(f"this InternVL cannot be run here: {'; '.join(wrong)}")


def with_vocabulary(size: ConceptSize, vocabulary: int) -> ConceptSize:
    """The same size with another number of token embeddings (SeC adds [SEG])."""
    return replace(size, language=replace(size.language, vocabulary=vocabulary))
