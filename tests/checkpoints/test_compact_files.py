import pytest
import torch
from safetensors.torch import load_file, save_file

from segment_concept.checkpoints.compact import load_compact, read_card, save_compact
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.types import CheckpointError


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    model = CompactSegmenter()
    save_compact(model, path, {"steps": 7})
    return path, model


def test_what_is_saved_comes_back_in_half_precision(saved):
    path, model = saved
    loaded = load_compact(path).state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded[name], value.half().float())


def test_the_card_travels_with_the_weights(saved):
    assert read_card(saved[0]) == {"steps": 7}


def test_the_mask_bias_travels_with_the_weights(tmp_path):
    save_compact(CompactSegmenter(mask_bias=0.75), tmp_path / "model.safetensors", {})
    assert load_compact(tmp_path / "model.safetensors").mask_bias == 0.75


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"there are no weights at .*none"):
        load_compact(tmp_path / "none.safetensors")


def test_a_truncated_file_is_refused(saved, tmp_path):
    half = tmp_path / "half.safetensors"
    half.write_bytes(saved[0].read_bytes()[:200_000])
    with pytest.raises(CheckpointError, match="fetch it again"):
        load_compact(half)


def test_weights_of_another_network_are_refused(tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, other)
    with pytest.raises(CheckpointError, match="does not hold a compact model"):
        load_compact(other)


def test_missing_and_unknown_names_are_listed(saved, tmp_path):
    weights = load_file(saved[0])
    weights["surplus"] = weights.pop("trunk.stem.bias")
    from safetensors import safe_open

    with safe_open(saved[0], "pt") as file:
        metadata = file.metadata()
    odd = tmp_path / "odd.safetensors"
    save_file(weights, odd, metadata)
    with pytest.raises(CheckpointError, match=r"1 unknown: surplus; 1 missing: trunk\.stem\.bias"):
        load_compact(odd)
