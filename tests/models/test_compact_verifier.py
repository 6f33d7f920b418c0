"""The verifier: mean features under masks are compared, and weighed with memory's presence."""

import pytest
import torch

from segment_concept.models.compact.verifier import Verifier, VerifierInput, masked_mean

CHANNELS, GRID = 12, (4, 6)


def given(mask: torch.Tensor, prototype: torch.Tensor, memory: float = 0.0) -> VerifierInput:
    """One mask on the scene; `memory` is the presence logit."""
    return VerifierInput(scene()[None], GRID, mask[None], prototype[None], torch.tensor([memory]))


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


def test_untrained_it_is_the_presence_of_memory_within_limits():
    net = Verifier(CHANNELS)
    left, _ = halves()
    for memory, expected in ((0.7, 0.7), (20.0, 6.0), (-20.0, -6.0)):
        features = net.features(given(left, torch.randn(CHANNELS), memory))
        torch.testing.assert_close(net(features), torch.tensor([expected]))


def test_a_proposal_on_the_object_is_likelier_than_one_on_something_else():
    net = Verifier(CHANNELS)
    left, right = halves()
    prototype = net.prototype(masked_mean(scene()[None], GRID, (left > 0).float()[None]))
    similarity = [net.features(given(mask, prototype))[0, 1] for mask in (left, right)]
    assert similarity[0] > 0.95
    assert similarity[1] < 0.7


def test_an_empty_proposal_is_like_nothing():
    net = Verifier(CHANNELS)
    net.measure(torch.randn(50, CHANNELS) + 3)
    features = net.features(given(torch.full((16, 24), -5.0), torch.randn(CHANNELS)))
    assert features[0, 1] == 0


def test_keyframes_count_the_same_whatever_their_order():
    net = Verifier(CHANNELS)
    torch.manual_seed(1)
    keyframes = torch.randn(3, CHANNELS)
    torch.testing.assert_close(net.prototype(keyframes), net.prototype(keyframes.flip(0)))
    assert net.prototype(keyframes).norm() == pytest.approx(1)


def test_whitening_makes_what_all_places_share_count_less():
    torch.manual_seed(2)
    shared = torch.randn(CHANNELS)
    places = torch.randn(500, CHANNELS) + 8 * shared * torch.rand(500, 1)
    net = Verifier(CHANNELS)
    one, two = places[0], places[1]
    before = torch.cosine_similarity(net.prototype(one[None]), two, dim=0)
    net.measure(places)
    after = net.prototype(one[None]) @ net.prototype(two[None])
    assert after.abs() < before.abs()
    variances = ((places - net.centre) @ net.whiten).var(0)
    assert variances.max() < 0.25 * places.var(0).max()
