from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from helpers.tracking_toy import (
    BLUE,
    GREEN,
    ONE,
    RED,
    THREE,
    TWO,
    Blob,
    ColorSegmenter,
    RotatingConcept,
    flat,
    on,
    play,
    video,
)
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import (
    AnyOf,
    AtFrames,
    Every,
    FrameDescriptor,
    LowQuality,
    Never,
    Trigger,
    TriggerContext,
    TriggerDecision,
)
from segment_concept.tracking.triggers.scene_change import HistogramShift, fast_hsv, published_hsv
from segment_concept.types import Frame, InputError

BALL = Blob(RED, top=0, left=1, speed=1)
CUT = 6
COLORS, TOPS = (RED, GREEN, BLUE), (0, 4, 8)


def at(*frames: int) -> AtFrames:
    return AtFrames(frozenset(frames))


def session(trigger: Trigger, concept: RotatingConcept | None = None, **settings) -> Session:
    concept = concept or RotatingConcept()
    return Tracker(ColorSegmenter(), trigger=trigger, concept=concept, **settings).session()


def cut_video() -> list[Frame]:
    """Three squares; after the cut each has the color that another one had before."""
    before, after = frozenset(range(CUT)), frozenset(range(CUT, 12))
    here = [Blob(c, top, hidden=after) for c, top in zip(COLORS, TOPS, strict=True)]
    turned = [tuple(np.roll(c, -1).tolist()) for c in COLORS]
    there = [Blob(c, top, left=9, hidden=before) for c, top in zip(turned, TOPS, strict=True)]
    return video(*here, *there)


def after_cut(number: int) -> np.ndarray:
    return Blob(RED, TOPS[number], left=9).on(CUT)


@dataclass
class Counted:
    """A trigger that writes down what it was asked and at which frames it looked."""

    inner: Trigger
    looked: list[int] = field(default_factory=list)
    glances: list[TriggerContext] = field(default_factory=list)

    def describe(self, frame: Frame) -> FrameDescriptor:
        self.looked.append(frame.index)
        return self.inner.describe(frame)

    def decide(self, context: TriggerContext) -> TriggerDecision:
        self.glances.append(context)
        return self.inner.decide(context)


def test_presence_is_lowered_by_the_margin_where_the_concept_is_queried():
    concept = RotatingConcept()
    frames = cut_video()
    found = []
    for margin in (0.0, 2.5):
        tracker = session(AnyOf((Every(4), at(CUT))), concept).tracker
        following = replace(tracker, concept_margin=margin).session()
        following.prompt(frames[0], {ONE: Blob(RED).mask(0)})
        found.append(play(following, frames[1:]))
    assert 1 < sum(result.concept_queried for result in found[0].values()) < len(found[0])
    for index, plain in found[0].items():
        lowered = plain.presence.logit() - found[1][index].presence.logit()
        expected = torch.tensor([2.5 if plain.concept_queried else 0.0])
        torch.testing.assert_close(lowered, expected, atol=1e-2, rtol=0)


def test_the_concept_encoder_is_queried_once_for_all_objects_and_each_gets_its_own_concept():
    frames = cut_video()
    concept = RotatingConcept()
    following = session(at(CUT), concept)
    shown = {i: Blob(c, t).mask(0) for i, c, t in zip((THREE, ONE, TWO), COLORS, TOPS, strict=True)}
    following.prompt(frames[0], shown)
    results = play(following, frames[1:])
    assert concept.queried == [(CUT, [[0], [0], [0]])]
    assert [i for i, r in results.items() if r.concept_queried] == [CUT]
    for number, object_id in enumerate((THREE, ONE, TWO)):
        assert np.array_equal(results[CUT].mask(object_id), after_cut(number))


def test_without_a_concept_the_colors_of_before_are_followed():
    """What the test above would see if concepts did not reach the network."""
    frames = cut_video()
    following = session(Never())
    following.prompt(frames[0], {ONE: Blob(RED).mask(0)})
    # Blue turns into red: it is the object of the third square that is red now.
    turned = next(n for n, c in enumerate(COLORS) if tuple(np.roll(c, -1)) == RED)
    assert np.array_equal(play(following, frames[1:])[CUT].mask(ONE), after_cut(turned))


def test_concepts_go_to_no_other_frame():
    following = session(at(3, 5))
    frames = video(BALL)
    following.prompt(frames[0], {ONE: BALL.mask(0)})
    play(following, frames[1:])
    given = [call.concepts[0] is not None for call in following.tracker.segmenter.proposed]
    assert given == [index in (3, 5) for index in range(1, 12)]


def test_an_object_without_a_usable_concept_is_tracked_without_one():
    frames = cut_video()
    following = session(at(CUT), RotatingConcept(unknown=(RED,)))
    following.prompt(frames[0], {ONE: Blob(RED).mask(0), TWO: Blob(GREEN, top=4).mask(0)})
    result = play(following, frames[1 : CUT + 1])[CUT]
    assert result.concept_queried
    assert [c is None for c in following.tracker.segmenter.proposed[-1].concepts] == [True, False]
    assert np.array_equal(result.mask(TWO), after_cut(1))


def test_only_tracked_objects_are_queried():
    late = Blob(GREEN, top=4, left=3)
    frames = video(BALL, late)
    concept = RotatingConcept()
    following = session(at(0, 4, 5, 7), concept)
    following.prompt(frames[0], {ONE: BALL.mask(0)})
    assert not following.step(frames[0]).concept_queried
    following.prompt(frames[5], {TWO: late.mask(5)})
    play(following, frames[1:], backwards=False)
    assert [(index, len(keyframes)) for index, keyframes in concept.queried] == [
        (4, 1),
        (5, 1),  # the other one was shown on this frame
        (7, 2),
    ]


def test_a_queried_frame_joins_the_bank_if_the_object_is_clearly_present():
    """On 4 it is hidden; on 6 only a column is seen, whose presence logit is 4 / 2 - 1 = 1."""
    ball = Blob(RED, left=4, hidden=frozenset({4}))
    never = frozenset(range(20))
    three_columns = Blob((0, 0, 0), left=5, hidden=never - {6})
    two_columns = Blob((0, 0, 0), left=6, hidden=never - {8})
    frames = video(ball, three_columns, two_columns)
    concept = RotatingConcept(unknown=(RED,))
    following = session(at(2, 4, 6, 8, 10), concept)
    following.prompt(frames[0], {ONE: ball.mask(0)})
    results = play(following, frames[1:])
    assert results[6].mask(ONE).sum() == 4
    assert torch.equal(results[6].presence, torch.tensor([1.0]).sigmoid())
    assert results[8].mask(ONE).sum() == 8
    keyframes = following.banks[ONE].keyframes
    assert [k.frame.index for k in keyframes] == [0, 2, 8, 10]
    assert np.array_equal(keyframes[2].mask, results[8].mask(ONE))
    assert keyframes[2].frame is frames[8]
    # A frame joins after it was asked about: it is not among its own keyframes.
    assert concept.queried == [
        (2, [[0]]),
        (4, [[0, 2]]),
        (6, [[0, 2]]),
        (8, [[0, 2]]),
        (10, [[0, 2, 8]]),
    ]


def test_the_confidence_needed_for_a_keyframe_can_be_set():
    frames = video(BALL)
    following = session(at(3), keyframe_presence=7.0)  # 16 pixels: 16 / 2 - 1
    following.prompt(frames[0], {ONE: BALL.mask(0)})
    play(following, frames[1:])
    assert [k.frame.index for k in following.banks[ONE].keyframes] == [0]


@pytest.mark.parametrize(
    ("size", "kept"), [(1, [0]), (2, [0, 11]), (7, [0, 6, 7, 8, 9, 10, 11]), (30, list(range(12)))]
)
def test_the_bank_has_the_requested_size(size, kept):
    frames = video(BALL)
    following = session(Every(1), RotatingConcept((RED,)), keyframes=size)
    following.prompt(frames[0], {ONE: BALL.mask(0)})
    play(following, frames[1:])
    assert [k.frame.index for k in following.banks[ONE].keyframes] == kept


def test_a_result_says_which_keyframes_its_frame_left_in_each_bank():
    frames = video(BALL, Blob(GREEN, top=6, hidden=frozenset({5})))
    following = session(at(2, 5), RotatingConcept((RED, GREEN)))
    shown = following.prompt(frames[0], {ONE: BALL.mask(0), TWO: Blob(GREEN, top=6).mask(0)})
    assert shown.keyframes == ((0,), (0,))
    results = play(following, frames[1:])
    assert [results[i].keyframes for i in (1, 2, 4)] == [((0,), (0,)), *[((0, 2), (0, 2))] * 2]
    assert results[5].keyframes == results[11].keyframes == ((0, 2, 5), (0, 2))


def test_frames_that_are_shown_are_keyframes_and_replaced_when_shown_again():
    frames = video(BALL)
    following = session(at(2), RotatingConcept((RED,)))
    following.prompt(frames[0], {ONE: BALL.mask(0)})
    play(following, frames[1:6])
    for index in (5, 2, 0):
        corrected = following.prompt(frames[index], {ONE: on((BALL.left + index + 1, 1))})
        assert [k.frame.index for k in following.banks[ONE].keyframes] == [0, 2, 5]
        (keyframe,) = (k for k in following.banks[ONE].keyframes if k.frame.index == index)
        assert np.array_equal(keyframe.mask, corrected.mask(ONE))


def test_every_third_frame_is_every_third_frame():
    frames = video(BALL)
    following = session(Every(3), RotatingConcept((RED,)))
    following.prompt(frames[0], {ONE: BALL.mask(0)})
    results = play(following, frames[1:])
    assert [i for i, r in results.items() if r.concept_queried] == [3, 6, 9]


def test_frames_are_counted_from_the_last_query_of_any_trigger():
    frames = video(BALL)
    following = session(AnyOf((Every(4), at(5))), RotatingConcept((RED,)))
    following.prompt(frames[0], {ONE: BALL.mask(0)})
    results = play(following, frames[1:])
    assert [i for i, r in results.items() if r.concept_queried] == [4, 5, 9]


@pytest.mark.parametrize("trigger", [published_hsv(), fast_hsv()])
def test_the_distance_to_the_previous_frame_is_reported_on_every_frame(trigger):
    frames = [flat(RED, 0), flat(RED, 1), flat(BLUE, 2), flat(BLUE, 3)]
    following = session(trigger)
    shown = following.prompt(frames[0], {ONE: on((3, 3))})
    assert (shown.scene_change, shown.concept_queried) == (None, False)
    results = play(following, frames[1:])
    assert [r.scene_change for r in results.values()] == [0, 1, 0]
    assert [r.concept_queried for r in results.values()] == [False, True, False]


def test_triggers_that_do_not_look_report_no_distance():
    frames = video(BALL)
    following = session(Every(2))
    following.prompt(frames[0], {ONE: BALL.mask(0)})
    assert {r.scene_change for r in play(following, frames[1:]).values()} == {None}


def test_played_backwards_a_frame_is_compared_with_the_one_processed_before_it():
    """The release compares with index - 1, and so fires one frame late and before the cut."""
    frames = [flat(RED if i < 3 else BLUE, i) for i in range(6)]
    following = session(HistogramShift(side=16))
    following.prompt(frames[5], {ONE: on((3, 3))})
    results = play(following, reversed(frames[:5]))
    assert {i: r.scene_change for i, r in results.items()} == {4: 0, 3: 0, 2: 1, 1: 0, 0: 0}
    assert [i for i, r in results.items() if r.concept_queried] == [2]


def test_played_backwards_a_cut_is_met_on_the_last_frame_of_the_shot_before():
    frames = video(BALL)
    following = session(Counted(at(4, 9)), RotatingConcept((RED,)))
    following.prompt(frames[11], {ONE: BALL.mask(11)})
    results = play(following, frames[10::-1])
    assert [i for i, r in results.items() if r.concept_queried] == [8, 3]
    glances = following.tracker.trigger.glances
    assert [g.queried_before for g in glances] == [i < 8 for i in range(10, -1, -1)]
    assert all(set(g.states) == {ONE} and g.backwards for g in glances)


def test_frames_left_out_are_not_compared_with():
    frames = [flat(RED, 0), flat(BLUE, 1), flat(RED, 2), flat(BLUE, 3)]
    following = session(HistogramShift(side=16))
    following.prompt(frames[0], {ONE: on((3, 3))})
    assert following.step(frames[2]).scene_change == 0
    assert following.step(frames[3]).scene_change == 1


def test_every_frame_is_described_once():
    frames = video(BALL)
    trigger = Counted(HistogramShift(side=16))
    following = session(trigger)
    following.prompt(frames[0], {ONE: BALL.mask(0)})
    play(following, frames[:6])
    following.prompt(frames[5], {ONE: BALL.mask(5)})
    play(following, frames[5:])
    assert trigger.looked == list(range(12))


def test_a_trigger_gets_the_result_of_every_object_on_the_previous_frame():
    frames = video(BALL, Blob(GREEN, top=6, drift=(0, -5, 0)), length=5)
    trigger = Counted(LowQuality())
    following = session(trigger)
    following.prompt(frames[0], {ONE: BALL.mask(0), TWO: Blob(GREEN, top=6).mask(0)})
    play(following, frames[1:])
    # The green one is 5 from its prompt on frame 1, then 7.5 and 10 from the mean of its past.
    worst = [1, 1 - 5 / 40, 1 - 7.5 / 40, 1 - 10 / 40]
    assert [g.states[TWO].iou for g in trigger.glances] == pytest.approx(worst)
    assert [g.states[ONE].presence for g in trigger.glances] == pytest.approx([7] * 4)


def test_only_the_uncertain_object_is_queried_and_gets_a_keyframe():
    frames = video(BALL, Blob(GREEN, top=6, hidden=frozenset({3, 4, 5})))
    concept = RotatingConcept((RED, GREEN))
    following = session(LowQuality(), concept)
    following.prompt(frames[0], {ONE: BALL.mask(0), TWO: Blob(GREEN, top=6).mask(0)})
    results = play(following, frames[1:])
    assert [i for i, r in results.items() if r.concept_queried] == [4, 5, 6]
    assert concept.queried == [(4, [[0]]), (5, [[0]]), (6, [[0]])]
    assert [list(k) for k in results[11].keyframes] == [[0], [0, 6]]


def test_a_result_says_that_its_frame_begins_a_shot():
    frames = [flat(RED if i < 3 else BLUE, i) for i in range(6)]
    following = session(HistogramShift(side=16))
    following.prompt(frames[0], {ONE: on((3, 3))})
    assert [i for i, r in play(following, frames[1:]).items() if r.cut] == [3]


def test_correcting_one_object_does_not_hide_how_bad_another_is():
    frames = video(BALL, Blob(GREEN, top=6, hidden=frozenset({3, 4, 5})))
    following = session(LowQuality(), RotatingConcept((RED, GREEN)))
    following.prompt(frames[0], {ONE: BALL.mask(0), TWO: Blob(GREEN, top=6).mask(0)})
    play(following, frames[1:4])
    following.prompt(frames[3], {ONE: BALL.mask(3)})
    assert following.step(frames[4]).concept_queried


def test_a_removed_object_is_never_queried():
    frames = video(BALL, Blob(GREEN, top=6, hidden=frozenset({3, 4, 5})))
    following = session(LowQuality())
    following.prompt(frames[0], {ONE: BALL.mask(0), TWO: Blob(GREEN, top=6).mask(0)})
    play(following, frames[1:4])
    following.remove(TWO)
    assert not following.step(frames[4]).concept_queried


@pytest.mark.parametrize("trigger", [published_hsv(), Every(5), AnyOf((Never(), at(3)))])
def test_a_trigger_without_a_concept_encoder_is_refused(trigger):
    with pytest.raises(InputError, match="there is no concept encoder that"):
        Tracker(ColorSegmenter(), trigger=trigger)
    assert Tracker(ColorSegmenter(), trigger=Never()).concept is None


def test_a_tracker_needs_room_for_a_keyframe():
    with pytest.raises(ValueError, match="at least 1 keyframe, got 0"):
        Tracker(ColorSegmenter(), keyframes=0)


def test_an_object_that_was_denied_returns_only_if_its_concept_is_found():
    """The concept is blue. Red, which memory follows, returns first; blue two frames later."""
    gone, late = frozenset({CUT, CUT + 1}), frozenset(range(CUT + 4))
    red = Blob(RED, top=0, left=1, hidden=gone)
    blue = Blob(tuple(np.roll(RED, -1).tolist()), top=8, left=9, hidden=late)
    frames = video(red, blue)
    seen = {}
    for margin in (None, 0.0):
        concept = RotatingConcept()
        following = session(at(CUT), concept, concept_margin=margin)
        following.prompt(frames[0], {ONE: red.mask(0)})
        results = play(following, frames[1 : CUT + 5])
        asked = [index for index, _ in concept.queried]
        assert asked == [index for index, r in results.items() if r.concept_queried]
        seen[margin] = asked, results
    asked, results = seen[None]
    assert asked == [CUT]
    assert np.array_equal(results[CUT + 2].mask(ONE), red.on(CUT + 2))
    asked, results = seen[0.0]
    assert asked == [CUT, CUT + 2, CUT + 3, CUT + 4]
    assert not any(results[index].mask(ONE).any() for index in range(CUT, CUT + 4))
    assert np.array_equal(results[CUT + 4].mask(ONE), blue.on(CUT + 4))


def test_a_prompt_ends_the_wait_for_a_concept():
    red = Blob(RED, top=0, left=1, hidden=frozenset({CUT}))
    frames = video(red)
    concept = RotatingConcept()
    following = session(at(CUT), concept, concept_margin=0.0)
    following.prompt(frames[0], {ONE: red.mask(0)})
    play(following, frames[1 : CUT + 2])
    following.prompt(frames[CUT + 1], {ONE: red.mask(CUT + 1)})
    results = play(following, frames[CUT + 2 :])
    assert [index for index, _ in concept.queried] == [CUT, CUT + 1]
    assert all(result.mask(ONE).any() for result in results.values())
