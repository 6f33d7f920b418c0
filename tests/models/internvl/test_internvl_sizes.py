import pytest
import torch

from helpers.fixtures import facts
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.sizes import (
    INTERNVL2_5_4B,
    SIZES,
    TINY,
    size_from_config,
    size_named,
)
from segment_concept.types import CheckpointError, InputError


@pytest.fixture
def config():
    return facts("parity/sec_tiny_config")["sec_config"]


def test_the_4b_network_has_as_many_parameters_as_internvl2_5_4b():
    with torch.device("meta"):
        network = ConceptNetwork(INTERNVL2_5_4B)
    language_model_head = 151674 * 2048
    counted = sum(p.numel() for p in network.backbone.parameters()) + language_model_head
    assert counted == 3_712_637_952  # of OpenGVLab/InternVL2_5-4B


@pytest.mark.parametrize("name", ["internvl2.5-1b", "InternVL2_5-4B"])
def test_a_size_is_found_by_its_name_whatever_its_case(name):
    assert size_named(name) in SIZES.values()


@pytest.mark.parametrize("name", ["internvl2.5-2b", "InternVL2_5-8B"])
def test_the_internlm2_sizes_are_refused_with_the_reason(name):
    with pytest.raises(InputError, match=r"internlm2_5.*transformers does not have"):
        size_named(name)


def test_an_unknown_size_is_refused_with_the_names():
    with pytest.raises(InputError, match=r"there are internvl2\.5-1b, internvl2\.5-4b$"):
        size_named("internvl9")


def test_a_published_config_is_read(config):
    size = size_from_config(config, concept_width=128)
    assert size == TINY


def test_an_older_config_with_plain_rope_theta_is_read(config):
    llm = {k: v for k, v in config["llm_config"].items() if k != "rope_parameters"}
    llm |= {"rope_theta": 5e5, "rope_scaling": {"type": "dynamic", "factor": 2.0}}
    assert size_from_config(config | {"llm_config": llm}).language.rope_theta == 5e5


def test_a_config_built_on_internlm2_is_refused(config):
    llm = config["llm_config"] | {"architectures": ["InternLM2ForCausalLM"], "model_type": None}
    with pytest.raises(CheckpointError, match="InternLM2"):
        size_from_config(config | {"llm_config": llm})


def test_a_config_without_a_language_model_is_refused(config):
    del config["llm_config"]
    with pytest.raises(CheckpointError, match="no 'llm_config'"):
        size_from_config(config)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("vision_config", {"norm_type": "rms_norm"}),
        ("vision_config", {"qk_normalization": True}),
        ("llm_config", {"use_sliding_window": True}),
        ("llm_config", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}}),
    ],
)
def test_a_network_of_another_kind_is_refused_by_name(config, part, change):
    with pytest.raises(CheckpointError, match=part):
        size_from_config(config | {part: config[part] | change})
