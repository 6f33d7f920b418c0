"""Which GPU each of several processes works on."""

import pytest
import torch

from helpers.video_toys import ColorTracker
from segment_concept.checkpoints import load as loading
from segment_concept.evaluate.tracker_source import TrackerSource, device_in_turn
from segment_concept.recipes import find_recipe
from segment_concept.recipes.network_options import NetworkOptions
from segment_concept.types import InputError


@pytest.mark.parametrize(
    ("name", "gpus", "expected"),
    [
        ("auto", 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda", 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda:1", 2, ["cuda:1"] * 3),
        ("auto", 1, ["auto"] * 3),
        ("cpu", 2, ["cpu"] * 3),
    ],
)
def test_processes_take_turns_among_gpus_where_none_is_named(monkeypatch, name, gpus, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert [device_in_turn(name, worker_index) for worker_index in range(3)] == expected


def tracker() -> ColorTracker:
    return ColorTracker()


def recipe():
    return find_recipe("sam2_tiny")


@pytest.mark.parametrize("name", ["sam2_tiny", f"{__name__}:recipe"])
def test_a_worker_loads_with_the_number_type_and_size_of_the_run(monkeypatch, name):
    loaded = []
    monkeypatch.setattr(loading, "load", lambda recipe, **how: loaded.append(recipe))
    source = TrackerSource(name, "cpu", NetworkOptions("float16", 512))
    source.load(0)
    assert [(r.dtype, r.image_side) for r in loaded] == [("float16", 512)]


def test_a_tracker_that_is_already_loaded_takes_no_number_type():
    source = TrackerSource(f"{__name__}:tracker", "cpu", NetworkOptions("float16"))
    with pytest.raises(InputError, match="is already loaded: leave --dtype, --size"):
        source.resolve()
