"""Masks that are carried to frames between two tracked ones."""

from dataclasses import replace

import numpy as np

from helpers.calm_film import CALM, Film
from segment_concept.ops.flow import FlowEstimator, small_gray
from segment_concept.ops.overlap import mask_iou
from segment_concept.tracking.between import Limits, View, Way, mixed, views_after, ways_to

MISFIT = Limits().misfit


def logits(film: Film, index: int) -> list[np.ndarray]:
    return [np.where(film.mask(index, n).bitmap, 6, -6).astype(np.float32) for n in (0, 1)]


def ways_of(film: Film, indices: range) -> list[Way]:
    grays = [small_gray(frame.rgb) for frame in film.frames()]
    first, *others = (grays[i] for i in indices)
    return ways_to(FlowEstimator(), [first], others, logits(film, indices[0]), MISFIT)


def test_masks_of_both_sides_lie_on_the_objects_three_frames_further():
    film = replace(CALM, steps=[0, 2, 2, 2, 2])
    ways = ways_of(film, range(5))
    after = small_gray(film.frames()[4].rgb)
    views = views_after(ways, after, logits(film, 4))
    assert len(ways) == len(views) == 3
    for index, (way, view) in enumerate(zip(ways, views, strict=True), 1):
        for number in (0, 1):
            truth = film.mask(index, number).bitmap
            assert mask_iou(way.before.logits[number] > 0, truth) > 0.85
            assert mask_iou(view.logits[number] > 0, truth) > 0.85


def test_ways_end_before_the_picture_moves_too_much():
    assert len(ways_of(replace(CALM, steps=[0, 1, 1, 30, 1], lefts=(60, 80)), range(5))) == 1


def test_logits_keep_the_size_of_the_grid_that_they_were_made_on():
    grays = [small_gray(frame.rgb) for frame in CALM.frames()[:3]]
    coarse = [each[::4, ::4].copy() for each in logits(CALM, 0)]
    (way,) = ways_to(FlowEstimator(), grays[:1], grays[1:], coarse, MISFIT)
    assert way.before.logits[0].shape == way.before.error.shape == coarse[0].shape


def test_what_does_not_fit_the_picture_on_one_side_is_taken_from_the_other():
    inside, outside = np.full((4, 6), 6, np.float32), np.full((4, 6), -6, np.float32)
    fits, differs = np.full((4, 6), 1, np.float32), np.full((4, 6), 40, np.float32)
    for share in (0.25, 0.5, 0.75):
        (found,) = mixed(View([inside], fits), View([outside], differs), share)
        assert (found > 0).all()
        (found,) = mixed(View([inside], differs), View([outside], fits), share)
        assert (found < 0).all()


def test_where_both_sides_fit_alike_the_nearer_one_decides():
    inside, outside = np.full((4, 6), 6, np.float32), np.full((4, 6), -6, np.float32)
    error = np.full((4, 6), 3, np.float32)
    for share, is_inside in ((0.25, True), (0.75, False)):
        (found,) = mixed(View([inside], error), View([outside], error), share)
        assert ((found > 0) == is_inside).all()
