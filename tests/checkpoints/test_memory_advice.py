"""What would fit on a device that ran out of memory."""

import pytest
import torch

from helpers.edgetam_reference import weights_file
from segment_concept.checkpoints import load as loading
from segment_concept.checkpoints import memory_advice as advising
from segment_concept.checkpoints.load import load
from segment_concept.checkpoints.memory_advice import memory_advice
from segment_concept.checkpoints.recipe_memory import estimated_needs, smaller_recipes
from segment_concept.recipes import find_recipe
from segment_concept.recipes.network_options import NetworkOptions
from segment_concept.types import DeviceMemoryError

GIB = 1 << 30
GPU = torch.device("cuda:0")


@pytest.fixture
def room(monkeypatch):
    """Let a device have so many bytes."""

    def have(number: float) -> None:
        monkeypatch.setattr(advising, "_room", lambda device: int(number))

    return have


def test_settings_that_fit_are_named_the_mildest_first(room):
    room(6 * GIB)
    said = memory_advice(find_recipe("sec_4b"), "cuda:0")
    assert "estimated to fit: four_bit=True (" in said
    assert "keyframes=3" not in said  # the weights alone have 7 GiB
    assert "unload() other trackers" in said


def test_a_smaller_number_type_comes_before_a_smaller_picture(room):
    room(GIB)
    recipe = NetworkOptions(dtype="float32").apply(find_recipe("sam2_large"))
    said = memory_advice(recipe, "cuda:0")
    assert said.index("dtype='bfloat16' (") < said.index("dtype='bfloat16', size=768 (")


def test_where_nothing_fits_other_ways_are_named(room):
    room(1000)
    said = memory_advice(find_recipe("sam2_tiny"), "cuda:0")
    assert said.startswith("No smaller setting is estimated to fit. Track fewer objects")


def test_weights_of_ones_own_are_advised_without_numbers():
    recipe = find_recipe("edgetam")
    said = memory_advice(NetworkOptions(size=768).apply(recipe), "cuda:0")
    assert "size=512 (" in said
    own = memory_advice(type(recipe)(name="x", network="edgetam", weights="mine.pt"), "cuda:0")
    assert own.startswith("These settings need less: size=768; size=512; size=256.")


def test_the_compact_model_has_no_smaller_setting():
    assert memory_advice(find_recipe("sec_compact"), "cuda:0").endswith("or use --device cpu")


@pytest.mark.parametrize("name", ["sam2_large", "edgetam", "sec_4b"])
def test_every_smaller_setting_is_estimated_to_need_less(name):
    recipe = NetworkOptions(dtype="float32").apply(find_recipe(name))
    full = estimated_needs(recipe, GPU)[0].bytes
    smaller = smaller_recipes(recipe, GPU)
    assert smaller[0][0] == "dtype='bfloat16'"
    assert all(estimated_needs(one, GPU)[0].bytes < full for _, one in smaller)


def test_a_device_that_is_full_while_loading_is_answered(monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loading, "_sam2", full)
    with pytest.raises(DeviceMemoryError, match="ran out of memory while recipe sam2_tiny was loa"):
        load("sam2_tiny", device="cpu")


def test_a_loaded_tracker_knows_what_would_fit():
    how = {"weights": str(weights_file()), "device": "cpu", "dtype": "bfloat16"}
    assert load("edgetam", size=256, **how).memory_advice().startswith("Track fewer objects")
    larger = load("edgetam", size=512, **how)
    assert larger.memory_advice().startswith("These settings need less: size=256")
