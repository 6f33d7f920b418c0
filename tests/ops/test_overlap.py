"""Regions of a mask that touch nothing of another one."""

import numpy as np

from segment_concept.ops.overlap import share_apart

BOTH = np.zeros((20, 20), np.bool_)
BOTH[2:8, 2:8] = True  # 36 pixels


def test_a_mask_that_has_only_grown_has_no_region_apart():
    grown = np.zeros_like(BOTH)
    grown[1:12, 1:12] = True
    assert share_apart(grown, BOTH) == share_apart(BOTH, grown) == 0


def test_the_largest_region_without_a_pixel_of_the_other_mask_counts():
    mask = BOTH.copy()
    mask[12:14, 12:14] = True  # 4 pixels
    mask[16:18, 2:8] = True  # 12 pixels
    assert share_apart(mask, BOTH) == 12 / 52
    assert share_apart(BOTH, mask) == 0


def test_without_any_pixel_of_the_other_mask_all_of_one_region_is_apart():
    assert share_apart(BOTH, np.zeros_like(BOTH)) == 1
    assert share_apart(np.zeros_like(BOTH), BOTH) == 0
