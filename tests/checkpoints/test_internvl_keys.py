from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from helpers.fixtures import fixture
from segment_concept.checkpoints.sec.internvl_keys import (
    TOKENS,
    belongs_to_concept,
    check_keys,
    our_names,
    published_name,
    published_weights,
    renamed,
    size_from_shapes,
)
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.sizes import SIZES, TINY
from segment_concept.types import CheckpointError


def published_shapes(size, vocabulary):
    """Names and shapes that a published checkpoint of that size has, as far as sizes need them."""
    shapes = {
        TOKENS[size.language.family]: (vocabulary, size.language.width),
        "text_hidden_fcs.2.weight": (256, size.language.width),
        "vision_model.embeddings.class_embedding": (1, 1, size.vision.width),
        "grounding_encoder.anything": (1,),
    }
    for layer in range(size.language.layers):
        shapes[f"language_model.model.layers.{layer}.input_layernorm.weight"] = (1,)
    return shapes


def test_a_fused_query_key_value_becomes_three():
    fused = torch.arange(12.0).reshape(6, 2)
    ours = renamed(TINY)("vision_model.encoder.layers.3.attn.qkv.weight", fused)
    stem = "backbone.vision_tower.encoder.layer.3.attention"
    assert list(ours) == [f"{stem}.{part}_proj.weight" for part in "qkv"]
    assert torch.equal(ours[f"{stem}.k_proj.weight"], fused[2:4])


@pytest.mark.parametrize(
    "name",
    [
        "vision_model.encoder.layers.0.attn.q_norm.weight",
        "vision_model.embeddings.mask_token",
        "mlp1.2.weight",
        "text_hidden_fcs.1.weight",
        "language_model.lm_head.bias",
        "grounding_encoder.maskmem_tpos_enc",
    ],
)
def test_a_name_that_is_not_known_is_no_parameter(name):
    with pytest.raises(KeyError):
        our_names(name)


def test_the_segmenters_names_are_not_the_concepts():
    assert belongs_to_concept("mlp1.0.weight")
    assert not belongs_to_concept("grounding_encoder.token_attn.norm.weight")


def test_unknown_and_missing_names_are_listed_and_the_rest_counted():
    with pytest.raises(CheckpointError) as error:
        check_keys(unknown=["b", "a"], missing=[f"m{i}" for i in range(10)])
    assert "2 unknown: a, b" in str(error.value)
    assert "10 missing: m0, m1" in str(error.value)
    assert "and 2 more" in str(error.value)


def test_matching_names_are_no_error():
    check_keys(unknown=[], missing=[])


@pytest.mark.parametrize("size", [*SIZES.values(), TINY])
def test_the_size_is_inferred_from_the_shapes(size):
    inferred = size_from_shapes(published_shapes(size, vocabulary=151679))
    assert inferred.language.vocabulary == 151679
    assert inferred.concept_width == 256
    assert (inferred.vision, inferred.language.heads) == (size.vision, size.language.heads)


def test_shapes_of_another_model_are_refused():
    shapes = published_shapes(TINY, 263) | {
        "language_model.model.layers.5.input_layernorm.weight": (1,)
    }
    with pytest.raises(CheckpointError, match="with 6 layers is none of the known sizes"):
        size_from_shapes(shapes)
    with pytest.raises(CheckpointError, match="not a SeC checkpoint"):
        size_from_shapes({"model.diffusion.weight": (1,)})


INTERNLM2 = replace(TINY, language=replace(TINY.language, family="internlm2"))


@pytest.mark.parametrize("size", [TINY, INTERNLM2], ids=["qwen2", "internlm2"])
def test_every_parameter_of_the_network_has_a_published_name(size):
    with torch.device("meta"):
        parameters = dict(ConceptNetwork(size, words=True).named_parameters())
    for name in parameters:
        assert name in our_names(published_name(name, size))


def test_weights_under_published_names_are_those_that_were_read():
    published = load_file(fixture("parity/sec_tiny_concept_weights.safetensors"))
    rename = renamed(TINY)
    ours = {n: t for name, tensor in published.items() for n, t in rename(name, tensor).items()}
    back = dict(published_weights(ours, TINY))
    assert back.keys() == published.keys()
    assert all(torch.equal(back[name], published[name]) for name in published)


def test_the_fused_attention_weight_of_internlm2_becomes_the_weights_of_llama():
    """Rows as InternLM2 reads them: (key-value head, its query heads + key + value, width)."""
    language = INTERNLM2.language
    groups, width = language.heads // language.key_value_heads, language.width // language.heads
    rows = language.key_value_heads * (groups + 2) * width
    name = "language_model.model.layers.1.attention.wqkv.weight"
    fused, tokens = torch.randn(rows, language.width), torch.randn(5, language.width)
    ours = renamed(INTERNLM2)(name, fused)
    query, key, value = (tokens @ part.T for part in ours.values())
    states = (tokens @ fused.T).view(5, language.key_value_heads, groups + 2, width)
    assert torch.allclose(query, states[:, :, :groups].flatten(1), atol=1e-5)
    assert torch.allclose(key, states[:, :, -2].flatten(1), atol=1e-5)
    assert torch.allclose(value, states[:, :, -1].flatten(1), atol=1e-5)
    assert torch.equal(dict(published_weights(ours, INTERNLM2))[name], fused)


def test_a_fused_attention_weight_of_another_size_is_refused():
    with pytest.raises(CheckpointError, match="96 rows, which do not fit 4 heads"):
        renamed(INTERNLM2)(
            "language_model.model.layers.1.attention.wqkv.weight", torch.ones(96, 64)
        )
