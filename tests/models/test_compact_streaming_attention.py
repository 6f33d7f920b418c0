"""Attention frame by frame is attention to all frames at once."""

from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F

from segment_concept.models.compact import onednn
from segment_concept.models.compact.streaming_attention import (
    NO_KEY,
    KeyGroups,
    attend,
    merge_softmax,
)


@pytest.mark.parametrize("inference", [True, False])
def test_answers_of_frames_merge_to_one_softmax_over_all_of_them(inference):
    torch.manual_seed(0)
    q, keys, values = torch.randn(7, 8), torch.randn(3, 5, 8), torch.randn(3, 2, 5, 6)
    bias = torch.randn(3)
    with torch.inference_mode(inference):
        answers = [attend(q, k, v) for k, v in zip(keys, values, strict=True)]
        for o in range(2):
            weights = [a.weight + b for a, b in zip(answers, bias, strict=True)]
            found, shares = merge_softmax([a.values[o] for a in answers], weights)
            logits = q @ keys.flatten(0, 1).T + bias.repeat_interleave(5)
            expected = logits.softmax(-1)
            torch.testing.assert_close(found, expected @ values[:, o].flatten(0, 1))
            torch.testing.assert_close(shares, expected.unflatten(1, (3, 5)).sum(-1))
        best = (q @ keys.flatten(0, 1).T).unflatten(1, (3, 5)).amax(-1)
        torch.testing.assert_close(torch.cat([a.best for a in answers], dim=1), best)


def test_gradients_are_those_of_one_softmax():
    torch.manual_seed(0)
    given = [torch.randn(*shape, requires_grad=True) for shape in ((4, 8), (2, 5, 8), (2, 1, 5, 3))]
    q, keys, values = given
    answers = [attend(q, k, v) for k, v in zip(keys, values, strict=True)]
    found = merge_softmax([a.values[0] for a in answers], [a.weight for a in answers])[0]
    whole = (q @ keys.flatten(0, 1).T).softmax(-1) @ values[:, 0].flatten(0, 1)
    each = [torch.autograd.grad(x.square().sum(), given) for x in (found, whole)]
    for a, b in zip(*each, strict=True):
        torch.testing.assert_close(a, b)


def test_a_bias_hides_a_key():
    q, keys, values = torch.randn(3, 8), torch.randn(2, 8), torch.randn(1, 2, 4)
    answer = attend(q, keys, values, torch.tensor([0.0, -1e4]))
    torch.testing.assert_close(answer.values[0], values[0, :1].expand(3, -1))


@torch.inference_mode()
def test_attention_over_a_large_frame_runs_in_blocks():
    torch.manual_seed(0)
    q, keys, values = torch.randn(7, 8), torch.randn(11, 8), torch.randn(2, 11, 4)
    whole = attend(q, keys, values)
    with patch.object(onednn, "_LARGEST", 100):
        parts = attend(q, keys, values)
        assert len(onednn.in_blocks(q, 11)) == 4 or not onednn.usable(q)
    for a, b in ((whole.values, parts.values), (whole.weight, parts.weight)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.8, 1.0])
@torch.no_grad()
def test_the_best_match_is_found_inside_each_object_and_outside(share):
    torch.manual_seed(0)
    q, keys = (F.normalize(torch.randn(n, 6), dim=-1) for n in (30, 40))
    inside, values = torch.rand(3, 40) < share, torch.randn(3, 40, 4)
    groups = KeyGroups.of(inside)
    found = attend(q, keys[groups.order], values[:, groups.order], sizes=groups.sizes)
    plain = attend(q, keys, values)
    torch.testing.assert_close(found.values, plain.values)
    torch.testing.assert_close(found.weight, plain.weight)
    for o, own in enumerate(inside):
        for column, part in enumerate((own, ~own)):
            expected = (q @ keys.T).masked_fill(~part, NO_KEY).amax(1)
            torch.testing.assert_close(groups.best(found.best, o)[:, column], expected)


def test_keys_of_the_same_objects_are_one_group():
    inside = torch.tensor([[0, 1, 0, 1, 0], [0, 1, 1, 1, 0]], dtype=torch.bool)
    groups = KeyGroups.of(inside)
    assert sorted(groups.order.tolist()) == [0, 1, 2, 3, 4]
    first = 0
    for size, members in zip(groups.sizes, groups.members.T, strict=True):
        keys = groups.order[first : first + size]
        assert (inside[:, keys] == members[:, None]).all()
        first += size
    assert sorted(groups.sizes) == [1, 2, 2]
