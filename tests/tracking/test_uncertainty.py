"""A trigger that speaks when the tracker is in doubt."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.tracking_toy import (
    BLUE,
    GREEN,
    ONE,
    RED,
    TWO,
    Blob,
    ColorSegmenter,
    RotatingConcept,
    play,
    video,
)
from segment_concept.ops.color import color_distance, object_colors
from segment_concept.pipeline.session_state import dump_session, load_session
from segment_concept.shots.content import small_hsv
from segment_concept.tracking.step import ObjectState
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import Cooldown, TriggerContext
from segment_concept.tracking.triggers.uncertainty import AREAS, AppearanceModel, Uncertain
from segment_concept.types import Frame, ObjectId

SURE = 8.0  # a presence logit
SIZE = (48, 80)


def square(side: int) -> torch.Tensor:
    logits = torch.full(SIZE, -5.0)
    logits[4 : 4 + side, 6 : 6 + side] = 5.0
    return logits


def picture(color: tuple[int, int, int] = RED, index: int = 0) -> Frame:
    rgb = np.full((*SIZE, 3), 90, np.uint8)
    rgb[2:44, 4:60] = color
    return Frame(index, rgb)


def seen(side: int = 12, iou: float = 0.9, presence: float = SURE) -> ObjectState:
    return ObjectState((), square(side), iou, presence)


def doubts(
    believed: Sequence[dict[ObjectId, ObjectState]], pictures: Sequence[Frame], trigger: Uncertain
) -> list[bool]:
    """After which of the frames the trigger speaks."""
    state: tuple = ()
    found = []
    for index, (now, frame) in enumerate(zip(believed, pictures, strict=True)):
        describe = trigger.describe(frame)
        decision = trigger.decide(
            TriggerContext(index + 1, describe, describe, 1, states=now, state=state)
        )
        state = decision.state
        found.append(decision.query)
    return found


def of_one(*each: ObjectState, colors: Sequence[tuple[int, int, int]] | None = None) -> list[bool]:
    pictures = [picture(c) for c in colors or [RED] * len(each)]
    return doubts([{ONE: s} for s in each], pictures, Uncertain())


def test_it_is_silent_while_all_is_well() -> None:
    assert of_one(*[seen()] * 12) == [False] * 12


def test_it_fires_after_a_poor_mask_and_if_the_object_is_not_visible() -> None:
    assert of_one(seen(), seen(iou=0.49), seen(presence=-0.1), seen()) == [False, True, True, False]


@pytest.mark.parametrize("side", [8, 18])
def test_it_fires_when_the_area_changes_suddenly_until_the_new_one_lasts(side: int) -> None:
    """From 12 to 8 or 18 pixels a side: less than half, more than twice."""
    spoke = of_one(*[seen(12)] * 5, *[seen(side)] * 9)
    assert spoke == [False] * 5 + [True] * 5 + [False] * 4


def test_a_slow_zoom_is_no_sudden_change() -> None:
    assert not any(of_one(*[seen(12 + n // 2) for n in range(40)]))


def test_it_fires_when_the_colors_change_suddenly() -> None:
    colors = [RED] * 4 + [GREEN] + [RED]
    assert of_one(*[seen()] * 6, colors=colors) == [False] * 4 + [True, False]


def test_another_light_is_no_other_color() -> None:
    darker = tuple(int(0.7 * c) for c in RED)
    assert not any(of_one(*[seen()] * 6, colors=[RED] * 4 + [darker] * 2))


def test_one_object_in_doubt_is_enough_and_each_has_its_own_past() -> None:
    calm = [{ONE: seen(8), TWO: seen(30)}] * 4
    assert doubts([*calm, {ONE: seen(8), TWO: seen(8)}], [picture()] * 5, Uncertain())[-1]
    late = [{ONE: seen(8)}] * 3 + [{ONE: seen(8), TWO: seen(30)}]
    assert not any(doubts(late, [picture()] * 4, Uncertain()))


def test_uncertain_masks_are_not_remembered() -> None:
    """A mask that is not believed shrinks nothing."""
    assert of_one(*[seen(12)] * 3, *[seen(2, iou=0.1)] * 12, seen(12))[-1] is False


def test_an_impression_is_of_the_last_frames_and_follows_slowly() -> None:
    known = AppearanceModel()
    for area in range(AREAS + 3):
        known = known.with_another(float(area), None)
    assert known == AppearanceModel(tuple(float(a) for a in range(3, AREAS + 3)))
    red, green = (np.eye(2, dtype=np.float32)[i] for i in (0, 1))
    mixed = AppearanceModel((), red).with_another(1.0, green).colors
    assert mixed is not None
    assert mixed.tolist() == pytest.approx([0.9, 0.1])


def test_too_few_pixels_have_no_colors() -> None:
    hsv = small_hsv(picture().rgb)
    few = np.zeros(hsv.shape[:2], np.bool_)
    few[4, 10:25] = True
    assert object_colors(hsv, few) is None
    few[5, 10] = True
    colors = object_colors(hsv, few)
    assert colors is not None
    assert colors.sum() == pytest.approx(1)
    assert color_distance(colors, colors) == pytest.approx(0, abs=1e-3)
    assert color_distance(colors, np.roll(colors, 1, axis=0)) == 1


def test_thresholds_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="area_times must be more than 1, got 1"):
        Uncertain(area_times=1)


def test_in_a_session_it_asks_after_the_object_is_lost_and_rests() -> None:
    hidden = frozenset(range(3, 9))
    ball = Blob(RED, hidden=hidden)
    frames = video(ball)
    trigger = Cooldown(Uncertain(), 2)
    concept = RotatingConcept(unknown=(RED,))
    following = Tracker(ColorSegmenter(), trigger=trigger, concept=concept).session()
    following.prompt(frames[0], {ONE: ball.mask(0)})
    results = play(following, frames[1:])
    assert [i for i, r in results.items() if r.concept_queried] == [4, 7]


def test_a_stored_session_doubts_as_the_one_that_went_on() -> None:
    late = Blob(BLUE, top=6, hidden=frozenset({8}))
    frames = video(Blob(RED), late)
    tracker = Tracker(
        ColorSegmenter(), trigger=Cooldown(Uncertain(), 2), concept=RotatingConcept((RED, BLUE))
    )
    following = tracker.session()
    following.prompt(frames[0], {ONE: Blob(RED).mask(0), TWO: late.mask(0)})
    play(following, frames[1:6])
    resumed = load_session(dump_session(following, tracker), tracker)
    assert resumed.trigger_state[0][TWO].areas == following.trigger_state[0][TWO].areas
    queried = [[r.concept_queried for r in s.track(frames[6:])] for s in (following, resumed)]
    assert queried[0] == queried[1] == [False, False, False, True, False, False]


def test_a_trigger_can_be_made_stricter() -> None:
    assert replace(Uncertain(), below=0.8) == Uncertain(below=0.8)
