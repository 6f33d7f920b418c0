"""J and F: known values, the plain definitions, and what must hold for any masks."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segment_concept.metrics import (
    boundary_accuracy,
    boundary_map,
    davis_pair,
    decay,
    disk,
    mose_pair,
    recall,
    region_similarity,
    tolerance_radius,
)
from segment_concept.metrics.boundary import count_near
from segment_concept.metrics.pairs import LabelPair, MaskPair, ids_of
from segment_concept.types import InputError

Bits = NDArray[np.uint8]


def blob(rng: np.random.Generator, height: int, width: int) -> NDArray[np.bool_]:
    """A random mask: an ellipse with specks, empty, full, or one pixel."""
    kind = rng.integers(0, 8)
    if kind == 0:
        return np.zeros((height, width), bool)
    if kind == 1:
        return np.ones((height, width), bool)
    mask = np.zeros((height, width), np.uint8)
    centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
    if kind == 2:
        mask[centre[1], centre[0]] = 1
        return mask > 0
    axes = (int(rng.integers(1, width + 1)), int(rng.integers(1, height + 1)))
    cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return (mask > 0) ^ (rng.random((height, width)) < rng.choice([0, 0.02]))


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    first = blob(rng, height, width)
    near = np.roll(first, tuple(rng.integers(-3, 4, 2)), (0, 1))
    return first, near if draw(st.booleans()) else blob(rng, height, width)


def plain_boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The definition, pixel by pixel; no neighbour outside the image."""
    height, width = mask.shape
    edge = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            inside = [(r, c) for r, c in neighbours if r < height and c < width]
            edge[y, x] = any(mask[y, x] != mask[place] for place in inside)
    return edge


def plain_f(prediction: NDArray[np.bool_], truth: NDArray[np.bool_], cells: Bits) -> float:
    """F with whole-image dilations by the full disk."""
    p, t = (plain_boundary(mask).astype(np.uint8) for mask in (prediction, truth))
    if not p.any() or not t.any():
        return float(not p.any() and not t.any())
    precision = (p & cv2.dilate(t, cells)).sum() / p.sum()
    sensitivity = (t & cv2.dilate(p, cells)).sum() / t.sum()
    total = precision + sensitivity
    return float(2 * precision * sensitivity / total) if total else 0.0


@pytest.mark.parametrize(
    ("size", "radius"), [((120, 214), 2), ((240, 427), 4), ((480, 854), 8), ((1080, 1920), 18)]
)
def test_the_tolerance_is_a_share_of_the_diagonal(size: tuple[int, int], radius: int) -> None:
    assert tolerance_radius(*size) == radius


def test_a_whole_disk_is_centred_and_a_fractional_one_is_not_as_published() -> None:
    whole, fractional = disk(8.0).cells, disk(7.837).cells
    assert whole.sum() == 197
    assert fractional.sum() == 191
    assert (whole == whole[::-1, ::-1]).all()
    assert not (fractional == fractional[::-1, ::-1]).all()


def test_j_is_intersection_over_union() -> None:
    prediction, truth = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    prediction[0:2, 0:2], truth[0:2, 1:3] = True, True
    assert region_similarity(prediction, truth) == 2 / 6


def test_two_empty_masks_agree_and_an_empty_one_with_any_other_does_not() -> None:
    nothing, something = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    something[4, 4] = True
    assert (region_similarity(nothing, nothing), boundary_accuracy(nothing, nothing)) == (1, 1)
    assert (region_similarity(nothing, something), boundary_accuracy(nothing, something)) == (0, 0)


def test_missing_an_object_that_fills_the_image_costs_no_f_as_published() -> None:
    full, nothing = np.ones((20, 30), bool), np.zeros((20, 30), bool)
    assert davis_pair(MaskPair.of(nothing, full)) == (0.0, 1.0)
    assert boundary_accuracy(nothing, full) == 1.0


def test_masks_of_different_size_are_refused() -> None:
    with pytest.raises(InputError, match="5x4 but the truth is 4x4"):
        region_similarity(np.zeros((4, 5), bool), np.zeros((4, 4), bool))


def test_a_color_mask_is_refused() -> None:
    with pytest.raises(InputError, match="two dimensions"):
        region_similarity(np.zeros((4, 4, 3), bool), np.zeros((4, 4, 3), bool))


@settings(max_examples=60, deadline=None)
@given(mask_pairs())
def test_the_quick_boundary_is_the_definition(pair: tuple[Bits, Bits]) -> None:
    mask = pair[0]
    assert ((boundary_map(mask.astype(np.uint8)) > 0) == plain_boundary(mask)).all()


@settings(max_examples=150, deadline=None)
@given(mask_pairs(), st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0, 2.4, 7.837]))
def test_cropping_and_looking_up_change_no_f(pair: tuple[Bits, Bits], radius: float) -> None:
    prediction, truth = pair
    footprint = disk(radius)
    small = MaskPair.of(prediction, truth)
    p, t = boundary_map(small.predicted), boundary_map(small.true)
    whole_p, whole_t = (plain_boundary(mask).astype(np.uint8) for mask in pair)
    dilated = cv2.dilate(whole_t, footprint.cells)
    assert count_near(p, t, footprint) == int((whole_p & dilated).sum())


@settings(max_examples=100, deadline=None)
@given(mask_pairs())
def test_the_pair_is_the_plain_definition(pair: tuple[Bits, Bits]) -> None:
    prediction, truth = pair
    union = (prediction | truth).sum()
    j = float((prediction & truth).sum() / union) if union else 1.0
    radius = tolerance_radius(*truth.shape)
    f = plain_f(prediction, truth, disk(float(radius)).cells)
    assert davis_pair(MaskPair.of(prediction, truth)) == (j, f)
    assert region_similarity(prediction, truth) == j
    assert boundary_accuracy(prediction, truth) == f


@settings(max_examples=100, deadline=None)
@given(mask_pairs())
def test_j_and_f_do_not_care_which_mask_is_the_truth(pair: tuple[Bits, Bits]) -> None:
    there, back = davis_pair(MaskPair.of(*pair)), davis_pair(MaskPair.of(pair[1], pair[0]))
    assert there.region == back.region
    assert math.isclose(there.boundary, back.boundary, abs_tol=1e-12)


@settings(max_examples=100, deadline=None)
@given(mask_pairs())
def test_scores_lie_between_0_and_1(pair: tuple[Bits, Bits]) -> None:
    scores = (*davis_pair(MaskPair.of(*pair)), *mose_pair(MaskPair.of(*pair)))
    assert all(0 <= score <= 1 for score in scores)


@settings(max_examples=60, deadline=None)
@given(mask_pairs())
def test_a_mask_agrees_fully_with_itself(pair: tuple[Bits, Bits]) -> None:
    same = MaskPair.of(pair[0], pair[0])
    assert davis_pair(same) == (1, 1)
    assert mose_pair(same)[0] == 1
    # As published: MOSE v2's disk of a fractional radius holds its centre all the same.
    assert mose_pair(same)[1:] == (1, 1)


@settings(max_examples=60, deadline=None)
@given(mask_pairs(), st.permutations([1, 2, 3]), st.integers(0, 2**32 - 1))
def test_renumbering_the_objects_changes_no_score(
    pair: tuple[Bits, Bits], order: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    names = rng.integers(1, 4, pair[0].shape).astype(np.uint8)
    prediction, truth = pair[0] * names, pair[1] * names
    renamed = np.array([0, *order], np.uint8)
    before, after = LabelPair(prediction, truth), LabelPair(renamed[prediction], renamed[truth])
    for old, new in zip((1, 2, 3), order, strict=True):
        assert before.score(old) == after.score(new)


@settings(max_examples=40, deadline=None)
@given(mask_pairs(), st.sampled_from([np.uint8, np.uint16, np.int32]))
def test_the_number_type_of_label_maps_does_not_matter(pair: tuple[Bits, Bits], kind: type) -> None:
    prediction, truth = (mask.astype(kind) * 7 for mask in pair)
    assert LabelPair(prediction, truth).score(7) == davis_pair(MaskPair.of(*pair))
    assert ids_of(truth) == ({7} if truth.any() else set())


def test_a_missed_small_object_scores_above_0_in_mose_v2_as_published() -> None:
    truth = np.zeros((50, 50), bool)
    truth[10:13, 10:13] = True
    region, f, adaptive = mose_pair(MaskPair.of(np.zeros_like(truth), truth))
    assert (region, f, adaptive) == (1 / 10, 0, 0)


def test_mose_v2_measures_small_objects_more_strictly() -> None:
    truth, prediction = np.zeros((480, 854), bool), np.zeros((480, 854), bool)
    truth[100:120, 100:120], prediction[104:124, 104:124] = True, True
    score = mose_pair(MaskPair.of(prediction, truth))
    assert score.boundary == 1
    assert score.adaptive_boundary < 0.5


def test_recall_counts_frames_above_one_half() -> None:
    assert recall([0.5, 0.6, 0.4, 1.0]) == 0.5


def test_decay_compares_the_first_quarter_with_the_last() -> None:
    assert decay([1.0] * 4 + [0.5] * 8 + [0.0] * 4) == pytest.approx(0.9 - 0.1)


def test_decay_of_a_long_video_is_meaningless_as_published() -> None:
    falling = np.r_[np.ones(150), np.zeros(150)]
    assert math.isnan(decay(falling))
    assert decay(falling, as_published=False) == 1.0
    assert decay(falling[50:250]) == 1.0


def test_statistics_of_nothing_are_undefined() -> None:
    assert math.isnan(recall([]))
    assert math.isnan(decay([]))
