"""Small regions beside a mask are lowered."""

import torch

from segment_concept.ops.holes import lower_islands


def plane(*boxes, size=(40, 60)):
    """Logits 5 in the boxes (y0, y1, x0, x1), -5 elsewhere."""
    logits = torch.full(size, -5.0)
    for y0, y1, x0, x1 in boxes:
        logits[y0:y1, x0:x1] = 5.0
    return logits


LARGE, HALF, SPECK = (0, 20, 0, 20), (0, 20, 30, 40), (30, 32, 50, 52)


def test_a_speck_is_lowered_and_a_second_part_stays():
    lowered = lower_islands(plane(LARGE, HALF, SPECK), 0.03, -1.0)
    assert (lowered > 0).equal(plane(LARGE, HALF) > 0)
    assert (lowered[30:32, 50:52] == -1).all()
    outside = plane(LARGE, HALF, SPECK) < 0
    assert (lowered[outside] == -5).all()


def test_what_touches_a_region_by_a_corner_belongs_to_it():
    logits = plane(LARGE, (20, 21, 20, 21))
    assert lower_islands(logits, 0.03, -1.0).equal(logits)


def test_the_largest_region_stays_however_many_there_are():
    many = [(y, y + 1, x, x + 1) for y in range(0, 40, 3) for x in range(0, 60, 3)]
    lowered = lower_islands(plane(*many, (0, 2, 0, 1)), 0.03, -1.0)
    assert int((lowered > 0).sum()) == 2


def test_masks_are_judged_one_by_one():
    pair = torch.stack([plane(SPECK), plane(LARGE, SPECK)])[None]
    lowered = lower_islands(pair, 0.03, -1.0)
    assert lowered[0, 0].equal(plane(SPECK))
    assert (lowered[0, 1] > 0).equal(plane(LARGE) > 0)


def test_an_empty_mask_stays_as_it_is():
    assert lower_islands(plane(), 0.03, -1.0).equal(plane())


def test_a_second_part_is_lowered_if_it_looks_like_background():
    pair = torch.stack([plane(LARGE, HALF), plane(HALF)])
    scores = -plane(HALF)[None]
    lowered = lower_islands(pair, 0.03, -1.0, scores)
    assert (lowered[0] > 0).equal(plane(LARGE) > 0)
    assert lowered[1].equal(pair[1]), "the largest region stays whatever it looks like"
    assert lower_islands(pair, 0.03, -1.0, -scores).equal(pair)
