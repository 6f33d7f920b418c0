"""Graphs of calls whose shapes recur; capturing is pretended, so that no GPU is needed."""

from copy import deepcopy

import pytest
import torch

from segment_concept.models.sam2.captured import CALLS_BEFORE, CapturedCalls


class Recorder:
    """Captures by remembering what to run; a replay overwrites the results, as a graph does."""

    def __init__(self):
        self.captured = 0
        self.replayed = 0

    def __call__(self, run):
        self.captured += 1
        results = run()

        def replay():
            self.replayed += 1
            for old, new in zip(results, run(), strict=True):
                old.copy_(new)

        return replay, results


@pytest.fixture
def recorder():
    return Recorder()


def scaled_and_shifted(a, b, *, by=1):
    return a * by, a + b


def calls(recorder, function=scaled_and_shifted, state=lambda: 0, **options):
    return CapturedCalls(function, state, recorder, device_type="cpu", **options)


def pair(*shape, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=random), torch.randn(shape, generator=random)


@torch.inference_mode()
def test_results_are_those_of_the_function_before_and_after_capture(recorder):
    captured = calls(recorder)
    for seed in range(CALLS_BEFORE + 3):
        inputs = pair(2, 3, seed=seed)
        for found, expected in zip(
            captured(*inputs, by=2), scaled_and_shifted(*inputs, by=2), strict=True
        ):
            assert torch.equal(found, expected)
    assert recorder.captured == 1
    assert recorder.replayed == 3


@torch.inference_mode()
def test_results_stay_when_the_next_call_replays_the_graph(recorder):
    captured = calls(recorder)
    inputs = [pair(4, seed=seed) for seed in range(CALLS_BEFORE + 2)]
    found = [captured(*each) for each in inputs]
    for each, (scaled, shifted) in zip(inputs, found, strict=True):
        assert torch.equal(scaled, each[0])
        assert torch.equal(shifted, each[0] + each[1])


@torch.inference_mode()
def test_shapes_that_do_not_recur_are_not_captured(recorder):
    captured = calls(recorder)
    for length in range(1, 10):
        captured(*pair(length))
    assert recorder.captured == 0


@torch.inference_mode()
def test_every_shape_and_every_constant_has_its_own_graph(recorder):
    captured = calls(recorder)
    for _ in range(CALLS_BEFORE + 1):
        for shape in (2, 5):
            for by in (1, 3):
                inputs = pair(shape)
                assert torch.equal(captured(*inputs, by=by)[0], inputs[0] * by)
    assert recorder.captured == 4


@torch.inference_mode()
def test_the_graph_used_longest_ago_is_dropped_first(recorder):
    captured = calls(recorder, most=1)
    for shape in (2, 5, 2):
        for _ in range(CALLS_BEFORE + 1):
            captured(*pair(shape))
    assert recorder.captured == 3


@torch.inference_mode()
def test_new_weights_need_new_graphs(recorder):
    weight = [1]
    captured = calls(recorder, lambda a: (a * weight[0],), state=lambda: weight[0])
    for value in (1, 2):
        weight[0] = value
        for _ in range(CALLS_BEFORE + 2):
            assert captured(torch.ones(2))[0].tolist() == [value, value]
    assert recorder.captured == 2


def test_with_gradients_nothing_is_captured(recorder):
    captured = calls(recorder)
    a, b = pair(3)
    a.requires_grad_()
    for _ in range(CALLS_BEFORE + 2):
        captured(a, b)[1].sum().backward()
    assert recorder.captured == 0
    assert a.grad is not None


@torch.inference_mode()
def test_a_copy_captures_its_own_graphs(recorder):
    captured = calls(recorder)
    for _ in range(CALLS_BEFORE + 1):
        captured(*pair(3))
    copy = deepcopy(captured)
    copy(*pair(3))
    assert recorder.captured == 1


@torch.inference_mode()
def test_tensors_of_other_devices_go_to_the_function(recorder):
    captured = CapturedCalls(scaled_and_shifted, lambda: 0, recorder, device_type="cuda")
    for _ in range(CALLS_BEFORE + 2):
        captured(*pair(3))
    assert recorder.captured == 0
