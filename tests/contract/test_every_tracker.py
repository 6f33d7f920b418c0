"""What `TrackingSession` promises, asked of every tracker there is.

Trackers: each memory policy on a segmenter that follows colors and on the bundled network, and
Cutie and XMem with few random weights. Where the objects really are is asked of the first kind
alone: it is the only one whose answers are known beforehand.
"""

from collections.abc import Iterator
from functools import cache, lru_cache

import numpy as np
import pytest

from helpers.propagation_toys import blue, endless, red, toy_cutie, toy_xmem, video
from helpers.tracking_toy import EVERY_POLICY, forgetful
from segment_concept.checkpoints.compact import load_compact
from segment_concept.checkpoints.load import bundled_weights
from segment_concept.pipeline.memory_usage import session_nbytes
from segment_concept.tracking.api import VideoTracker
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Frame, FrameResult, InputError, Mask, ObjectId

ONE, TWO = ObjectId(1), ObjectId(2)
SMALL = (24, 32)
POLICIES = {type(policy).__name__: policy for policy in EVERY_POLICY}
COLOR = [f"color-{name}" for name in POLICIES]
COMPACT = [f"compact-{name}" for name in POLICIES]
EVERY = [*COLOR, *COMPACT, "cutie", "xmem"]
every_tracker = pytest.mark.parametrize("name", EVERY)


@lru_cache(maxsize=1)
def compact_segmenter():
    return load_compact(bundled_weights(), short_side=64)


@cache
def make(name: str) -> VideoTracker:
    if name == "cutie":
        return toy_cutie()
    if name == "xmem":
        return toy_xmem()
    kind, policy = name.split("-")
    return Tracker(forgetful() if kind == "color" else compact_segmenter(), POLICIES[policy])


def check(result: FrameResult, frame: Frame, *ids: ObjectId) -> FrameResult:
    """It is of these objects, of this frame and in its range."""
    assert result.object_ids == ids
    assert result.frame_index == frame.index
    assert result.logits.shape == (len(ids), *frame.size)
    assert bool(result.logits.isfinite().all())
    for scores in (result.presence, result.quality):
        assert scores.shape == (len(ids),)
        assert bool(((scores >= 0) & (scores <= 1)).all())
    return result


def overlap(a, b) -> float:
    return float((a & b).sum() / (a | b).sum())


def same(a: FrameResult, b: FrameResult) -> bool:
    pairs = ((a.logits, b.logits), (a.presence, b.presence), (a.quality, b.quality))
    return a.object_ids == b.object_ids and all(bool((x == y).all()) for x, y in pairs)


def gray(index: int, size: tuple[int, int]) -> Frame:
    return Frame(index, np.full((*size, 3), 128, np.uint8))


@every_tracker
def test_several_objects_are_followed_in_the_order_in_which_they_were_shown(name):
    frames = video(4)
    session = make(name).session()
    shown = session.prompt(frames[0], {TWO: blue(frames[0]), ONE: red(frames[0])})
    check(shown, frames[0], TWO, ONE)
    assert session.object_ids == (TWO, ONE)
    for frame, result in zip(frames[1:], session.track(frames[1:]), strict=True):
        check(result, frame, TWO, ONE)
    if name in COLOR:
        assert overlap(result.mask(ONE), red(frames[3]).bitmap) > 0.9
        assert overlap(result.mask(TWO), blue(frames[3]).bitmap) > 0.9


@every_tracker
def test_a_given_mask_is_what_the_object_is_on_its_frame(name):
    frame = video(1)[0]
    result = make(name).session().prompt(frame, {ONE: red(frame)})
    assert overlap(result.mask(ONE), red(frame).bitmap) > 0.7


@every_tracker
def test_an_object_may_come_late(name):
    frames = video(6)
    session = make(name).session()
    session.prompt(frames[0], {ONE: red(frames[0])})
    for frame in frames[1:4]:
        check(session.step(frame), frame, ONE)
    check(session.prompt(frames[3], {TWO: blue(frames[3])}), frames[3], TWO)
    for frame in frames[4:]:
        result = check(session.step(frame), frame, ONE, TWO)
    if name in COLOR:
        assert overlap(result.mask(TWO), blue(frames[5]).bitmap) > 0.9


@every_tracker
def test_a_step_with_prompts_tracks_first_and_then_adds_and_corrects(name):
    frames = video(5)
    one, two = make(name).session(), make(name).session()
    first = one.step(frames[0], {ONE: red(frames[0])})
    assert same(first, two.prompt(frames[0], {ONE: red(frames[0])}))
    for frame in frames[1:3]:
        assert same(one.step(frame), two.step(frame))
    both = {TWO: blue(frames[3]), ONE: red(frames[3])}
    result = check(one.step(frames[3], both), frames[3], TWO, ONE)
    two.step(frames[3])
    assert same(result, two.prompt(frames[3], both))
    assert one.object_ids == (ONE, TWO)
    assert same(one.step(frames[4]), two.step(frames[4]))


@every_tracker
def test_a_step_with_a_prompt_returns_all_objects(name):
    frames = video(3)
    session = make(name).session()
    session.step(frames[0], {ONE: red(frames[0])})
    check(session.step(frames[1], {TWO: blue(frames[1])}), frames[1], ONE, TWO)
    check(session.step(frames[2]), frames[2], ONE, TWO)


@every_tracker
def test_a_prompt_that_does_not_fit_changes_nothing(name):
    frames = video(3)
    session, other = make(name).session(), make(name).session()
    for each in (session, other):
        each.step(frames[0], {ONE: red(frames[0])})
    with pytest.raises(InputError, match="object 2: the mask is 3x2"):
        session.step(frames[1], {TWO: Mask(np.ones((2, 3), bool))})
    assert same(session.step(frames[1]), other.step(frames[1]))


@every_tracker
def test_prefetching_changes_no_result(name):
    frames = video(4)
    prompts = {0: {ONE: red(frames[0])}, 2: {TWO: blue(frames[2])}}
    plain = list(make(name).session().track(frames, prompts))
    ahead = list(make(name).session().track(iter(frames), prompts, prefetch=2))
    assert all(map(same, plain, ahead))
    assert [r.object_ids for r in ahead] == [(ONE,), (ONE,), (ONE, TWO), (ONE, TWO)]


@every_tracker
def test_an_object_may_be_removed_and_shown_again(name):
    frames = video(7)
    session = make(name).session()
    session.prompt(frames[0], {ONE: red(frames[0]), TWO: blue(frames[0])})
    session.step(frames[1])
    session.remove(ONE)
    assert session.object_ids == (TWO,)
    with pytest.raises(KeyError, match="object 1 is not tracked"):
        session.remove(ONE)
    check(session.step(frames[2]), frames[2], TWO)
    session.remove(TWO)
    with pytest.raises(InputError, match="nothing to track"):
        session.step(frames[3])
    check(session.prompt(frames[4], {ONE: blue(frames[4])}), frames[4], ONE)
    for frame in frames[5:]:
        result = check(session.step(frame), frame, ONE)
    if name in COLOR:
        assert overlap(result.mask(ONE), blue(frames[6]).bitmap) > 0.9


@every_tracker
def test_frames_may_come_backwards(name):
    frames = video(5)
    session = make(name).session()
    session.prompt(frames[4], {ONE: red(frames[4]), TWO: blue(frames[4])})
    for frame in reversed(frames[:4]):
        result = check(session.step(frame), frame, ONE, TWO)
    if name in COLOR:
        assert overlap(result.mask(ONE), red(frames[0]).bitmap) > 0.9


@pytest.mark.parametrize("name", COLOR)
def test_an_object_is_awaited_through_a_hundred_frames_without_it(name):
    frames = video(110, SMALL)
    session = make(name).session()
    session.prompt(frames[0], {ONE: red(frames[0])})
    for frame in frames[1:5]:
        session.step(frame)
    for index in range(5, 105):
        away = check(session.step(gray(index, SMALL)), gray(index, SMALL), ONE)
    for frame in frames[105:]:
        back = check(session.step(frame), frame, ONE)
    assert not away.mask(ONE).any()
    assert overlap(back.mask(ONE), red(frames[109]).bitmap) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", [*COLOR, "cutie", "xmem"])
def test_a_stream_of_two_thousand_frames_is_followed_in_bounded_memory(name):
    tracker = make(name)
    session = tracker.session()
    largest = {}
    for frame in endless(2000, SMALL):
        if frame.index == 0:
            session.prompt(frame, {ONE: red(frame), TWO: blue(frame)})
        session.step(frame)
        if frame.index % 10 == 9:
            half = frame.index // 1000
            largest[half] = max(largest.get(half, 0), session_nbytes(session, tracker))
    assert 0 < largest[1] <= 1.02 * largest[0]


@every_tracker
@pytest.mark.parametrize("size", [(37, 53), (53, 37), (8, 9), (20, 96)], ids=str)
def test_frames_have_any_size(name, size):
    frames = video(3, size)
    session = make(name).session()
    check(session.prompt(frames[0], {ONE: red(frames[0])}), frames[0], ONE)
    for frame in frames[1:]:
        check(session.step(frame), frame, ONE)


@every_tracker
@pytest.mark.parametrize("level", [0, 128, 255])
def test_frames_may_show_nothing_but_one_gray(name, level):
    frames = [Frame(i, np.full((*SMALL, 3), level, np.uint8)) for i in range(3)]
    session = make(name).session()
    session.prompt(frames[0], {ONE: red(frames[0])})
    for frame in frames[1:]:
        check(session.step(frame), frame, ONE)


@every_tracker
def test_two_sessions_at_once_share_nothing(name):
    tracker, frames = make(name), video(6)

    def run(show) -> Iterator[FrameResult]:
        session = tracker.session()
        yield session.prompt(frames[0], {ONE: show(frames[0])})
        yield from session.track(frames[1:])

    alone = list(run(red)), list(run(blue))
    for number, pair in enumerate(zip(run(red), run(blue), strict=True)):
        assert same(pair[0], alone[0][number])
        assert same(pair[1], alone[1][number])


@every_tracker
def test_an_untrackable_frame_is_refused_and_the_session_continues(name):
    frames = video(3)
    session = make(name).session()
    with pytest.raises(InputError, match="prompt an object first"):
        session.step(frames[0])
    with pytest.raises(InputError, match="the mask is 32x24 but frame 0 is 64x48"):
        session.prompt(frames[0], {ONE: red(video(1, SMALL)[0])})
    for number in (0, -1):
        with pytest.raises(InputError, match=f"object {number}: objects are numbered from 1"):
            session.prompt(frames[0], {ONE: red(frames[0]), number: blue(frames[0])})
    assert session.object_ids == ()
    session.prompt(frames[0], {ONE: red(frames[0])})
    with pytest.raises(InputError, match="the video began with 64x48"):
        session.step(video(2, SMALL)[1])
    check(session.step(frames[1]), frames[1], ONE)
