"""Enlarged logits whose contours follow the edges of the picture."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segment_concept.ops.guided import guided_upsample

INSIDE, OUTSIDE = (180, 60, 40), (40, 90, 120)


def disk(size, radius, center=None):
    h, w = size
    y, x = np.mgrid[:h, :w] + 0.5
    at = center or (h / 2 + 0.3 * radius, w / 2 - 0.2 * radius)
    return (y - at[0]) ** 2 + (x - at[1]) ** 2 < radius**2


def painted(mask, noise=6):
    """The mask in one color on another, with some noise."""
    rgb = np.where(mask[..., None], INSIDE, OUTSIDE)
    rgb = rgb + np.random.default_rng(0).normal(0, noise, rgb.shape)
    return rgb.clip(0, 255).astype(np.uint8)


def logits_of(mask, size):
    """What a network would say of cells that a mask covers partly, a bit too large."""
    share = F.adaptive_avg_pool2d(torch.from_numpy(mask).float()[None], size)
    return (share.clamp(0.003, 0.997).logit() + 1.0)[0]


def wrong(logits, mask):
    return int(((logits > 0).numpy() != mask).sum())


def bilinear(small, size):
    return F.interpolate(small[:, None], size, mode="bilinear")[:, 0]


@pytest.mark.parametrize("size", [(120, 200), (480, 800), (123, 211)])
def test_contours_move_to_the_edges_of_the_picture(size):
    mask = disk(size, 0.3 * size[0])
    small = logits_of(mask, (30, 50))[None]
    guided = guided_upsample(small, painted(mask))
    assert guided.shape == (1, *size)
    assert wrong(guided[0], mask) < 0.5 * wrong(bilinear(small, size)[0], mask)


def test_a_contour_stays_where_the_picture_has_no_edge():
    mask = np.zeros((120, 200), np.bool_)
    mask[:, :99] = True
    small = logits_of(mask, (30, 50))[None] - 1.0
    guided = guided_upsample(small, np.full((120, 200, 3), 127, np.uint8))
    assert wrong(guided[0], mask) <= 120  # a column


def test_logits_far_from_a_contour_are_only_resized():
    mask = disk((120, 200), 20, center=(30, 40))
    small = logits_of(mask, (30, 50))[None]
    guided, plain = guided_upsample(small, painted(mask)), bilinear(small, (120, 200))
    same = guided.isclose(plain, atol=1e-4)
    assert same[:, 80:].all()
    assert same[:, :, 100:].all()
    assert not same.all()


@pytest.mark.parametrize("value", [-7.0, 7.0])
def test_a_mask_without_contour_is_only_resized(value):
    small = torch.full((1, 30, 50), value)
    picture = painted(disk((120, 200), 40))
    assert guided_upsample(small, picture).allclose(bilinear(small, (120, 200)), atol=1e-4)


def test_every_object_has_contours_of_its_own():
    left, right = disk((120, 200), 25, (50, 50)), disk((120, 200), 25, (60, 150))
    small = torch.stack([logits_of(mask, (30, 50)) for mask in (left, right)])
    picture = painted(left | right)
    together = guided_upsample(small, picture)
    alone = torch.cat([guided_upsample(small[[row]], picture) for row in (0, 1)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_an_object_at_the_border_of_the_picture_is_followed():
    mask = disk((120, 200), 40, center=(0, 200))
    small = logits_of(mask, (30, 50))[None]
    guided = guided_upsample(small, painted(mask))
    assert wrong(guided[0], mask) < 0.5 * wrong(bilinear(small, (120, 200))[0], mask)
