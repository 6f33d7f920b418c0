"""EdgeTAM's image encoder is timm's `repvit_m1`, number by number.

The expected features were computed by timm 1.0.31 with `helpers.named_weights`.
"""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from helpers.closeness import close
from helpers.fixtures import fixture
from helpers.named_weights import named_weights
from segment_concept.models.edgetam.network import EdgeTamNetwork
from segment_concept.models.edgetam.repvit import RepVit, fold


@pytest.fixture(scope="module")
def encoder() -> RepVit:
    network = RepVit().eval().requires_grad_(False)
    network.load_state_dict(named_weights(network.state_dict()))
    return network


def pixels() -> Tensor:
    noise = np.random.RandomState(0).standard_normal((1, 3, 32, 64))
    return torch.from_numpy(noise.astype(np.float32))


def same_as_timm(network: RepVit) -> None:
    expected = load_file(fixture("edgetam/repvit_m1.safetensors"))
    for i, level in enumerate(network(pixels())):
        close(level, expected[f"level{i}"], 1e-4)


def test_features_of_all_four_levels_are_those_of_timm(encoder):
    same_as_timm(encoder)


def test_merged_convolutions_give_the_same_features(encoder):
    merged = RepVit().eval()
    merged.load_state_dict(encoder.state_dict())
    fold(merged)
    same_as_timm(merged)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in merged.modules())


def test_the_whole_network_has_13_9_million_parameters():
    with torch.device("meta"):
        network = EdgeTamNetwork()
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 13.9
