"""The linear classifier of an object's frozen features, and what is made of remembered ones."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.models.compact.backbone import CHANNELS
from segment_concept.models.compact.classifier import (
    CLASSIFIER,
    classifier_inputs,
    classify,
    fit_classifiers,
)
from segment_concept.models.compact.memory_attention import NEWEST, OLDER, PROMPTED, Pointers
from segment_concept.models.compact.network import CompactNetwork

H, W = 8, 12  # tokens


def _levels(seed: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    sizes = [(4 * H, 4 * W), (2 * H, 2 * W), (H, W), (H // 2, W // 2)]
    pairs = zip(CHANNELS, sizes, strict=True)
    return [torch.randn(1, channels, *size, generator=random) for channels, size in pairs]


def _frame(seed: int, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Features at strides 8 and 16, and a mask on which a channel of each is higher."""
    levels = _levels(seed)
    random = torch.Generator().manual_seed(seed)
    coarse = (torch.rand(1, 1, H, W, generator=random) < share).float()
    mask = F.interpolate(coarse, scale_factor=2, mode="nearest")
    levels[1][:, :1] += 20 * mask - 10
    levels[2][:, :1] += 20 * coarse - 10
    f4, f8, f16, f32 = levels
    large = F.interpolate(f32, size=(H, W), mode="bilinear")
    return *classifier_inputs(f4, f8, torch.cat([f16, large], dim=1)), mask


def _is_right(scores: Tensor, mask: Tensor) -> float:
    """The smaller of the shares of object and of background on the right side of 0."""
    on = mask > 0
    return min((scores[on] > 0).float().mean().item(), (scores[~on] < 0).float().mean().item())


@pytest.mark.parametrize("share", [0.04, 0.3])
def test_what_differed_on_one_frame_tells_a_large_or_small_object_apart_on_another(share):
    fine, coarse, mask = _frame(1, share)
    fitted = fit_classifiers(fine, coarse, mask)
    assert fitted.shape == (1, 1, CLASSIFIER)
    fine, coarse, mask = _frame(2, 0.3)
    assert _is_right(classify(fine, coarse, fitted), mask) > 0.9


def test_few_steps_come_close_to_the_exact_ridge_regression():
    fine, coarse, mask = _frame(3, 0.3)
    large = F.interpolate(coarse, scale_factor=2, mode="bilinear")
    x = torch.cat([fine, large, torch.ones_like(mask)], dim=1)[0].flatten(1).T.double()
    share = mask.flatten().double()
    weight = (share / share.sum() + (1 - share) / (1 - share).sum()) / 2
    gram = (x * weight[:, None]).T @ x + 0.1 * torch.eye(CLASSIFIER)
    exact = x @ torch.linalg.solve(gram, (x * (weight * (2 * share - 1))[:, None]).sum(0))
    found = classify(fine, coarse, fit_classifiers(fine, coarse, mask)).flatten().double()
    assert (found - exact.clamp(-1, 1)).abs().mean() < 0.05


def test_masks_of_one_frame_get_what_each_gets_alone():
    fine, coarse, mask = _frame(4, 0.3)
    masks = torch.cat([mask, mask.roll(4, -1)], dim=1)
    both = classify(fine, coarse, fit_classifiers(fine, coarse, masks))
    for i in range(2):
        alone = fit_classifiers(fine, coarse, masks[:, i : i + 1])
        torch.testing.assert_close(
            both[:, i : i + 1], classify(fine, coarse, alone), rtol=0, atol=1e-3
        )


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_empty_mask_and_one_that_covers_everything_give_finite_scores(share):
    fine, coarse, mask = _frame(5, share)
    assert classify(fine, coarse, fit_classifiers(fine, coarse, mask)).isfinite().all()


@torch.no_grad()
def test_prompted_and_tracked_frames_in_which_the_object_was_seen_give_a_score_each():
    torch.manual_seed(0)
    network = CompactNetwork()
    features = network.neck(_levels(6))
    vectors = torch.randn(1, 3, network.widths.pointer) * 0.01

    def scores(ages: list[int], hidden: list[bool]) -> list[Tensor]:
        given = torch.tensor([ages]), torch.ones(1, 3), torch.tensor([hidden])
        return list(Pointers(vectors, *given).classify(features)[0])

    def by(*frames: int) -> Tensor:
        mean = vectors[:, list(frames), -CLASSIFIER:].mean(1, keepdim=True)
        return classify(features.fine, features.coarse, mean)[0, 0]

    cases = {
        (False, False, False): (by(0), by(1, 2)),
        (False, True, False): (by(0), by(2)),
        (False, True, True): (by(0), by(0)),
        (True, False, True): (by(1), by(1)),
    }
    for hidden, expected in cases.items():
        found = scores([PROMPTED, NEWEST, OLDER], list(hidden))
        torch.testing.assert_close(found, list(expected))
    assert not torch.stack(scores([PROMPTED, NEWEST, OLDER], [True] * 3)).any()
