import pytest
import torch

from segment_concept.checkpoints.sec.internvl_keys import (
    belongs_to_concept,
    check_keys,
    convert,
    our_names,
    size_from_shapes,
)
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.sizes import INTERNVL2_5_1B, INTERNVL2_5_4B, TINY
from segment_concept.types import CheckpointError


def published_shapes(size, vocabulary):
    """Names and shapes that a published checkpoint of that size has, as far as sizes need them."""
    shapes = {
        "language_model.model.embed_tokens.weight": (vocabulary, size.language.width),
        "text_hidden_fcs.2.weight": (256, size.language.width),
        "vision_model.embeddings.class_embedding": (1, 1, size.vision.width),
        "grounding_encoder.anything": (1,),
    }
    for layer in range(size.language.layers):
        shapes[f"language_model.model.layers.{layer}.input_layernorm.weight"] = (1,)
    return shapes


def test_a_fused_query_key_value_becomes_three():
    fused = torch.arange(12.0).reshape(6, 2)
    ours = convert("vision_model.encoder.layers.3.attn.qkv.weight", fused)
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
        "language_model.output.weight",
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


@pytest.mark.parametrize("size", [INTERNVL2_5_1B, INTERNVL2_5_4B, TINY])
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


def test_every_parameter_of_the_network_has_a_published_name():
    with torch.device("meta"):
        parameters = {name for name, _ in ConceptNetwork(TINY).named_parameters()}
    published = [
        *(f"vision_model.embeddings.{part}" for part in ("class_embedding", "position_embedding")),
        *(f"vision_model.embeddings.patch_embedding.{end}" for end in ("weight", "bias")),
        *(f"mlp1.{i}.{end}" for i in (0, 1, 3) for end in ("weight", "bias")),
        *(f"text_hidden_fcs.{i}.{end}" for i in (0, 2) for end in ("weight", "bias")),
    ]
    covered = {name for p in published for name in our_names(p)}
    rest = {name.split(".")[1:3][0] + "." + name.split(".")[2] for name in parameters - covered}
    assert rest == {
        "vision_tower.encoder", "language_model.embed_tokens",
        "language_model.layers", "language_model.norm",
    }  # fmt: skip
