import gc

import numpy as np
import pytest
import torch

from helpers.tracking_toy import (
    BLUE,
    EVERY_POLICY,
    GREEN,
    ONE,
    RED,
    THREE,
    TWO,
    Blob,
    ColorSegmenter,
    forgetful,
    on,
    play,
    video,
)
from segment_concept.tracking.memory import Memory
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.results import suppress_overlap
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Box, FrameResult, InputError

POLICIES = [*EVERY_POLICY, RecentMemory(slots=3, pointers=4)]
A = Blob(RED, top=0, speed=1, drift=(-2, 0, 0), hidden=frozenset({3, 4, 9}))
B = Blob(GREEN, top=4, left=5, speed=-1, drift=(0, -3, 0), hidden=frozenset({5}))
C = Blob(BLUE, top=8, left=9, speed=2, drift=(1, 0, -1))


def session(**settings) -> Session:
    return Tracker(ColorSegmenter(), **settings).session()


def close(result: FrameResult, object_id: int, alone: FrameResult) -> None:
    """Object by object the same, to a millionth."""
    row, only = result.object_ids.index(object_id), alone.object_ids.index(object_id)
    for name in ("logits", "presence", "quality"):
        ours, theirs = getattr(result, name)[row], getattr(alone, name)[only]
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def alive(kind: type) -> int:
    gc.collect()
    return sum(type(o) is kind for o in gc.get_objects())


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_several_objects_are_followed_as_if_each_were_alone(policy):
    frames = video(A, B, C, length=24)
    together = session(policy=policy)
    together.prompt(frames[0], {ONE: A.mask(0), TWO: Box(4, 4, 10, 8)})
    results = play(together, frames[1:4])
    together.prompt(frames[4], {THREE: on((18, 10))})
    results |= play(together, frames[4:])
    starts = {ONE: (0, A.mask(0)), TWO: (0, Box(4, 4, 10, 8)), THREE: (4, on((18, 10)))}
    for object_id, (start, prompt) in starts.items():
        alone = session(policy=policy)
        alone.prompt(frames[start], {object_id: prompt})
        for index, result in play(alone, frames[start:]).items():
            if index:
                close(results[index], object_id, result)


def test_objects_of_any_number_advance_in_one_batch():
    frames = video(A, B, C)
    following = session()
    segmenter = following.tracker.segmenter
    shown = {ONE: A.mask(0), TWO: B.mask(0), THREE: C.mask(0)}
    following.prompt(frames[0], shown)
    assert [len(call.previous) for call in segmenter.segmented] == [3]
    following.step(frames[1])
    assert [call.frame_rows for call in segmenter.proposed] == [(0, 0, 0)]
    assert [len(call.recalls) for call in segmenter.proposed] == [3]


def test_an_object_added_late_is_followed_from_then_on():
    frames = video(A, B)
    following = session()
    following.prompt(frames[0], {TWO: B.mask(0)})
    play(following, frames[1:6])
    added = following.prompt(frames[5], {ONE: A.mask(5)})
    assert added.object_ids == (ONE,)
    assert following.object_ids == (TWO, ONE)
    later = play(following, frames[6:9])
    for index, result in later.items():
        assert result.object_ids == (TWO, ONE)
        assert np.array_equal(result.mask(ONE), A.on(index))
        assert np.array_equal(result.mask(TWO), B.on(index))


@pytest.mark.parametrize("backwards", [False, True])
def test_an_object_may_be_added_before_the_frame_is_stepped_over(backwards):
    frames = video(A, C)[::-1] if backwards else video(A, C)
    first, middle = frames[0].index, frames[6].index
    following = session()
    following.prompt(frames[0], {ONE: A.mask(first)})
    play(following, frames[1:6])
    following.prompt(frames[6], {TWO: C.mask(middle)})
    result = following.step(frames[6])
    assert result.object_ids == (ONE, TWO)
    assert np.array_equal(result.mask(ONE), A.on(middle))
    assert np.array_equal(result.mask(TWO), C.on(middle))
    assert following.step(frames[7]).object_ids == (ONE, TWO)


def test_an_object_is_not_followed_before_it_was_shown():
    frames = video(A, C)
    following = session()
    following.prompt(frames[0], {ONE: A.mask(0)})
    following.prompt(frames[8], {TWO: C.mask(8)})
    results = play(following, frames, backwards=False)
    assert [i for i, r in results.items() if TWO in r.object_ids] == [8, 9, 10, 11]
    assert all(ONE in r.object_ids for r in results.values())


@pytest.mark.parametrize("policy", EVERY_POLICY, ids=lambda p: type(p).__name__)
def test_an_object_can_be_tracked_before_its_prompt(policy):
    frames = video(C)
    following = session(policy=policy, track_before_prompt=True)
    following.prompt(frames[8], {TWO: C.mask(8)})
    results = play(following, frames, backwards=False)
    for index, result in results.items():
        assert np.array_equal(result.mask(TWO), C.on(index))


def test_played_backwards_an_object_is_followed_before_the_frame_it_was_shown_on():
    frames = video(A, C)
    following = session()
    following.prompt(frames[0], {ONE: A.mask(0)})
    following.prompt(frames[8], {TWO: C.mask(8)})
    results = play(following, reversed(frames[:8]))
    assert [r.object_ids for r in results.values()] == [(TWO,)] * 7 + [(ONE, TWO)]
    for index, result in results.items():
        assert np.array_equal(result.mask(TWO), C.on(index))


def test_after_a_removal_the_other_objects_are_tracked_as_without_it():
    frames = video(A, B)
    following, alone = session(), session()
    following.prompt(frames[0], {ONE: A.mask(0), TWO: B.mask(0)})
    alone.prompt(frames[0], {ONE: A.mask(0)})
    play(following, frames[1:5])
    expected = play(alone, frames[1:])
    following.remove(TWO)
    assert following.object_ids == (ONE,)
    for index, result in play(following, frames[5:]).items():
        assert result.object_ids == (ONE,)
        close(result, ONE, expected[index])


def test_a_removed_object_leaves_no_memory_behind():
    before = alive(Memory)
    frames = video(A, B)
    following = Tracker(forgetful()).session()
    following.prompt(frames[0], {ONE: A.mask(0), TWO: B.mask(0)})
    play(following, frames[1:8])
    assert alive(Memory) - before == 2 * 8
    following.remove(TWO)
    assert alive(Memory) - before == 8


def test_a_memory_keeps_only_its_own_object_in_memory():
    frames = video(A, B, C)
    following = session()
    following.prompt(frames[0], {ONE: A.mask(0), TWO: B.mask(0), THREE: C.mask(0)})
    play(following, frames[1:3])
    for tracks in following.tracks.values():
        for memory in (*tracks[0].bank.prompted, *tracks[0].bank.tracked):
            for tensor in (memory.features, memory.logits, memory.pointer):
                assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_a_removed_object_can_be_shown_anew():
    frames = video(A, B)
    following = session()
    following.prompt(frames[0], {ONE: A.mask(0)})
    following.remove(ONE)
    with pytest.raises(InputError, match="nothing to track"):
        following.step(frames[1])
    following.prompt(frames[1], {ONE: B.mask(1)})
    assert np.array_equal(following.step(frames[2]).mask(ONE), B.on(2))
    assert [k.frame.index for k in following.banks[ONE].keyframes] == [1]


def test_only_an_object_that_is_followed_can_be_removed():
    following = session()
    following.prompt(video(A)[0], {ONE: A.mask(0)})
    with pytest.raises(KeyError, match=r"object 2 is not tracked; there are \(1,\)"):
        following.remove(TWO)


def test_two_sessions_of_one_tracker_share_nothing():
    frames = video(A, B)
    tracker = Tracker(ColorSegmenter())
    first, second, idle = tracker.session(), tracker.session(), tracker.session()
    alone = session()
    first.prompt(frames[0], {ONE: A.mask(0)})
    second.prompt(frames[11], {ONE: B.mask(11)})
    alone.prompt(frames[0], {ONE: A.mask(0)})
    for index in range(1, 12):
        result, expected = first.step(frames[index]), alone.step(frames[index])
        assert result.logits.equal(expected.logits)
        backwards = second.step(frames[11 - index])
        assert np.array_equal(backwards.mask(ONE), B.on(11 - index))
    with pytest.raises(InputError, match="nothing to track"):
        idle.step(frames[0])


# Two reds, 30 apart: each is taken for the other too, with a lower logit.
DARK, LIGHT = Blob((200, 0, 0), top=0, speed=1), Blob((200, 30, 0), top=6, left=3)


@pytest.fixture
def claims() -> tuple[FrameResult, FrameResult]:
    """Two objects that both claim both squares: as they are, and excluding each other."""
    frames = video(DARK, LIGHT)
    shown = {ONE: DARK.mask(0), TWO: LIGHT.mask(0)}
    free, non_overlapping = session(), session(non_overlapping=True)
    free.prompt(frames[0], shown)
    non_overlapping.prompt(frames[0], shown)
    return play(free, frames[1:])[9], play(non_overlapping, frames[1:])[9]


def test_objects_may_claim_the_same_pixels(claims):
    free, _ = claims
    both = DARK.on(9) | LIGHT.on(9)
    assert np.array_equal(free.mask(ONE), both)
    assert np.array_equal(free.mask(TWO), both)


def test_the_label_map_goes_to_the_higher_logit(claims):
    expected = np.where(DARK.on(9), ONE, np.where(LIGHT.on(9), TWO, 0))
    for result in claims:
        assert np.array_equal(result.label_map(), expected)


def test_exclusive_objects_share_no_pixel(claims):
    free, non_overlapping = claims
    assert np.array_equal(non_overlapping.mask(ONE), DARK.on(9))
    assert np.array_equal(non_overlapping.mask(TWO), LIGHT.on(9))
    winner = free.logits.argmax(dim=0)
    for row in (0, 1):
        won = winner == row
        assert non_overlapping.logits[row][won].equal(free.logits[row][won])
        assert non_overlapping.logits[row][~won].equal(free.logits[row][~won].clamp(max=-10))


def test_guided_contours_are_for_the_output_and_not_for_memory():
    frames = video(DARK, LIGHT)
    shown, kept = [], []
    for guided in (False, True):
        following = session(guided_contours=guided)
        following.prompt(frames[0], {ONE: DARK.mask(0)})
        shown.append(play(following, frames[1:6])[5].logits)
        kept.append(following.tracks[ONE][0].bank.tracked[-1])
    assert not shown[0].equal(shown[1])
    assert kept[0].logits.equal(kept[1].logits)
    assert kept[0].features.equal(kept[1].features)


def test_exclusion_is_for_the_output_and_not_for_memory():
    frames = video(DARK, LIGHT)
    kept = []
    for non_overlapping in (False, True):
        following = session(non_overlapping=non_overlapping)
        following.prompt(frames[0], {ONE: DARK.mask(0), TWO: LIGHT.mask(0)})
        play(following, frames[1:6])
        kept.append([t[0].bank.tracked[-1] for t in following.tracks.values()])
    for free, non_overlapping in zip(*kept, strict=True):
        assert free.logits.equal(non_overlapping.logits)
        assert free.features.equal(non_overlapping.features)


def test_a_single_object_excludes_nobody():
    logits = torch.tensor([[[-3.0, 2.0]]])
    assert suppress_overlap(logits) is logits
    assert suppress_overlap(logits[:0]).shape == (0, 1, 2)


def test_a_pixel_that_nobody_has_stays_background():
    logits = torch.tensor([[[-3.0]], [[-12.0]], [[-4.0]]])
    assert suppress_overlap(logits).flatten().tolist() == [-3, -12, -10]
