"""Wrong masks for memories."""

import math

import numpy as np
import pytest
import torch

from segment_concept.train.corruption import Defect, defective, draw_defect


def disc() -> torch.Tensor:
    return torch.from_numpy((np.hypot(*np.mgrid[-30:30, -40:40]) < 15).astype(np.float32))


def shown(kind: str, angle: float = 0.0, amount: float = 0.4) -> torch.Tensor:
    return defective(disc(), Defect(kind, angle, amount), np.random.default_rng(0)) > 0


def test_a_cut_takes_the_share_that_it_says_from_one_side():
    kept = shown("cut", angle=0.0, amount=0.4)
    whole = disc() > 0.5
    assert not (kept & ~whole).any()
    assert kept.sum() / whole.sum() == pytest.approx(0.6, abs=0.05)
    columns = torch.nonzero(kept.any(0))
    assert columns.min() > torch.nonzero(whole.any(0)).min() + 5  # what is lost is on the left


def test_an_eroded_mask_lies_within_the_object():
    kept, whole = shown("eroded"), disc() > 0.5
    assert not (kept & ~whole).any()
    assert 0 < kept.sum() < 0.9 * whole.sum()


def test_padding_lies_at_the_requested_border():
    more, whole = shown("added", angle=math.pi / 2), disc() > 0.5
    assert (more & whole).sum() == whole.sum()
    rows = torch.nonzero((more & ~whole).any(1))
    assert rows.float().mean() > 35  # below the middle


def test_an_object_of_few_cells_or_none_is_left_as_it_is():
    few = torch.zeros(20, 20)
    few[3:5, 3:6] = 1
    left = defective(few, Defect("cut", 0.0, 0.6), np.random.default_rng(0))
    assert torch.equal(left > 0, few > 0.5)
    assert not (defective(0 * few, Defect("cut", 0.0, 0.6), np.random.default_rng(0)) > 0).any()


def test_defects_are_of_all_kinds():
    rng = np.random.default_rng(0)
    assert {draw_defect(rng).kind for _ in range(60)} == {"cut", "eroded", "added"}
