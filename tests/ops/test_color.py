"""The published color trigger, against what the release computed."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from helpers.fixtures import facts, fixture
from segment_concept.ops.color import hue_saturation_distance, hue_saturation_histogram

FACTS = facts("parity/hsv")
PICTURES = load_file(fixture("parity/hsv.safetensors"))


def flat(*rgb):
    return np.full((8, 8, 3), rgb, np.uint8)


@pytest.mark.parametrize("pair", FACTS["pairs"], ids=lambda pair: pair["tag"])
def test_distances_are_those_of_the_release(pair):
    a, b = (hue_saturation_histogram(PICTURES[f"{pair['tag']}.{side}"]) for side in "ab")
    assert hue_saturation_distance(a, b) == pytest.approx(pair["distance"], abs=1e-6)
    assert (hue_saturation_distance(a, b) > FACTS["threshold"]) is pair["changed"]


def test_a_histogram_has_60_hues_and_80_saturations_and_unit_length():
    histogram = hue_saturation_histogram(PICTURES["cut.a"])
    assert histogram.shape == (60, 80)
    assert histogram.dtype == np.float32
    assert np.linalg.norm(histogram) == pytest.approx(1)


def test_one_color_falls_into_one_bin():
    histogram = hue_saturation_histogram(flat(255, 0, 0))
    # As published RGB is read as BGR: red has the hue of blue, 240 degrees, and bins are 6 wide.
    assert np.argwhere(histogram).tolist() == [[40, 79]]
    assert np.argwhere(hue_saturation_histogram(flat(90, 90, 90))).tolist() == [[0, 0]]


def test_the_distance_is_0_for_the_same_colors_and_1_for_disjoint_ones():
    red, blue = hue_saturation_histogram(flat(255, 0, 0)), hue_saturation_histogram(flat(0, 0, 255))
    assert hue_saturation_distance(red, red) == 0
    assert hue_saturation_distance(red, blue) == 1
    assert hue_saturation_distance(blue, red) == 1


def test_the_position_of_colors_does_not_matter():
    picture = PICTURES["cut.a"]
    mirrored = hue_saturation_histogram(picture[:, ::-1].copy())
    # The resize to a square rounds a little differently from the other side.
    assert hue_saturation_distance(hue_saturation_histogram(picture), mirrored) < 0.05


def test_the_picture_is_not_changed():
    picture = PICTURES["cut.a"].copy()
    hue_saturation_histogram(picture)
    assert np.array_equal(picture, PICTURES["cut.a"])
