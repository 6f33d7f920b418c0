"""Augmentations of stage 1 against torchvision's on PIL images, as the official trainer uses it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers.fixtures import facts, fixture
from segment_concept.train.augment import (
    Augmentation,
    AugmentationConfig,
    Jitter,
    JitterRange,
    inverse_affine,
)

NAMES = ("brightness", "contrast", "saturation")
STILL = Jitter(())
PLAIN = Augmentation(False, 0.0, 0.0, STILL, False, (STILL, STILL), (123, 116, 103))


@pytest.fixture(scope="module")
def golden():
    return facts("training/augmentations"), load_file(fixture("training/augmentations.safetensors"))


def jitter(entry) -> Jitter:
    return Jitter(tuple((NAMES[i], entry[NAMES[i]]) for i in entry["order"] if i < len(NAMES)))


def changed(golden) -> dict[str, Augmentation]:
    """What was done to the fixture, by the name of the result."""
    expected, _ = golden
    angle, _, _, (shear, _) = expected["affine"]
    affine = replace(PLAIN, angle=angle, shear=shear)
    alike = replace(affine, jitter=jitter(expected["jitter_consistent"]))
    own = tuple(jitter(entry) for entry in expected["jitter_per_frame"])
    return {
        "resize": PLAIN,
        "affine_resize": affine,
        "jitter": alike,
        "jitter_grey": replace(alike, gray=True),
        "jitter_twice": replace(alike, frame_jitters=own),
    }


@pytest.mark.parametrize(
    "name", ["resize", "affine_resize", "jitter", "jitter_grey", "jitter_twice"]
)
def test_every_change_is_that_of_the_official_trainer(golden, name):
    _, tensors = golden
    frames = [frame.numpy() for frame in tensors["frames_THWC"]]
    masks = [[mask.numpy() > 0] for mask in tensors["masks_THW"]]
    pixels, squares = changed(golden)[name].apply(frames, masks, 128)
    expected = tensors[f"{name}_image"].permute(0, 3, 1, 2)
    assert (pixels.int() - expected.int()).abs().max() <= 1  # 0 with Pillow 12.3
    assert torch.equal(squares[:, 0], tensors[f"{name}_mask"] > 0)


def test_a_flip_mirrors_frames_and_masks(golden):
    _, tensors = golden
    frames = [frame.numpy() for frame in tensors["frames_THWC"]]
    masks = [[mask.numpy() > 0] for mask in tensors["masks_THW"]]
    mirrored = replace(PLAIN, flip=True).apply(frames, masks, 128)
    again = PLAIN.apply(
        [f.numpy() for f in tensors["flip_image"]],
        [[m.numpy() > 0] for m in tensors["flip_mask"]],
        128,
    )
    for found, expected in zip(mirrored, again, strict=True):
        assert torch.equal(found, expected)


def test_a_rotation_under_which_an_object_leaves_the_first_frame_is_given_up():
    corner = np.zeros((48, 64), bool)
    corner[:3, :3] = True
    rgb = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    turned = replace(PLAIN, angle=25.0)
    found = turned.apply([rgb, rgb], [[corner], [corner]], 32)
    expected = PLAIN.apply([rgb, rgb], [[corner], [corner]], 32)
    assert torch.equal(found[0], expected[0])
    assert found[1][0].any()


def test_no_change_of_place_leaves_every_pixel_where_it_is():
    assert inverse_affine((64, 48), 0.0, 0.0) == (1, 0, 0, 0, 1, 0)
    x, y = 32.0, 24.0  # the center
    a, b, c, d, e, f = inverse_affine((64, 48), 17.0, -9.0)
    assert (a * x + b * y + c, d * x + e * y + f) == pytest.approx((x, y))


def test_draws_have_the_published_ranges_and_shares():
    rng = np.random.default_rng(0)
    config = AugmentationConfig()
    drawn = [Augmentation.draw(config, 3, rng) for _ in range(2000)]
    assert np.mean([each.flip for each in drawn]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([each.gray for each in drawn]) == pytest.approx(0.05, abs=0.02)
    assert max(abs(each.angle) for each in drawn) == pytest.approx(25, abs=0.5)
    assert max(abs(each.shear) for each in drawn) == pytest.approx(20, abs=0.5)
    factors = [dict(each.jitter.factors) for each in drawn]
    for name, most in (("brightness", 0.1), ("contrast", 0.03), ("saturation", 0.03)):
        values = [each[name] for each in factors]
        assert min(values) == pytest.approx(1 - most, abs=0.01)
        assert max(values) == pytest.approx(1 + most, abs=0.01)
    assert len({tuple(dict(each.jitter.factors)) for each in drawn}) == 6  # every order
    assert len({jitter.factors for jitter in drawn[0].frame_jitters}) == 3


def test_nothing_changes_without_augmentation():
    none = Augmentation.draw(AugmentationConfig.none(), 1, np.random.default_rng(3))
    rgb = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    mask = rgb[..., 0] > 128
    pixels, squares = none.apply([rgb], [[mask]], 32)
    assert np.array_equal(pixels[0].permute(1, 2, 0).numpy(), rgb)
    assert np.array_equal(squares[0, 0].numpy(), mask)
    assert AugmentationConfig.none().frame_jitter == JitterRange(0.0, 0.0, 0.0)
