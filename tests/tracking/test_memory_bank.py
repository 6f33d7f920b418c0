import pytest

from helpers.memory_cases import bank, remembered
from segment_concept.tracking.memory import MemoryBank, PlaybackPosition


def test_time_since_a_frame_counts_along_the_playing_direction():
    assert PlaybackPosition(10).frames_since(7) == 3
    assert PlaybackPosition(10).frames_since(12) == -2
    assert PlaybackPosition(10, backwards=True).frames_since(12) == 2
    assert PlaybackPosition(10, backwards=True).frames_since(7) == -3


def test_age_has_no_direction():
    assert remembered(7).age(10) == remembered(13).age(10) == 3


def test_a_frame_that_is_tracked_again_is_remembered_anew():
    first, again = remembered(4), remembered(4)
    kept = MemoryBank().remember(first).remember(remembered(5)).remember(again)
    assert [m.frame_index for m in kept.tracked] == [5, 4]
    assert kept.on(4) is again


def test_a_prompt_replaces_whatever_was_known_of_its_frame():
    shown, corrected = remembered(3), remembered(3)
    tracked = bank([0], [1, 2, 3, 4])
    once = tracked.prompt(shown)
    assert [m.frame_index for m in once.prompted] == [0, 3]
    assert [m.frame_index for m in once.tracked] == [1, 2, 4]
    twice = once.prompt(corrected)
    assert [m.frame_index for m in twice.prompted] == [0, 3]
    assert twice.on(3) is corrected


def test_a_bank_is_never_changed_in_place():
    before = bank([0], [1])
    before.remember(remembered(2))
    before.prompt(remembered(1))
    assert [m.frame_index for m in (*before.prompted, *before.tracked)] == [0, 1]
    with pytest.raises(AttributeError):
        before.tracked = ()


def test_a_frame_that_is_not_kept_is_not_known():
    assert bank([0], [1]).on(2) is None
