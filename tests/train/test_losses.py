"""The losses of SAM 2 and SeC against those of the official training code."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from helpers.fixtures import facts, fixture
from segment_concept.tracking.segmenter import NO_OBJECT_LOGIT
from segment_concept.train.losses import Losses, LossWeights, mask_losses, merge_figures


@pytest.fixture(scope="module")
def golden():
    return facts("training/losses"), load_file(fixture("training/losses.safetensors"))


def frame(tensors, t):
    """Losses of a frame, its inputs, and the silenced masks at the size of the truth."""
    inputs = {
        n: tensors[f"{n}_{t}"].clone().requires_grad_() for n in ("logits", "iou", "presence")
    }
    absent = inputs["presence"] <= 0
    silent = inputs["logits"].masked_fill(absent[..., None, None], NO_OBJECT_LOGIT)
    truth = tensors["targets"][t].float()
    large = F.interpolate(silent, truth.shape[-2:], mode="bilinear")
    presence = inputs["presence"][:, 0]
    return mask_losses(large, inputs["iou"], presence, truth, LossWeights()), inputs


def test_the_sum_of_predicted_frames_is_that_of_the_official_trainer(golden):
    expected, tensors = golden
    of_frames = [frame(tensors, t) for t in (0, 2)]
    objects = expected["num_objects"]
    losses = of_frames[0][0] + of_frames[1][0]
    counts = dict.fromkeys(losses.sums, float(objects))  # not the sum over the frames
    weights = {"focal": 20.0, "dice": 1.0, "iou_error": 1.0, "presence": 1.0}
    official = {"focal": "mask", "dice": "dice", "iou_error": "iou", "presence": "class"}
    for term, name in official.items():
        value = losses.sums[term].item() / objects / weights[term]
        assert value == pytest.approx(expected["stage1"][f"loss_{name}"], rel=1e-5)
    total = losses.total(counts)
    assert total.item() == pytest.approx(expected["stage1"]["core_loss"], rel=1e-5)
    total.backward()
    for t, (_, inputs) in zip((0, 2), of_frames, strict=True):
        for name, tensor in inputs.items():
            golden_gradient = tensors[f"grad_{name}_{t}"]
            found = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            scale = golden_gradient.norm().item()
            assert (found - golden_gradient).norm().item() <= 1e-5 * max(scale, 1e-6)


def test_the_terms_of_one_frame_are_those_of_the_second_stage(golden):
    expected, tensors = golden
    losses, _ = frame(tensors, 0)
    found = [(losses.sums[t] / losses.counts[t]).item() for t in losses.sums]
    assert found == pytest.approx(
        list(expected["stage2_frame_0_weighted_terms"].values()), rel=1e-5
    )


def test_a_visible_object_that_is_predicted_absent_pays_for_its_area_without_gradient():
    presence = torch.tensor([-1.0], requires_grad=True)
    logits = torch.zeros(1, 3, 8, 8, requires_grad=True)
    silent = logits.masked_fill(presence[:, None, None, None] <= 0, NO_OBJECT_LOGIT)
    truth = torch.zeros(1, 8, 8)
    truth[:, :2] = 1  # a quarter
    losses = mask_losses(silent, torch.zeros(1, 3), presence, truth, LossWeights())
    assert losses.sums["focal"].item() == pytest.approx(20 * 256 * 0.25)
    losses.total().backward()
    assert not logits.grad.any()
    assert presence.grad.abs().sum() > 0


def test_sums_of_parts_are_those_of_the_whole(golden):
    _, tensors = golden
    logits, iou, presence = (tensors[f"{n}_0"] for n in ("logits", "iou", "presence"))
    logits = F.interpolate(logits, (48, 48), mode="bilinear")
    truth = tensors["targets"][0].float()

    def of(rows: slice) -> Losses:
        return mask_losses(logits[rows], iou[rows], presence[rows, 0], truth[rows], LossWeights())

    whole, parts = of(slice(None)), of(slice(0, 1)) + of(slice(1, 4))
    assert parts.counts == whole.counts
    for term, value in whole.sums.items():
        torch.testing.assert_close(parts.sums[term], value)
    assert parts.measured["presence_right"] == whole.measured["presence_right"]


def test_figures_that_only_one_part_has_are_kept():
    first, second = {"a": (1.0, 2.0)}, {"a": (2.0, 1.0), "b": (4.0, 4.0)}
    assert merge_figures(first, second) == {"a": (3.0, 3.0), "b": (4.0, 4.0)}
