import numpy as np
import pytest
import torch

from helpers.propagation_toys import (
    FIRST,
    SECOND,
    THIRD,
    blue,
    endless,
    red,
    toy_cutie,
    toy_xmem,
    video,
)
from segment_concept.baselines.retention import NewestFrames
from segment_concept.baselines.session import expected_overlap, margins
from segment_concept.types import Box, Frame, FrameResult, InputError, Mask, Points


@pytest.fixture(params=[toy_cutie, toy_xmem], ids=["cutie", "xmem"])
def tracker(request):
    return request.param()


def assert_same(a: FrameResult, b: FrameResult) -> None:
    assert a.object_ids == b.object_ids
    torch.testing.assert_close(a.logits, b.logits, rtol=0, atol=1e-4)


def test_a_prompted_object_has_the_mask_that_was_given(tracker):
    frame = video(1)[0]
    result = tracker.session().prompt(frame, {FIRST: red(frame), SECOND: blue(frame)})
    assert result.object_ids == (FIRST, SECOND)
    assert np.array_equal(result.mask(FIRST), red(frame).bitmap)
    assert np.array_equal(result.mask(SECOND), blue(frame).bitmap)


def test_every_pixel_belongs_to_at_most_one_object(tracker):
    first, *rest = video(8)
    session = tracker.session()
    session.prompt(first, {FIRST: red(first), SECOND: blue(first)})
    for result in session.track(rest):
        both = result.mask(FIRST) & result.mask(SECOND)
        assert not both.any()
        assert result.logits.isfinite().all()
        assert ((result.presence >= 0) & (result.presence <= 1)).all()
        assert ((result.quality >= 0) & (result.quality <= 1)).all()


def test_a_late_object_joins_without_disturbing_the_frame_on_which_it_appears(tracker):
    frames = video(6)
    session, alone = tracker.session(), tracker.session()
    for s in (session, alone):
        s.prompt(frames[0], {FIRST: red(frames[0])})
        list(s.track(frames[1:3]))
    shown = session.prompt(frames[3], {THIRD: blue(frames[3])})
    assert shown.object_ids == (THIRD,)
    assert np.array_equal(shown.mask(THIRD), blue(frames[3]).bitmap)
    together, before = session.step(frames[3]), alone.step(frames[3])
    assert together.object_ids == (FIRST, THIRD)
    elsewhere = ~blue(frames[3]).bitmap
    assert np.array_equal(together.mask(FIRST)[elsewhere], before.mask(FIRST)[elsewhere])
    assert session.step(frames[4]).object_ids == session.object_ids == (FIRST, THIRD)
    assert set(np.unique(together.label_map())) <= {0, FIRST, THIRD}


def test_prompts_of_one_frame_may_come_together_or_one_by_one(tracker):
    frames = video(5)
    together, one_by_one = tracker.session(), tracker.session()
    for s in (together, one_by_one):
        s.prompt(frames[0], {FIRST: red(frames[0])})
        s.step(frames[1])
    second, third = Mask(~red(frames[2]).bitmap & ~blue(frames[2]).bitmap), blue(frames[2])
    together.prompt(frames[2], {SECOND: second, THIRD: third})
    one_by_one.step(frames[2])  # tracked first, then shown two objects on the same frame
    one_by_one.prompt(frames[2], {SECOND: second})
    one_by_one.prompt(frames[2], {THIRD: third})
    for frame in frames[2:]:
        assert_same(together.step(frame), one_by_one.step(frame))


def test_a_correction_replaces_what_was_tracked(tracker):
    frames = video(4)
    session = tracker.session()
    session.prompt(frames[0], {FIRST: red(frames[0]), SECOND: blue(frames[0])})
    list(session.track(frames[1:3]))
    corrected = session.prompt(frames[3], {FIRST: red(frames[3])})
    assert np.array_equal(corrected.mask(FIRST), red(frames[3]).bitmap)
    assert session.object_ids == (FIRST, SECOND)


def test_the_later_of_overlapping_masks_has_the_pixel(tracker):
    frame = video(1)[0]
    whole = Mask(np.ones(frame.size, np.bool_))
    result = tracker.session().prompt(frame, {FIRST: whole, SECOND: blue(frame)})
    assert np.array_equal(result.mask(SECOND), blue(frame).bitmap)
    assert np.array_equal(result.mask(FIRST), ~blue(frame).bitmap)


def test_a_removed_object_and_its_memory_disappear_at_once(tracker):
    frames = video(8)
    session = tracker.session()
    session.prompt(frames[0], {FIRST: red(frames[0])})
    session.step(frames[1])
    session.prompt(frames[2], {SECOND: blue(frames[2])})
    list(session.track(frames[3:6]))
    session.remove(FIRST)
    assert session.object_ids == (SECOND,)
    assert [g.object_ids for g in session.state.groups] == [(SECOND,)]
    assert session.step(frames[5]).object_ids == (SECOND,)
    assert session.step(frames[6]).object_ids == (SECOND,)
    with pytest.raises(KeyError, match="not tracked"):
        session.remove(FIRST)


def test_removing_one_of_two_that_were_shown_together_keeps_the_other(tracker):
    frames = video(8)
    session = tracker.session()
    session.prompt(frames[0], {FIRST: red(frames[0]), SECOND: blue(frames[0])})
    list(session.track(frames[1:4]))
    values = session.state.groups[0].parts.permanent.values[1]
    session.remove(FIRST)
    assert torch.equal(session.state.groups[0].parts.permanent.values[0], values)
    assert [r.object_ids for r in session.track(frames[4:])] == [(SECOND,)] * 4


def test_an_object_removed_on_the_frame_where_it_was_shown_leaves_no_trace(tracker):
    frames = video(5)
    session, untouched = tracker.session(), tracker.session()
    for s in (session, untouched):
        s.prompt(frames[0], {FIRST: red(frames[0])})
        s.step(frames[1])
    session.prompt(frames[2], {SECOND: blue(frames[2]), THIRD: red(frames[2])})
    session.remove(THIRD)
    session.prompt(frames[2], {SECOND: blue(frames[2])})
    untouched.prompt(frames[2], {SECOND: blue(frames[2])})
    for frame in frames[2:]:
        assert_same(session.step(frame), untouched.step(frame))


def test_when_all_objects_are_removed_there_is_nothing_to_track_until_one_is_shown(tracker):
    frames = video(4)
    session, fresh = tracker.session(), tracker.session()
    session.prompt(frames[0], {FIRST: red(frames[0])})
    session.step(frames[1])
    session.remove(FIRST)
    with pytest.raises(InputError, match="nothing to track"):
        session.step(frames[2])
    for s in (session, fresh):
        s.prompt(frames[2], {SECOND: blue(frames[2])})
    assert_same(session.step(frames[3]), fresh.step(frames[3]))


def test_two_sessions_at_once_share_nothing(tracker):
    frames = video(8)

    def alone(mask):
        session = tracker.session()
        session.prompt(frames[0], {FIRST: mask(frames[0])})
        return list(session.track(frames[1:]))

    a, b = tracker.session(), tracker.session()
    a.prompt(frames[0], {FIRST: red(frames[0])})
    b.prompt(frames[0], {FIRST: blue(frames[0])})
    mixed = [(a.step(frame), b.step(frame)) for frame in frames[1:]]
    for (of_a, of_b), only_a, only_b in zip(mixed, alone(red), alone(blue), strict=True):
        assert torch.equal(of_a.logits, only_a.logits)
        assert torch.equal(of_b.logits, only_b.logits)
        assert not torch.equal(of_a.logits, of_b.logits)


@pytest.mark.parametrize("size", [(1, 1), (2, 30), (15, 16), (17, 33), (63, 47)])
def test_frames_of_any_size_are_tracked_even_with_fewer_tokens_than_top_k(tracker, size):
    frames = video(7, size)
    session = tracker.session()
    session.prompt(frames[0], {FIRST: red(frames[0])})
    for result in session.track(frames[1:]):
        assert result.logits.shape == (1, *size)
        assert result.logits.isfinite().all()


def test_a_gray_stretch_of_a_hundred_frames_leaves_tracking_alive(tracker):
    frames = video(3)
    session = tracker.session()
    session.prompt(frames[0], {FIRST: red(frames[0])})
    gray = np.full((48, 64, 3), 128, np.uint8)
    for index in range(1, 101):
        assert session.step(Frame(index, gray)).logits.isfinite().all()
    shown = Frame(101, frames[1].rgb)
    result = session.prompt(shown, {FIRST: red(frames[1])})
    assert np.array_equal(result.mask(FIRST), red(frames[1]).bitmap)


def test_frames_may_come_backwards(tracker):
    frames = video(6)
    session = tracker.session()
    session.prompt(frames[5], {FIRST: red(frames[5])})
    assert [r.frame_index for r in session.track(reversed(frames))] == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("retention", [None, NewestFrames(3)], ids=["long-term", "newest"])
@pytest.mark.parametrize("toy", [toy_cutie, toy_xmem], ids=["cutie", "xmem"])
def test_memory_stays_bounded_over_a_long_stream(toy, retention):
    session = toy(retention).session()
    largest = 0
    for frame in endless(300, size=(32, 48)):
        if frame.index == 0:
            session.prompt(frame, {FIRST: red(frame)})
        if frame.index == 20:
            session.prompt(frame, {SECOND: blue(frame)})
        session.step(frame)
        for group in session.state.groups:
            parts = group.parts
            assert len(parts.permanent) == 6
            assert len(parts.working) <= 3 * 6
            assert len(parts.long) <= 40
            largest = max(largest, len(parts.long))
    assert largest == 0 if retention else largest > 20


def test_forgotten_tokens_are_given_back(tracker):
    """No tensor of the state is a window on a larger one that would stay in memory."""
    session = tracker.session()
    for frame in endless(40, size=(32, 48)):
        if frame.index == 0:
            session.prompt(frame, {FIRST: red(frame)})
        session.step(frame)
    parts = session.state.groups[0].parts
    for tokens in (parts.permanent, parts.working, parts.long):
        for tensor in (tokens.key, tokens.shrinkage, tokens.selection, tokens.values, tokens.use):
            assert tensor.untyped_storage().nbytes() <= tensor.nbytes + 64


@pytest.mark.parametrize("prompt", [Box(1, 1, 9, 9), Points.on((3, 3))])
def test_a_prompt_that_is_not_a_mask_is_refused(tracker, prompt):
    frame = video(1)[0]
    with pytest.raises(InputError, match="needs masks, and the prompt of object 1 is a"):
        tracker.session().prompt(frame, {FIRST: prompt})


def test_a_mask_of_another_size_is_refused(tracker):
    frame = video(1)[0]
    with pytest.raises(InputError, match="mask of the video's size"):
        tracker.session().prompt(frame, {FIRST: Mask(np.ones((5, 5), np.bool_))})


def test_a_frame_of_another_size_is_refused(tracker):
    session = tracker.session()
    frame = video(1)[0]
    session.prompt(frame, {FIRST: red(frame)})
    with pytest.raises(InputError, match="the video began with 64x48"):
        session.step(Frame(1, np.zeros((48, 65, 3), np.uint8)))


def test_a_step_before_the_first_prompt_is_refused(tracker):
    with pytest.raises(InputError, match="prompt an object first"):
        tracker.session().step(video(1)[0])


def test_no_prompt_at_all_is_refused(tracker):
    with pytest.raises(InputError, match="no prompt"):
        tracker.session().prompt(video(1)[0], {})


def test_a_frame_that_is_hardly_a_picture_is_refused(tracker):
    frame = video(1, size=(2, 200))[0]
    with pytest.raises(InputError, match="too elongated"):
        tracker.session().prompt(frame, {FIRST: red(frame)})


def test_a_logit_is_positive_exactly_where_the_object_has_the_highest_score():
    scores = torch.rand(4, 9, 9, generator=torch.Generator().manual_seed(0)).softmax(dim=0)
    winner = scores.argmax(dim=0)
    for row, logit in enumerate(margins(scores), start=1):
        assert torch.equal(logit > 0, winner == row)


def test_the_expected_overlap_is_one_where_all_is_certain_and_zero_for_no_mask():
    certain = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]], [[0.4, 0.4]]])
    masks = torch.tensor([[[True, False]], [[True, False]], [[False, False]]])
    assert expected_overlap(certain, masks).tolist() == pytest.approx([1.0, 0.5 / 1.5, 0.0])
