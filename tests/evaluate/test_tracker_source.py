"""Which GPU each of several processes works on."""

import pytest
import torch

from segment_concept.evaluate.tracker_source import device_in_turn


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
