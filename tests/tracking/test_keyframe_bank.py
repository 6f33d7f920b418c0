import numpy as np
import pytest

from helpers.tracking_toy import RED, flat
from segment_concept.tracking.concept import Keyframe, KeyframeBank

MASK = np.ones((12, 20), np.bool_)


def keyframe(index: int) -> Keyframe:
    return Keyframe(flat(RED, index), MASK)


def filled(at_most: int, *indices: int) -> KeyframeBank:
    bank = KeyframeBank(at_most=at_most)
    for index in indices:
        bank = bank.add(keyframe(index))
    return bank


def frames(bank: KeyframeBank) -> list[int]:
    return [k.frame.index for k in bank.keyframes]


@pytest.mark.parametrize(
    ("at_most", "kept"),
    [(1, [0]), (2, [0, 9]), (3, [0, 8, 9]), (7, [0, 4, 5, 6, 7, 8, 9]), (20, list(range(10)))],
)
def test_the_first_keyframe_stays_for_ever_and_the_newest_after_it(at_most, kept):
    assert frames(filled(at_most, *range(10))) == kept


def test_seven_are_kept_as_published():
    assert KeyframeBank().at_most == 7


@pytest.mark.parametrize("index", [0, 5, 9])
def test_a_frame_shown_again_replaces_its_keyframe_in_place(index):
    again = keyframe(index)
    bank = filled(3, 0, 5, 9).add(again)
    assert frames(bank) == [0, 5, 9]
    assert bank.keyframes[[0, 5, 9].index(index)] is again


def test_a_keyframe_that_has_left_the_bank_joins_as_the_newest():
    assert frames(filled(3, 0, 5, 6, 7).add(keyframe(5))) == [0, 7, 5]


def test_played_backwards_the_newest_is_the_one_added_last():
    assert frames(filled(3, 9, 7, 5, 3)) == [9, 5, 3]


def test_a_bank_is_never_changed_in_place():
    before = filled(3, 0, 5)
    before.add(keyframe(7))
    assert frames(before) == [0, 5]


def test_a_bank_for_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1 keyframe, got 0"):
        KeyframeBank(at_most=0)
