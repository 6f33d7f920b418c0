"""Calls of SAM 2's video predictor, answered with its own numbers."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.official_calls import EVERY, answers, frames, tiny
from segment_concept.compat import InferenceState, VideoPredictor
from segment_concept.models.sam2.segmenter import Sam2Options
from segment_concept.tracking.tracker import Tracker

NOWHERE = -1024.0
CLICK: dict[str, Any] = {"points": [[60, 50]], "labels": [1]}
BOX: dict[str, Any] = {"box": [17, 44, 76, 74]}


@pytest.fixture(scope="module")
def predictor() -> VideoPredictor:
    return VideoPredictor(Tracker(tiny()))


@pytest.fixture
def state(predictor: VideoPredictor) -> InferenceState:
    return predictor.init_state(frames())


def check(ours: Tensor, name: str, within: float = 1e-3) -> None:
    stored = answers()[0][name]
    torch.testing.assert_close(ours[..., ::EVERY, ::EVERY], stored, atol=within, rtol=0)


def play(predictor: VideoPredictor, state: InferenceState, **options: Any) -> Tensor:
    return torch.stack([logits for _, _, logits in predictor.propagate_in_video(state, **options)])


def test_frames_behind_the_first_prompt_have_the_official_masks(predictor, state):
    predictor.add_new_points_or_box(state, 3, 1, points=[[46, 58]], labels=[1])
    predictor.add_new_points_or_box(state, 1, 2, **BOX)
    check(play(predictor, state, start_frame_idx=0), "behind.forward")
    check(play(predictor, state, start_frame_idx=4, reverse=True), "behind.reverse")


def test_both_directions_from_a_frame_before_the_click_are_official(predictor, state):
    predictor.add_new_points_or_box(state, 5, 1, points=[[46, 58]], labels=[1])
    check(play(predictor, state, start_frame_idx=2), "both.forward")
    check(play(predictor, state, start_frame_idx=2, reverse=True), "both.reverse")


def test_prompts_that_are_taken_back_are_answered_officially(predictor, state):
    predictor.add_new_points_or_box(state, 0, 1, **CLICK)
    predictor.add_new_points_or_box(state, 3, 1, points=[[20, 20]], labels=[1])
    check(predictor.clear_all_prompts_in_frame(state, 3, 1)[2], "clear.pending")
    predictor.add_new_points_or_box(state, 2, 1, **CLICK)
    play(predictor, state)
    check(predictor.clear_all_prompts_in_frame(state, 2, 1)[2], "clear.old")
    check(play(predictor, state, start_frame_idx=0), "clear.after")
    check(predictor.clear_all_prompts_in_frame(state, 0, 1)[2], "clear.last")


def test_a_click_on_the_border_is_answered_officially(predictor, state):
    answer = predictor.add_new_points_or_box(state, 0, 1, points=[[160, 96]], labels=[1])
    check(answer[2], "border")


@pytest.mark.parametrize(("area", "name"), [(8, "holes.filled"), (0, "holes.plain")])
def test_small_holes_are_filled_officially(area, name):
    predictor = VideoPredictor(Tracker(tiny(Sam2Options(fill_hole_area=area))))
    state = predictor.init_state(frames())
    seen = [predictor.add_new_points_or_box(state, 0, 1, **CLICK)[2]]
    seen.append(predictor.add_new_points_or_box(state, 0, 2, **BOX)[2][1:])
    click: dict[str, Any] = {"points": [[12, 86]], "labels": [0], "clear_old_points": False}
    seen.append(predictor.add_new_points_or_box(state, 0, 1, **click)[2][:1])
    for _, _, logits in predictor.propagate_in_video(state, max_frame_num_to_track=3):
        seen.append(logits)
    check(torch.cat(seen), name)


def test_under_autocast_the_network_computes_in_its_numbers(predictor, state):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictor.add_new_points_or_box(state, 0, 1, **CLICK)
        within = play(predictor, state)
    predictor.reset_state(state)
    predictor.add_new_points_or_box(state, 0, 1, **CLICK)
    without = play(predictor, state)
    assert within.dtype == without.dtype == torch.float32
    assert not torch.equal(within, without)
    official = answers()[0]["bf16"]
    ours, exact = (t[..., ::EVERY, ::EVERY] for t in (within, without))
    # two roundings of the same numbers: as near to each other as to what they round
    assert (ours - official).abs().max() < 2 * (exact - official).abs().max()


def test_settings_that_are_changed_hold_for_states_that_were_made_before(state):
    predictor = VideoPredictor(Tracker(tiny()))
    plain = predictor.add_new_points_or_box(state, 0, 1, **CLICK)[2]
    assert (predictor.fill_hole_area, predictor.non_overlap_masks) == (0, False)
    predictor.fill_hole_area = 10_000
    filled = predictor.add_new_points_or_box(state, 0, 1, **CLICK)[2]
    assert (filled > 0).all()
    assert not (plain > 0).all()
    predictor.non_overlap_masks = True
    predictor.add_new_points_or_box(state, 0, 2, **CLICK)
    both = predictor.add_new_points_or_box(state, 0, 3, **BOX)[2]
    assert ((both > 0).sum(dim=0) <= 1).all()


class TestEmptyMasks:
    """A mask without foreground says that the object is not there."""

    EMPTY = np.zeros((96, 160), bool)

    def test_one_frame_alone_tracks_nothing(self, predictor, state):
        index, ids, logits = predictor.add_new_mask(state, 1, 7, self.EMPTY)
        assert (index, ids) == (1, [7])
        assert (logits == NOWHERE).all()
        seen = list(predictor.propagate_in_video(state))
        assert [index for index, _, _ in seen] == [1, 2, 3, 4, 5]
        assert all((logits == NOWHERE).all() for _, _, logits in seen)

    def test_it_takes_the_place_of_a_prompt_and_gives_it_back(self, predictor, state):
        predictor.add_new_points_or_box(state, 0, 7, **CLICK)
        predictor.add_new_points_or_box(state, 2, 7, **CLICK)
        predictor.add_new_mask(state, 2, 7, self.EMPTY)
        found = {i: (m > 0).any().item() for i, _, m in predictor.propagate_in_video(state)}
        assert found == {0: True, 1: True, 2: False, 3: True, 4: True, 5: True}
        assert (predictor.add_new_points_or_box(state, 2, 7, **CLICK)[2] > 0).any()

    def test_another_object_changes_nothing(self, predictor, state):
        predictor.add_new_points_or_box(state, 0, 1, **CLICK)
        alone = play(predictor, state)
        predictor.add_new_mask(state, 0, 2, self.EMPTY)
        both = play(predictor, state)
        torch.testing.assert_close(both[:, :1], alone, atol=1e-3, rtol=0)
        predictor.clear_all_prompts_in_frame(state, 0, 2)
        assert predictor.remove_object(state, 2)[0] == [1]


class TestCallsOfSeC:
    """What SeC's release adds to `propagate_in_video`."""

    MASK = np.pad(np.ones((30, 50), bool), ((40, 26), (20, 90)))

    def test_a_first_mask_shows_the_object(self, predictor, state):
        options: dict[str, Any] = {"tokenizer": object(), "mllm_memory_size": 3}
        with_mask = play(predictor, state, init_mask=self.MASK, start_frame_idx=1, **options)
        assert state.session.tracker.keyframes == 3
        predictor.reset_state(state)
        predictor.add_new_mask(state, 1, 1, self.MASK)
        assert torch.equal(with_mask, play(predictor, state))

    def test_it_has_no_effect_on_prompted_frames(self, predictor, state):
        predictor.add_new_points_or_box(state, 0, 1, **BOX)
        plain = play(predictor, state)
        torch.testing.assert_close(
            play(predictor, state, init_mask=self.MASK, tokenizer=None), plain
        )
