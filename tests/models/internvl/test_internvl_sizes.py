from dataclasses import replace

import pytest
import torch

from helpers.fixtures import facts
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.sizes import (
    SIZES,
    TINY,
    size_from_config,
    size_named,
)
from segment_concept.types import CheckpointError, InputError


@pytest.fixture
def config():
    return facts("parity/sec_tiny_config")["sec_config"]


# Of OpenGVLab/InternVL2_5-*: safetensors' counts on the hub.
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("internvl2.5-1b", 938_193_024),
        ("internvl2.5-2b", 2_205_754_368),
        ("internvl2.5-4b", 3_712_637_952),
        ("internvl2.5-8b", 8_075_365_376),
    ],
)
def test_a_network_has_as_many_parameters_as_the_published_one(name, published):
    with torch.device("meta"):
        network = ConceptNetwork(SIZES[name], words=True)
    head = sum(p.numel() for p in network.head.parameters())
    assert sum(p.numel() for p in network.parameters()) - head == published


@pytest.mark.parametrize("name", ["internvl2.5-1b", "InternVL2_5-4B", "InternVL2_5-8B"])
def test_a_size_is_found_by_its_name_whatever_its_case(name):
    assert size_named(name) in SIZES.values()


def test_an_unknown_size_is_refused_with_the_names():
    with pytest.raises(InputError, match=r"there are internvl2\.5-1b, .*internvl2\.5-8b$"):
        size_named("internvl9")


def test_a_published_config_is_read(config):
    size = size_from_config(config, concept_width=128)
    assert size == TINY


def test_an_older_config_with_plain_rope_theta_is_read(config):
    llm = {k: v for k, v in config["llm_config"].items() if k != "rope_parameters"}
    llm |= {"rope_theta": 5e5, "rope_scaling": {"type": "dynamic", "factor": 2.0}}
    assert size_from_config(config | {"llm_config": llm}).language.rope_theta == 5e5


def test_a_config_built_on_internlm2_is_read(config):
    llm = config["llm_config"] | {
        "architectures": ["InternLM2ForCausalLM"],
        "model_type": "internlm2",
        "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e6, "factor": 2.0},
    }
    size = size_from_config(config | {"llm_config": llm}, concept_width=128)
    assert size == replace(TINY, language=replace(TINY.language, family="internlm2"))


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
