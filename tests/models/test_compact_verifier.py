"""The verifier: mean features under masks are compared, four features are weighed."""

import pytest
import torch

from segment_concept.models.compact.verifier import (
    KeyframeDescriptor,
    Verifier,
    VerifierInput,
    describe_keyframe,
    masked_mean,
)

CHANNELS, GRID = 12, (4, 6)


def given(mask: torch.Tensor, prototype: torch.Tensor, *judged: float) -> VerifierInput:
    """One mask on the scene; judged by memory, concept (presence logits) and predicted IoU."""
    memory, concept, iou = (torch.tensor([value]) for value in judged or (0.0, 0.0, 0.0))
    return VerifierInput(scene()[None], GRID, mask[None], prototype[None], memory, concept, iou)


def halves(shape=(16, 24)) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of masks of the left and of the right half."""
    left = torch.full(shape, -9.0)
    left[:, : shape[1] // 2] = 9.0
    return left, -left


def scene() -> torch.Tensor:
    """(L, CHANNELS): one thing on the left half, another on the right."""
    torch.manual_seed(0)
    things = torch.randn(2, CHANNELS)
    where = torch.arange(24).reshape(GRID) % 6 // 3
    return things[where.flatten()] + 0.05 * torch.randn(24, CHANNELS)


def test_under_a_mask_the_mean_feature_is_taken_and_nothing_under_none():
    raw = scene()[None]
    left = torch.zeros(1, 16, 24)
    left[..., :12] = 1
    torch.testing.assert_close(
        masked_mean(raw, GRID, left),
        raw.reshape(1, 4, 6, CHANNELS)[:, :, :3].mean((1, 2)),
        rtol=1e-3,
        atol=0,
    )
    assert not masked_mean(raw, GRID, left * 0).any()


def test_a_keyframe_has_the_pixels_inside_and_outside_its_mask():
    raw = scene()
    left = torch.zeros(16, 24)
    left[:, :12] = 1
    keyframe = describe_keyframe(raw, GRID, left)
    other = describe_keyframe(raw, GRID, 1 - left)
    torch.testing.assert_close(keyframe.inside, other.outside)
    torch.testing.assert_close(keyframe.outside, other.inside)


def test_untrained_it_is_the_sum_of_what_memory_and_the_concept_say():
    net = Verifier(CHANNELS)
    left, _ = halves()
    features = net.features(given(left, torch.randn(CHANNELS), 0.7, -2.0, 0.9))
    torch.testing.assert_close(net(features), torch.tensor([0.7 - 2.0]))


def test_a_proposal_on_the_object_is_likelier_than_one_on_something_else():
    net = Verifier(CHANNELS)
    left, right = halves()
    prototype = net.prototype([describe_keyframe(scene(), GRID, (left > 0).float())])
    similarity = [net.features(given(mask, prototype))[0, 3] for mask in (left, right)]
    assert similarity[0] > 0.95
    assert similarity[1] < 0.7


def test_an_empty_proposal_is_like_nothing():
    net = Verifier(CHANNELS)
    net.measure(torch.randn(50, CHANNELS) + 3)
    features = net.features(given(torch.full((16, 24), -5.0), torch.randn(CHANNELS)))
    assert features[0, 3] == 0


def test_keyframes_count_the_same_whatever_their_order():
    net = Verifier(CHANNELS)
    torch.manual_seed(1)
    keyframes = [KeyframeDescriptor(torch.randn(CHANNELS), torch.randn(CHANNELS)) for _ in range(3)]
    torch.testing.assert_close(net.prototype(keyframes), net.prototype(keyframes[::-1]))
    assert net.prototype(keyframes).norm() == pytest.approx(1)


def test_whitening_makes_what_all_places_share_count_less():
    torch.manual_seed(2)
    shared = torch.randn(CHANNELS)
    places = torch.randn(500, CHANNELS) + 8 * shared * torch.rand(500, 1)
    net = Verifier(CHANNELS)
    one, two = places[0], places[1]
    before = torch.cosine_similarity(net.prototype([KeyframeDescriptor(one, one)]), two, dim=0)
    net.measure(places)
    after = net.prototype([KeyframeDescriptor(one, one)]) @ net.prototype(
        [KeyframeDescriptor(two, two)]
    )
    assert after.abs() < before.abs()
    variances = ((places - net.centre) @ net.whiten).var(0)
    assert variances.max() < 0.25 * places.var(0).max()
