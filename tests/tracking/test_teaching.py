"""A person confirms or denies what was tracked, and the session remembers that."""

import numpy as np

from helpers.tracking_toy import ONE, RED, TWO, Blob, ColorSegmenter, video
from segment_concept.tracking.concept import Keyframe
from segment_concept.tracking.session import Session
from segment_concept.tracking.teaching import forget_frames, hold_keyframe
from segment_concept.tracking.tracker import Tracker

BLOB = Blob(RED, speed=1)
FRAMES = video(BLOB, length=12)


def tracked(keyframes: int = 3) -> Session:
    session = Session(Tracker(ColorSegmenter(), keyframes=keyframes))
    for frame in FRAMES[:6]:
        session.step(frame, {ONE: BLOB.mask(0)} if frame.index == 0 else {})
    return session


def bank(session: Session) -> list[int]:
    return [k.frame.index for k in session.banks[ONE].keyframes]


def remembered(session: Session) -> list[int]:
    return [m.frame_index for m in session.tracks[ONE][0].bank.tracked]


def test_a_confirmed_keyframe_is_not_pushed_out_by_newer_ones() -> None:
    session = tracked()
    hold_keyframe(session, ONE, FRAMES[2], BLOB.on(2))
    for index in (3, 4, 5):
        keyframe = Keyframe(FRAMES[index], BLOB.on(index))
        session.banks[ONE] = session.banks[ONE].add(keyframe)
    assert bank(session) == [0, 2, 5]


def test_of_more_confirmed_keyframes_than_fit_the_newest_are_held() -> None:
    session = tracked()
    for index in (1, 2, 3, 4):
        hold_keyframe(session, ONE, FRAMES[index], BLOB.on(index))
    assert bank(session) == [0, 3, 4]


def test_a_bank_of_one_keeps_the_first_keyframe() -> None:
    session = tracked(keyframes=1)
    hold_keyframe(session, ONE, FRAMES[2], BLOB.on(2))
    assert len(bank(session)) == 1


def test_an_empty_mask_is_no_keyframe() -> None:
    session = tracked()
    hold_keyframe(session, ONE, FRAMES[2], np.zeros_like(BLOB.on(2)))
    assert bank(session) == [0]


def test_denied_frames_leave_the_memory_and_the_bank() -> None:
    session = tracked()
    hold_keyframe(session, ONE, FRAMES[3], BLOB.on(3))
    forget_frames(session, ONE, range(3, 5))
    assert bank(session) == [0]
    assert not set(remembered(session)) & {3, 4}
    assert set(remembered(session)) & {1, 2, 5}


def test_memories_of_prompts_stay() -> None:
    session = tracked()
    forget_frames(session, ONE, range(0, 6))
    assert [m.frame_index for m in session.tracks[ONE][0].bank.prompted] == [0]
    assert bank(session) == [0]
    assert session.step(FRAMES[6]).mask(ONE).any()


def test_an_object_that_is_not_tracked_is_left_alone() -> None:
    session = tracked()
    forget_frames(session, TWO, range(9))
    hold_keyframe(session, TWO, FRAMES[1], BLOB.on(1))
    assert list(session.banks) == [ONE]
