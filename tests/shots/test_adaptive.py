"""The adaptive rule against PySceneDetect's, on pictures made here.

`fixtures/shots/adaptive.json` was recorded from scenedetect 0.7.2: the `content_val` of every frame
of `clip()` and the cuts of `AdaptiveDetector(min_scene_len=0)`.
"""

import itertools

import numpy as np
import pytest

from helpers.fixtures import facts
from segment_concept.shots.adaptive import find_cuts
from segment_concept.shots.content import (
    OTHER_SIZE,
    WIDTH,
    change_between,
    small_hsv,
    stands_out,
    thumbnail,
)

RECORDED = facts("shots/adaptive")


def clip() -> list[np.ndarray]:
    """Greens and blues that drift, three cuts, a fast pan, and a change of light."""
    y, x = np.mgrid[0:90, 0:160]
    frames = []
    for index in range(48):
        shot = sum(index >= cut for cut in (12, 20, 36))
        pan = 2 * index if index < 24 else 40 * index
        green = (x * (3 + shot) + 5 * pan + 60 * shot) // 2 % 200 + 40
        blue = (y * (2 + 3 * shot) + pan) % 180 + 60
        red = (x + y + 10 * shot) % 30
        rgb = np.stack([red, green, blue], axis=-1) * (0.6 if index >= 42 else 1.0)
        frames.append(rgb.astype(np.uint8))
    return frames


def changes(frames: list[np.ndarray]) -> list[float]:
    small = [small_hsv(rgb) for rgb in frames]
    return [0.0, *(change_between(a, b) for a, b in itertools.pairwise(small))]


def test_the_change_of_a_picture_is_pyscenedetects() -> None:
    assert changes(clip()) == pytest.approx(RECORDED["content_val"], abs=0.05)


def test_the_cuts_are_pyscenedetects() -> None:
    assert find_cuts(clip()) == RECORDED["cuts"]


def test_reds_on_both_sides_of_the_circle_of_hues_are_alike() -> None:
    red, almost = (np.full((90, 160, 3), c, np.uint8) for c in ((200, 10, 14), (200, 14, 10)))
    hues = small_hsv(red)[0, 0, 0], small_hsv(almost)[0, 0, 0]
    assert abs(int(hues[0]) - int(hues[1])) > 170
    assert change_between(small_hsv(red), small_hsv(almost)) < 2


def test_pictures_are_compared_small_and_another_size_is_another_picture() -> None:
    wide, narrow = np.zeros((360, 640, 3), np.uint8), np.zeros((480, 640, 3), np.uint8)
    assert small_hsv(wide).shape == (90, WIDTH, 3)
    assert change_between(small_hsv(wide), small_hsv(narrow)) == OTHER_SIZE


def test_a_pixel_of_a_thumbnail_is_the_mean_of_what_it_covers() -> None:
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[:2, :2] = [[[0], [40]], [[80], [120]]]
    assert thumbnail(rgb, (2, 2))[..., 0].tolist() == [[60, 0], [0, 0]]


@pytest.mark.parametrize(
    ("change", "around", "is_cut"),
    [(14.9, (), False), (15, (), True), (30, (10, 10), True), (29, (10, 10), False)],
)
def test_a_cut_is_large_and_larger_than_its_neighbours(change, around, is_cut) -> None:
    assert stands_out(change, around) is is_cut
