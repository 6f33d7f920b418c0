"""How many frames in a row are tried next."""

import numpy as np

from segment_concept.tracking.carry_state import CarryState, PassedFrame


def test_more_frames_in_a_row_are_tried_once_two_tracked_frames_agreed_clearly():
    state, reaches = CarryState(), []
    for _ in range(6):
        assert state.next_reach == state.agreed(state.reach, clearly=False).reach
        state = state.agreed(state.reach, clearly=True)
        reaches.append(state.reach)
    assert reaches == [1, 2, 3, 3, 3, 3]


def test_without_clear_agreement_the_number_stays():
    state = CarryState(reach=2)
    for _ in range(3):
        state = state.agreed(2, clearly=False)
    assert state.reach == 2


def test_after_a_shorter_gap_the_number_stays():
    assert CarryState(reach=2, clear=True).agreed(1, clearly=True).reach == 2


def test_after_a_disagreement_about_several_frames_a_single_one_is_tried_at_once():
    state = CarryState(reach=3, clear=True).disagreed(3)
    assert (state.allowed, state.reach) == (1, 1)


def test_after_disagreements_about_single_frames_ever_more_are_tracked():
    state, tracked = CarryState(), []
    for _ in range(4):
        state, count = state.disagreed(1), 0
        while not state.allowed:
            state, count = state.tracked(), count + 1
        tracked.append(count)
    assert tracked == [4, 8, 16, 16]


def test_only_frames_that_were_judged_with_those_passed_over_follow_them():
    frame = PassedFrame(1, (), np.zeros((16, 16), np.uint8))
    state = CarryState(reach=3).over(frame)
    assert state.allowed == 0
    assert state.leaving(2).allowed == 2
    assert state.leaving(2).corrected().allowed == 3
