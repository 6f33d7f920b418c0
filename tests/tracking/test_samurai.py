"""SAMURAI's rules: which mask is believed, and which frames are recalled."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from helpers.memory_cases import bad, bank, maps, pointers, remembered
from helpers.tracking_toy import (
    BLUE,
    ONE,
    RED,
    TWO,
    Blob,
    ColorSegmenter,
    flat,
    video,
)
from segment_concept.tracking.memory import Memory, Motion, PlaybackPosition, Track
from segment_concept.tracking.policies.base import Candidate
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.samurai import MotionMemory
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker

QUICK = MotionMemory(motion_weight=0.5, stable_frames_threshold=3)


def mask_at(x: int, iou: float, number: int = 0, y: int = 8) -> Candidate:
    """A square of 4x4 of the decoder's pixels; off the picture it is empty."""
    logits = torch.full((16, 64), -10.0)
    logits[y : y + 4, x : x + 4] = 10.0
    return Candidate(0, number, iou, 5.0, logits)


def follow(policy: MotionMemory, *frames: Sequence[Candidate]) -> list[Candidate]:
    """What is believed on frame after frame."""
    track, believed = Track(), []
    for candidates in frames:
        (best,) = policy.choose([track], candidates)
        track = replace(track, motion=best.motion)
        believed.append(best)
    return believed


def steadiness(believed: Sequence[Candidate]) -> list[int]:
    return [c.motion.stable_frames for c in believed if c.motion is not None]


def test_during_the_warm_up_the_mask_of_highest_iou_is_selected():
    jumping = [[mask_at(4, 0.6), mask_at(10 * n, 0.7, 1)] for n in range(1, 4)]
    believed = follow(QUICK, *jumping)
    assert [c.mask for c in believed] == [1, 1, 1]
    assert [c.motion_iou for c in believed] == [None, None, None]
    assert steadiness(believed) == [1, 2, 3]


def test_then_the_mask_where_the_object_was_heading_is():
    run = [[mask_at(4 + 2 * n, 0.8)] for n in range(6)]
    (*_, last) = follow(QUICK, *run, [mask_at(50, 0.9), mask_at(16, 0.6, 1), mask_at(4, 0.8, 2)])
    assert last.mask == 1
    assert last.motion_iou is not None
    assert last.motion_iou > 0.7
    (*_, by_iou) = follow(replace(QUICK, motion_weight=0.0), *run, [mask_at(50, 0.9), *run[5]])
    assert (by_iou.iou, by_iou.motion_iou) == (0.9, 0.0)


def test_the_first_of_masks_that_are_equal_by_both_measures_is_selected():
    (*_, last) = follow(QUICK, *[[mask_at(4, 0.8)]] * 4, [mask_at(4, 0.8, n) for n in range(3)])
    assert last.mask == 0


def test_an_unreliable_mask_resets_the_filter():
    """As published: it begins again on the next frame, even with a mask as bad as this one."""
    good, poor = [mask_at(4, 0.8)], [mask_at(30, 0.2)]
    believed = follow(QUICK, good, good, good, poor, poor, good)
    assert steadiness(believed) == [1, 2, 3, 0, 1, 2]
    restarted = believed[4].motion
    assert restarted is not None
    assert restarted.kalman.mean[:4].tolist() == [127.5, 39.5, 1.0, 15.0]


def test_while_it_warms_up_too():
    good, poor = [mask_at(4, 0.8)], [mask_at(30, 0.2)]
    assert steadiness(follow(QUICK, good, poor, good, good)) == [1, 0, 1, 2]


def test_an_iou_of_exactly_the_threshold_counts_only_after_the_warm_up():
    """As published: the two comparisons are not the same."""
    edge = replace(QUICK, stable_iou_threshold=0.5)
    assert steadiness(follow(edge, *[[mask_at(4, 0.5)]] * 3)) == [1, 0, 1]
    good = [mask_at(4, 0.75)]
    assert steadiness(follow(edge, good, good, good, [mask_at(4, 0.5)])) == [1, 2, 3, 3]


def test_boxes_are_measured_on_the_input_of_the_network():
    """Four pixels of it a side; enlarged smoothly, an edge lies between two pixels."""
    (believed,) = follow(QUICK, [mask_at(10, 0.8)])
    assert believed.motion is not None
    assert believed.motion.kalman.corners == (40, 32, 55, 47)


def test_an_empty_mask_is_fed_to_the_filter_as_a_box_at_the_origin():
    (believed,) = follow(QUICK, [mask_at(64, 0.8)])
    assert believed.motion is not None
    assert believed.motion.kalman.mean.tolist() == [0, 0, 0, 1, 0, 0, 0, 0]


def missed(index: int) -> Memory:
    return replace(remembered(index), motion=0.0)


def motion_iou(index: int) -> Memory:
    return replace(remembered(index), motion=0.4)


def test_maps_are_those_of_good_frames_that_met_the_forecast_by_rank():
    tracked = [
        remembered(1),
        motion_iou(2),
        missed(3),
        motion_iou(4),
        bad(5),
        remembered(6),
        missed(7),
        motion_iou(8),
    ]
    recall = MotionMemory().recall(bank([0], tracked), PlaybackPosition(9))
    assert maps(recall) == [(0, 6), (2, 3), (4, 2), (6, 1), (8, 0)]


def test_the_previous_frame_is_recalled_however_bad_it_was():
    recall = MotionMemory(slots=4).recall(bank([0], [1, 2, 3, 4, missed(5)]), PlaybackPosition(6))
    assert maps(recall) == [(0, 3), (3, 2), (4, 1), (5, 0)]


def test_the_first_frame_after_the_prompt_is_recalled_only_while_it_is_the_previous_one():
    """As published: the release never looks at frame 1."""
    policy = MotionMemory()
    assert maps(policy.recall(bank([7], [8]), PlaybackPosition(9))) == [(7, 6), (8, 0)]
    assert maps(policy.recall(bank([7], [8, 9]), PlaybackPosition(10))) == [(7, 6), (9, 0)]
    backwards = policy.recall(bank([7], [6, 5, 4]), PlaybackPosition(3, backwards=True))
    assert maps(backwards) == [(7, 6), (5, 1), (4, 0)]


@pytest.mark.parametrize(
    ("memory", "recalled"),
    [
        (remembered(5, iou=0.5), False),
        (remembered(5, iou=0.51), True),
        (remembered(5, presence=0.0), False),
        (replace(remembered(5), motion=1e-9), True),
    ],
)
def test_the_thresholds_are_strict(memory, recalled):
    recall = MotionMemory().recall(bank([0], [1, memory, 6]), PlaybackPosition(7))
    assert (5 in dict(maps(recall))) is recalled


def test_pointers_are_those_of_sam_2_and_nothing_is_hidden_that_is_nearly_visible():
    known = bank([0], [1, bad(2), missed(3), *range(4, 20)])
    recall = MotionMemory().recall(known, PlaybackPosition(20))
    assert pointers(recall) == pointers(RecentMemory().recall(known, PlaybackPosition(20)))
    assert recall.horizon == 15
    assert recall.presence_threshold == -1


def motion_of(session: Session, object_id: int) -> Motion:
    motion = session.tracks[object_id][0].motion
    assert motion is not None
    return motion


RUNNER, OTHER = Blob(RED, speed=1), Blob(BLUE, top=8, left=14, speed=-1)


def begin(*blobs: Blob, at: int = 0) -> Session:
    session = Tracker(ColorSegmenter(), MotionMemory()).session()
    frame = video(*blobs)[at]
    session.prompt(frame, {[ONE, TWO][n]: blob.mask(at) for n, blob in enumerate(blobs)})
    return session


def test_every_object_of_every_session_has_its_own_motion():
    frames = video(RUNNER, OTHER)[1:8]
    together, alone = begin(RUNNER, OTHER), begin(RUNNER)
    list(together.track(frames))
    list(alone.track(video(RUNNER)[1:4]))
    rate = {i: motion_of(together, i).kalman.mean[4] for i in (ONE, TWO)}
    assert rate[ONE] > 3  # pixels of the network's input a frame
    assert rate[TWO] < -3
    assert (motion_of(together, ONE).stable_frames, motion_of(alone, ONE).stable_frames) == (7, 3)


def test_objects_move_as_they_would_alone():
    frames = video(RUNNER, OTHER)[1:8]
    together, alone = begin(RUNNER, OTHER), begin(RUNNER)
    list(together.track(frames))
    list(alone.track(frames))
    belief = motion_of(alone, ONE).kalman
    assert motion_of(together, ONE).kalman.mean.tolist() == belief.mean.tolist()


def test_the_filter_begins_on_the_first_frame_after_a_prompt():
    session = begin(RUNNER)
    frames = video(RUNNER)
    assert session.tracks[ONE][0].motion is None
    list(session.track(frames[1:5]))
    session.prompt(frames[5], {ONE: RUNNER.mask(5)})
    assert session.tracks[ONE][0].motion is None
    session.step(frames[6])
    assert motion_of(session, ONE).stable_frames == 1


def test_an_object_is_followed_backwards():
    session = begin(RUNNER, at=9)
    results = list(session.track(video(RUNNER)[8:2:-1]))
    assert [(r.mask(ONE) == RUNNER.on(r.frame_index)).all() for r in results] == [True] * 6
    assert motion_of(session, ONE).stable_frames == 6
    assert motion_of(session, ONE).kalman.mean[4] < -3


def test_the_filter_restarts_when_playback_turns():
    session = begin(RUNNER, at=5)
    frames = video(RUNNER)
    list(session.track(frames[6:10]))
    assert motion_of(session, ONE).stable_frames == 4
    session.step(frames[4], backwards=True)
    assert motion_of(session, ONE).stable_frames == 1


def test_frames_that_were_left_out_do_not_stop_it():
    session = begin(RUNNER)
    list(session.track(video(RUNNER)[2::2]))
    assert motion_of(session, ONE).stable_frames == 5


def test_an_object_that_disappeared_is_found_again():
    hidden = replace(RUNNER, hidden=frozenset(range(4, 8)))
    session = begin(hidden)
    results = list(session.track(video(hidden)[1:]))
    assert [bool(r.mask(ONE).any()) for r in results] == [
        n not in hidden.hidden for n in range(1, 12)
    ]


def test_a_stream_is_followed_in_bounded_memory():
    session = begin(RUNNER)
    for index in range(1, 120):
        session.step(flat(RED, index))
    assert len(session.tracks[ONE][0].bank.tracked) <= 40


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slots": 0}, "slots and pointers are at least 1"),
        ({"motion_weight": 1.1}, r"motion_weight is a score in \[0, 1\], got 1.1"),
        ({"min_iou": -0.1}, "min_iou is a score"),
        ({"stable_frames_threshold": 0}, "stable_frames_threshold is at least 1 frame, got 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MotionMemory(**settings)
