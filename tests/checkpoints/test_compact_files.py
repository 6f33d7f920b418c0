import pytest
import torch
from safetensors import safe_open
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


def test_saved_weights_are_loaded_in_half_precision(saved):
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
    with safe_open(saved[0], "pt") as file:
        metadata = file.metadata()
    odd = tmp_path / "odd.safetensors"
    save_file(weights, odd, metadata)
    with pytest.raises(CheckpointError, match=r"1 unknown: surplus; 1 missing: trunk\.stem\.bias"):
        load_compact(odd)


def test_a_file_from_before_the_classifiers_is_read_as_if_they_said_nothing(saved, tmp_path):
    later = {n: t for n, t in load_file(saved[0]).items() if "score" in n}
    assert later, "no weight reads scores"
    with safe_open(saved[0], "pt") as file:
        metadata = file.metadata()
    earlier = {n: t for n, t in load_file(saved[0]).items() if n not in later}
    save_file(earlier, tmp_path / "earlier.safetensors", metadata)
    loaded = load_compact(tmp_path / "earlier.safetensors").state_dict()
    assert not any(loaded[name].any() for name in later)


def written(saved, path, metadata=None, **weights):
    """The saved model with another header, or with other weights."""
    with safe_open(saved[0], "pt") as file:
        header = {**file.metadata(), **(metadata or {})}
    header = {name: text for name, text in header.items() if text is not None}
    save_file({**load_file(saved[0]), **weights}, path, header)
    return path


@pytest.mark.parametrize(
    "metadata",
    [
        {"widths": None},
        {"mask_bias": "NaN"},
        {"mask_bias": "true"},
        {"mask_bias": "["},
        {"widths": "{"},
        {"widths": "[]"},
        {"widths": "[" * 100_000},
        {"widths": '{"tokens": 0}'},
        {"widths": '{"tokens": "many"}'},
        {"widths": '{"evil": 3}'},
        {"widths": '{"tokens": 1e999}'},
    ],
)
def test_a_header_without_usable_widths_is_refused(saved, tmp_path, metadata):
    path = written(saved, tmp_path / "odd.safetensors", metadata)
    with pytest.raises(CheckpointError, match=r"odd\.safetensors"):
        load_compact(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(saved, tmp_path, value):
    bias = torch.full_like(load_file(saved[0])["trunk.stem.bias"], value)
    path = written(saved, tmp_path / "odd.safetensors", **{"trunk.stem.bias": bias})
    with pytest.raises(CheckpointError, match=r"trunk\.stem\.bias .* not finite"):
        load_compact(path)


def test_weights_of_another_shape_are_refused_by_name(saved, tmp_path):
    path = written(saved, tmp_path / "odd.safetensors", **{"trunk.stem.bias": torch.zeros(3)})
    with pytest.raises(CheckpointError, match=r"trunk\.stem\.bias has shape \(3,\)"):
        load_compact(path)


def test_weights_of_sam_2_are_answered_with_the_recipe_to_take(tmp_path):
    torch.save({"model": {"x": torch.zeros(1)}}, tmp_path / "sam2.1_hiera_large.pt")
    with pytest.raises(CheckpointError, match=r"use the recipe of its network.*sam2_large"):
        load_compact(tmp_path / "sam2.1_hiera_large.pt")
