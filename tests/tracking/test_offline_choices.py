"""What offline mode decides: which keyframes, which frames enter a shot, what its trackers ask."""

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.tracking_toy import ColorSegmenter, RotatingConcept
from segment_concept.ops.color import appearance, appearance_distance
from segment_concept.tracking.offline import (
    KeyframeCandidate,
    Offline,
    Shots,
    choose_keyframes,
    with_fixed_keyframes,
    with_queries_at,
)
from segment_concept.tracking.session import Tracker
from segment_concept.tracking.triggers.base import AnyOf, AtFrames, Every, Never

COLORS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220)}


def looks(*names: str) -> NDArray[np.float32]:
    """Of an object that has these colors in equal shares, on gray."""
    rgb = np.full((12, 12, 3), 90, np.uint8)
    mask = np.zeros((12, 12), np.bool_)
    mask[:6, :6] = True
    for n, name in enumerate(names):
        rgb[n * 6 // len(names) : (n + 1) * 6 // len(names), :6] = COLORS[name]
    return appearance(rgb, mask)


def view(index: int, shot: int, *names: str, score: float = 0.9) -> KeyframeCandidate:
    return KeyframeCandidate(index, shot, score, looks(*names))


def chosen(
    candidates: list[KeyframeCandidate], shown: list[KeyframeCandidate], at_most: int = 7
) -> list[int]:
    return [v.frame_index for v in choose_keyframes(candidates, shown, at_most, lambda v: True)]


def test_what_looks_alike_is_no_distance_apart_and_what_shares_no_color_is_far():
    assert appearance_distance(looks("red"), looks("red")) == pytest.approx(0, abs=1e-3)
    half, other = looks("red", "green"), looks("green")
    assert 0 < appearance_distance(looks("red"), half) < appearance_distance(looks("red"), other)
    assert appearance_distance(looks("red"), other) < 1  # they stand on the same gray


def test_the_keyframe_chosen_first_looks_least_like_what_was_shown():
    near, far = view(5, 0, "red", "red", "green"), view(9, 0, "green")
    assert chosen([near, far], [view(0, 0, "red")], at_most=2) == [9]


def test_keyframes_are_diverse_among_themselves_and_not_only_from_the_first():
    twins = [view(5, 0, "green"), view(6, 0, "green", score=0.89)]
    other = view(7, 0, "green", "blue")
    assert chosen([*twins, other], [view(0, 0, "red")], at_most=3) == [5, 7]


def test_every_shot_has_a_keyframe_before_any_has_two():
    strange = [view(5, 0, "green"), view(6, 0, "blue")]
    alike = view(30, 1, "red", "red", "green")
    assert chosen([*strange, alike], [view(0, 0, "red")], at_most=2) == [30]
    assert set(chosen([*strange, alike], [view(0, 0, "red")], at_most=4)) == {5, 6, 30}


def test_what_is_hardly_believed_must_look_very_different_to_be_chosen():
    sure, doubtful = view(5, 0, "red", "green"), view(9, 0, "green", score=0.2)
    assert chosen([sure, doubtful], [view(0, 0, "red")], at_most=2) == [5]


def test_a_second_view_of_a_shot_that_shows_nothing_new_is_left_out():
    alike = [view(5, 0, "red"), view(9, 1, "red"), view(10, 1, "red")]
    assert chosen(alike, [view(0, 0, "red")]) == [9]


def test_of_a_shot_whose_best_view_is_not_confirmed_the_next_best_is_taken():
    views = [view(5, 1, "green"), view(6, 1, "red", "green"), view(7, 2, "blue")]
    asked: list[int] = []

    def confirmed(one: KeyframeCandidate) -> bool:
        asked.append(one.frame_index)
        return one.frame_index != 5

    found = choose_keyframes(views, [view(0, 0, "red")], 3, confirmed)
    assert {v.frame_index for v in found} == {6, 7}
    assert sorted(asked) == [5, 6, 7]


def test_no_more_keyframes_than_wanted_and_the_shown_ones_count():
    many = [view(n, n, "green", "blue", "red"[: n % 2 * 3] or "red") for n in range(1, 9)]
    assert len(chosen(many, [view(0, 0, "red")], at_most=1)) == 0
    assert len(chosen(many, [view(0, 0, "blue")], at_most=2)) == 1


def test_without_any_view_that_was_shown_the_surest_is_the_first():
    assert chosen([view(5, 0, "red", score=0.5), view(6, 0, "green")], [], at_most=1) == [6]


def test_a_video_without_cuts_is_one_shot():
    shots = Shots.of([], 10)
    assert shots.on(9) == 0
    assert shots.starts == (0,)


def test_shots_begin_inside_the_video_each_once_and_in_order():
    shots = Shots.of([8, 0, 4, 4, 99], 12)
    assert shots.starts == (0, 4, 8)
    assert [shots.on(i) for i in (3, 4, 8, 11)] == [0, 1, 2, 2]


def test_a_shot_has_as_many_stretches_as_wanted_or_one_a_frame():
    shots = Shots.of([4], 24)
    assert len({shots.stretch(i, 5) for i in range(4, 24)}) == 5
    assert len({shots.stretch(i, 5) for i in range(4)}) == 4


def test_a_tracker_with_a_concept_asks_it_where_shots_are_entered_as_well():
    tracker = Tracker(ColorSegmenter(), concept=RotatingConcept(), trigger=Every(5))
    entered = with_queries_at(tracker, frozenset({4}))
    assert isinstance(entered, Tracker)
    assert entered.trigger == AnyOf((Every(5), AtFrames(frozenset({4}))))
    silent = with_queries_at(Tracker(ColorSegmenter(), concept=RotatingConcept()), frozenset({4}))
    assert isinstance(silent, Tracker)
    assert silent.trigger == AtFrames(frozenset({4}))


def test_a_tracker_without_a_concept_stays_as_it_is():
    tracker = Tracker(ColorSegmenter())
    assert with_fixed_keyframes(with_queries_at(tracker, frozenset({4}))) is tracker
    assert isinstance(tracker.trigger, Never)


def test_an_impossible_offline_mode_cannot_be_built():
    with pytest.raises(ValueError, match="at least 1 keyframe, got 0"):
        Offline(keyframes=0)
    with pytest.raises(ValueError, match=r"min_presence is a score in \[0, 1\], got 2"):
        Offline(min_presence=2)
    with pytest.raises(ValueError, match=r"min_backtrack_iou is a score in \[0, 1\], got -1"):
        Offline(min_backtrack_iou=-1)
