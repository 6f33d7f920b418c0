import numpy as np
import pytest

from helpers.memory_cases import maps
from helpers.tracking_toy import (
    BLUE,
    EVERY_POLICY,
    GREEN,
    ONE,
    RED,
    TWO,
    Blob,
    ColorSegmenter,
    RotatingConcept,
    WatchedPolicy,
    flat,
    on,
    play,
    video,
)
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sam2long import TreeMemory
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import AnyOf, Every
from segment_concept.tracking.triggers.scene_change import HistogramShift
from segment_concept.types import Box, Frame, FrameResult, InputError, Mask, Prompt

BALL = Blob(RED, top=2, left=1, speed=1)
every_policy = pytest.mark.parametrize("policy", EVERY_POLICY, ids=lambda p: type(p).__name__)


def session(policy: MemoryPolicy | None = None) -> Session:
    return Tracker(ColorSegmenter(), policy or RecentMemory()).session()


def same(a: FrameResult, b: FrameResult) -> bool:
    """But for the frame's number and time."""
    return (
        a.object_ids == b.object_ids
        and a.logits.equal(b.logits)
        and a.presence.equal(b.presence)
        and a.quality.equal(b.quality)
        and (a.concept_queried, a.scene_change) == (b.concept_queried, b.scene_change)
    )


@every_policy
@pytest.mark.parametrize("prompt", [BALL.mask(0), Box(0, 0, 7, 8), on((2, 3))])
def test_an_object_shown_once_is_followed(policy, prompt):
    frames = video(BALL, Blob(BLUE, top=8))
    following = session(policy)
    shown = following.prompt(frames[0], {ONE: prompt})
    assert np.array_equal(shown.mask(ONE), BALL.on(0))
    for index, result in play(following, frames[1:]).items():
        assert result.object_ids == (ONE,)
        assert np.array_equal(result.mask(ONE), BALL.on(index))
        assert result.quality.tolist() == [1]
        assert result.presence.item() == pytest.approx(1 / (1 + np.exp(-7)))
        assert (result.concept_queried, result.scene_change) == (False, None)


def test_results_come_as_the_frames_do():
    frames = [Frame(f.index, f.rgb, seconds=f.index / 25) for f in video(BALL)]
    following = session()
    assert following.prompt(frames[0], {ONE: BALL.mask(0)}).seconds == 0
    source = iter(frames[1:])
    results = following.track(source)
    first = next(results)
    assert (first.frame_index, first.seconds) == (1, 1 / 25)
    assert next(source) is frames[2]


def test_logits_have_the_size_of_the_video():
    following = session()
    result = following.prompt(flat(RED, size=(12, 20)), {ONE: on((3, 3))})
    assert result.logits.shape == (1, 12, 20)


@pytest.mark.parametrize("policy", [RecentMemory(), ReliableMemory(), TreeMemory()], ids=repr)
def test_the_region_follows_the_previous_mask(policy):
    """The color fades by 4 a frame; it is looked for in the mean of the colors recalled."""
    fading = Blob(RED, top=2, drift=(-4, 0, 0))
    frames = video(fading, length=5)
    following = session(policy)
    following.prompt(frames[0], {ONE: fading.mask(0)})
    quality = [result.quality.item() for result in following.track(frames[1:])]
    # 4 from the prompted 0; 8 from the mean of 0 and 4; 12 from that of 0, 4, 8; ...
    assert quality == pytest.approx([1 - d / 40 for d in (4, 6, 8, 10)])


def test_an_object_that_is_hidden_has_an_empty_mask_and_is_found_again():
    ball = Blob(RED, speed=1, hidden=frozenset({4, 5, 6}))
    frames = video(ball)
    following = session()
    following.prompt(frames[0], {ONE: ball.mask(0)})
    results = play(following, frames[1:])
    assert [i for i, r in results.items() if not r.mask(ONE).any()] == [4, 5, 6]
    assert [i for i, r in results.items() if r.presence.item() < 0.5] == [4, 5, 6]
    assert (results[5].logits < -1000).all()
    assert np.array_equal(results[7].mask(ONE), ball.on(7))


@every_policy
def test_an_object_is_followed_backwards(policy):
    frames = video(BALL)
    following = session(policy)
    following.prompt(frames[8], {ONE: BALL.mask(8)})
    results = play(following, reversed(frames[:8]))
    assert list(results) == [7, 6, 5, 4, 3, 2, 1, 0]
    assert all(np.array_equal(r.mask(ONE), BALL.on(i)) for i, r in results.items())


@every_policy
def test_an_object_is_followed_in_both_directions_from_a_middle_frame(policy):
    fading = Blob(RED, top=2, left=3, speed=1, drift=(-2, 0, 0))
    frames = video(fading)
    following, backwards_only = session(policy), session(policy)
    following.prompt(frames[6], {ONE: fading.mask(6)})
    backwards_only.prompt(frames[6], {ONE: fading.mask(6)})
    forwards = play(following, frames[7:])
    backwards = play(following, reversed(frames[:6]))
    for index, result in (forwards | backwards).items():
        assert np.array_equal(result.mask(ONE), fading.on(index))
    if isinstance(policy, ReliableMemory):  # SAM 2 recalls the frames of the other direction too
        alone = play(backwards_only, reversed(frames[:6]))
        assert all(same(result, alone[index]) for index, result in backwards.items())


def test_which_way_the_video_is_played_can_be_said():
    frames = video(BALL)
    following = session()
    following.prompt(frames[4], {ONE: BALL.mask(4)})
    assert following.step(frames[6], backwards=True).object_ids == ()
    assert following.step(frames[2], backwards=False).object_ids == ()
    assert following.step(frames[2], backwards=True).object_ids == (ONE,)


@every_policy
def test_playing_backwards_is_the_mirror_image_of_playing_forwards(policy):
    """Every result and every recall, with an object added on the way and a concept asked."""
    last = 17
    fading = Blob(RED, top=0, left=2, speed=1, drift=(-2, 1, 0), hidden=frozenset({6, 7}))
    late = Blob(GREEN, top=6, speed=2, drift=(0, -2, 0), hidden=frozenset({2}))
    frames = video(fading, late, length=last + 1)
    mirrored = [Frame(last - f.index, f.rgb) for f in reversed(frames)]

    def run(order: list[Frame]) -> tuple[list[FrameResult], WatchedPolicy]:
        watched = WatchedPolicy(policy)
        trigger = AnyOf((HistogramShift(above=0.2, side=16), Every(4)))
        tracker = Tracker(ColorSegmenter(), watched, trigger, RotatingConcept((RED,)))
        following = tracker.session()
        results = [following.prompt(order[0], {ONE: fading.mask(last)})]
        results += following.track(order[1:5])
        results.append(following.prompt(order[5], {TWO: late.mask(last - 5)}))
        results += following.track(order[5:])
        return results, watched

    forwards, recalled = run(mirrored)
    backwards, recalled_backwards = run(frames[::-1])
    assert [last - r.frame_index for r in backwards] == [r.frame_index for r in forwards]
    assert all(same(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert any(r.concept_queried for r in forwards)
    assert all(r.object_ids == (ONE, TWO) for r in forwards[6:])
    ours, theirs = recalled.recalls, recalled_backwards.recalls
    for (position, recall), (reflected, reflection) in zip(ours, theirs, strict=True):
        assert reflected.backwards
        assert not position.backwards
        assert [(last - index, slot) for index, slot in maps(reflection)] == maps(recall)
        assert [p.distance for p in reflection.pointers] == [p.distance for p in recall.pointers]


@every_policy
def test_a_prompted_frame_played_again_returns_what_was_shown(policy):
    wrong = Mask(np.roll(BALL.on(3), 1, axis=0))
    frames = video(BALL)
    following = session(policy)
    following.prompt(frames[0], {ONE: BALL.mask(0)})
    play(following, frames[1:4])
    shown = following.prompt(frames[3], {ONE: wrong})
    tracks = following.tracks[ONE]
    again = following.step(frames[3])
    assert np.array_equal(again.mask(ONE), wrong.bitmap)
    assert same(again, shown)
    assert following.tracks[ONE] is tracks
    play(following, frames[4:])
    once_more = play(following, frames, backwards=False)
    assert same(once_more[3], shown)
    assert np.array_equal(once_more[0].mask(ONE), BALL.on(0))


def test_every_frame_is_encoded_once_even_where_it_is_prompted():
    frames = video(BALL)
    following = session()
    segmenter = following.tracker.segmenter
    following.prompt(frames[0], {ONE: BALL.mask(0)})
    play(following, frames[:6])
    following.prompt(frames[5], {ONE: BALL.mask(5)})
    play(following, frames[5:])
    assert segmenter.encoded == list(range(12))


def test_a_session_without_a_prompt_has_nothing_to_track():
    with pytest.raises(InputError, match="nothing to track: prompt an object first"):
        session().step(flat(RED))
    with pytest.raises(InputError, match="nothing to track"):
        next(session().track([flat(RED)]))


def test_an_empty_prompt_is_refused():
    with pytest.raises(InputError, match=r"no prompt was given: pass \{object_id: Mask \| Box"):
        session().prompt(flat(RED), {})


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Mask(np.ones((20, 12), np.bool_)), "the mask is 12x20 but frame 0 is 20x12"),
        (on((20, 3)), r"the point \(20, 3\) lies outside frame 0"),
        (Box(30, 0, 40, 5), "the box .* lies outside frame 0"),
    ],
)
def test_a_prompt_that_does_not_fit_its_frame_is_refused_and_nothing_is_lost(
    prompt: Prompt, message: str
):
    frames = video(BALL)
    following = session()
    with pytest.raises(InputError, match=message):
        following.prompt(frames[0], {ONE: BALL.mask(0), TWO: prompt})
    assert following.object_ids == ()
    assert following.previous is None
    following.prompt(frames[0], {ONE: BALL.mask(0)})
    assert np.array_equal(following.step(frames[1]).mask(ONE), BALL.on(1))


def test_a_frame_of_another_size_is_refused_and_nothing_is_lost():
    frames = video(BALL)
    following = session()
    following.prompt(frames[0], {ONE: BALL.mask(0)})
    message = "frame 1 is 9x7 but the video began with 20x12: resize it, or start a new session"
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            following.step(flat(RED, index=1, size=(7, 9)))
        with pytest.raises(InputError, match=message):
            following.prompt(flat(RED, index=1, size=(7, 9)), {TWO: on((1, 1))})
    assert np.array_equal(following.step(frames[1]).mask(ONE), BALL.on(1))
