from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from safetensors.numpy import load_file

from helpers.fixtures import facts, fixture
from helpers.tracking_toy import BLUE, GREEN, RED, flat
from segment_concept.tracking.step import ObjectState
from segment_concept.tracking.triggers.base import (
    AnyOf,
    AtFrames,
    Cooldown,
    Every,
    LowQuality,
    Never,
    Trigger,
    TriggerContext,
    TriggerDecision,
)
from segment_concept.tracking.triggers.scene_change import (
    AdaptiveContent,
    HistogramShift,
    fast_hsv,
    published_hsv,
)
from segment_concept.types import Frame, ObjectId

ONE, TWO, THREE = ObjectId(1), ObjectId(2), ObjectId(3)

FACTS = facts("parity/hsv")
PICTURES = load_file(fixture("parity/hsv.safetensors"))


def judged(
    trigger: Trigger,
    before: Frame,
    now: Frame,
    since: int = 1,
    quality: float = 1.0,
    presence: float = 1.0,
) -> TriggerDecision:
    looks = trigger.describe(before), trigger.describe(now)
    return trigger.decide(
        TriggerContext(now.index, *looks, since, states={ONE: known(quality, presence)})
    )


def known(quality: float, presence: float) -> ObjectState:
    """An object that was seen with these scores."""
    return ObjectState((), torch.zeros(1, 1), quality, torch.tensor(presence).logit().item())


def queried(trigger: Trigger, index: int = 5, **seen: float) -> bool:
    decision = judged(trigger, flat(RED, index - 1), flat(RED, index), **seen)
    assert decision.distance in (None, 0)
    return decision.query


def pictures(tag: str) -> tuple[Frame, Frame]:
    return Frame(0, PICTURES[f"{tag}.a"]), Frame(1, PICTURES[f"{tag}.b"])


@pytest.mark.parametrize("pair", FACTS["pairs"], ids=lambda pair: pair["tag"])
def test_the_published_trigger_fires_where_the_release_does(pair):
    decision = judged(published_hsv(), *pictures(pair["tag"]))
    assert decision.query is pair["changed"]
    assert decision.distance == pytest.approx(pair["distance"], abs=1e-6)


def test_the_published_trigger_is_1024_pixels_and_a_distance_above_35_percent():
    assert published_hsv() == HistogramShift(above=0.35, side=1024)
    assert fast_hsv() == HistogramShift(above=0.35, side=256)


@pytest.mark.parametrize("pair", FACTS["pairs"], ids=lambda pair: pair["tag"])
def test_the_fast_variant_fires_on_the_same_pairs(pair):
    assert judged(fast_hsv(), *pictures(pair["tag"])).query is pair["changed"]


def test_the_threshold_itself_does_not_fire():
    frames = flat(RED), flat(BLUE)
    assert judged(HistogramShift(above=0.999), *frames) == TriggerDecision(True, 1.0, cut=True)
    assert judged(HistogramShift(above=1.0), *frames) == TriggerDecision(False, 1.0)


def test_every_fires_when_so_many_frames_have_passed():
    assert [queried(Every(3), since=n) for n in (1, 2, 3, 4)] == [False, False, True, True]
    assert queried(Every(1), since=1)


def test_every_needs_at_least_one_frame():
    with pytest.raises(ValueError, match="Every needs at least 1 frame, got 0"):
        Every(0)


def test_at_frames_fires_on_the_frames_of_its_list():
    trigger = AtFrames(frozenset({4, 9}))
    assert [n for n in range(1, 12) if queried(trigger, index=n)] == [4, 9]


def test_low_quality_fires_after_a_bad_mask_or_an_object_not_seen():
    trigger = LowQuality(below=0.5)
    assert queried(trigger, quality=0.49)
    assert queried(trigger, presence=0.2)
    assert not queried(trigger, quality=0.5, presence=0.5)


def test_a_confident_object_is_not_queried():
    context = TriggerContext(1, (), (), 1, states={ONE: known(0.2, 1.0), TWO: known(0.9, 1.0)})
    assert LowQuality(0.5).decide(context).object_ids == {ONE}
    alone = AnyOf((Never(), Cooldown(LowQuality(0.5), 3)))
    decision = alone.decide(replace(context, before=((), ()), now=((), ()), queried_before=False))
    assert (decision.queries(ONE), decision.queries(TWO)) == (True, False)


def test_any_of_queries_every_object_that_one_of_its_triggers_names():
    seen = {ONE: known(0.2, 1.0), TWO: known(0.4, 1.0), THREE: known(0.9, 1.0)}
    context = TriggerContext(4, ((), ()), ((), ()), 1, states=seen)
    some = AnyOf((LowQuality(0.3), LowQuality(0.5))).decide(context)
    assert [some.queries(i) for i in (ONE, TWO, THREE)] == [True, True, False]
    everyone = AnyOf((LowQuality(0.3), AtFrames(frozenset({4})))).decide(context)
    assert all(everyone.queries(i) for i in (ONE, TWO, THREE))
    assert not any(AnyOf((Never(), Never())).decide(context).queries(i) for i in seen)


def test_never_never_fires():
    assert not queried(Never(), since=10**6, quality=0.0, presence=0.0)


def test_any_of_fires_where_one_of_its_triggers_does():
    trigger = AnyOf((AtFrames(frozenset({4})), Every(10), LowQuality(0.5)))
    assert not queried(trigger)
    assert queried(trigger, index=4)
    assert queried(trigger, since=10)
    assert queried(trigger, quality=0.1)
    assert not queried(AnyOf(()))


def test_any_of_gives_each_trigger_its_own_descriptor_even_when_nested():
    loose, strict = HistogramShift(above=0.3, side=16), HistogramShift(above=1.0, side=8)
    trigger = AnyOf((Every(10), AnyOf((strict, AnyOf((Never(), loose))))))
    assert judged(trigger, flat(RED), flat(GREEN)) == TriggerDecision(True, 1.0, cut=True)
    assert judged(trigger, flat(RED), flat(RED)) == TriggerDecision(False, 0.0)


def test_any_of_reports_the_first_distance_that_is_measured():
    coarse = HistogramShift(above=2.0, side=2)
    trigger = AnyOf((AtFrames(frozenset({1})), coarse, published_hsv()))
    frames = pictures("blend1")
    expected = judged(coarse, *frames).distance
    assert judged(trigger, *frames) == TriggerDecision(True, expected, cut=True)
    assert expected != judged(published_hsv(), *frames).distance


def at_frames(now: int, before: int | None, backwards: bool = False) -> bool:
    context = TriggerContext(now, (), (), 1, previous_index=before, backwards=backwards)
    return AtFrames(frozenset({4, 9})).decide(context).query


def test_played_backwards_a_shot_is_entered_by_its_last_frame():
    assert [n for n in range(11, -1, -1) if at_frames(n, n + 1, backwards=True)] == [8, 3]


def test_playback_can_start_inside_a_shot():
    assert [n for n in (2, 6, 8, 11, 12) if at_frames(n, {6: 2, 8: 6, 11: 8}.get(n, n - 1))] == [
        6,
        11,
    ]
    assert at_frames(7, before=10, backwards=True)
    assert not at_frames(2, before=7)  # it was wound back, and goes on from there


def heard(trigger: Trigger, frames: list[Frame]) -> list[TriggerDecision]:
    """What a trigger says of frames from the second on."""
    verdicts: list[TriggerDecision] = []
    since, called = 0, False
    for before, now in pairwise(frames):
        since += 1
        looks = trigger.describe(before), trigger.describe(now)
        state = verdicts[-1].state if verdicts else ()
        context = TriggerContext(
            now.index, *looks, since, before.index, queried_before=called, state=state
        )
        verdicts.append(trigger.decide(context))
        called |= verdicts[-1].query
        since = 0 if verdicts[-1].query else since
    return verdicts


def grays(*levels: int) -> list[Frame]:
    return [flat((level,) * 3, index) for index, level in enumerate(levels)]


def test_adaptive_fires_at_once_where_a_picture_changes_more_than_before():
    calm = grays(60, 66, 72, 78, 160, 166, 172)
    verdicts = heard(AdaptiveContent(), calm)
    assert [n for n, v in enumerate(verdicts, start=1) if v.query] == [4]
    assert verdicts[3].distance is None  # of what is much there is no fixed measure


def test_adaptive_does_not_fire_while_the_image_changes_all_the_time():
    restless = grays(0, 60, 120, 180, 240, 180, 120, 60)
    assert [n for n, v in enumerate(heard(AdaptiveContent(), restless), start=1) if v.query] == []


def test_adaptive_counts_a_cut_among_the_changes_before():
    two_cuts = grays(10, 10, 10, 100, 10, 100, 100, 100, 10)
    assert [n for n, v in enumerate(heard(AdaptiveContent(), two_cuts), start=1) if v.query] == [
        3,
        8,
    ]
    assert len(heard(AdaptiveContent(neighbours=4), two_cuts)[-1].state) == 4


def test_triggers_say_which_frames_they_take_for_cuts_whether_or_not_they_ask():
    frames = grays(60, 66, 72, 160, 166, 172)
    at = AtFrames(frozenset({1}))
    verdicts = heard(Cooldown(AnyOf((Every(5), at, AdaptiveContent())), 4), frames)
    assert [n for n, v in enumerate(verdicts, start=1) if v.cut] == [1, 3]
    assert [n for n, v in enumerate(verdicts, start=1) if v.query] == [1]
    reds = [flat(c, i) for i, c in enumerate((RED, BLUE, BLUE))]
    assert [v.cut for v in heard(HistogramShift(side=16), reds)] == [True, False]


def test_adaptive_needs_a_neighbour():
    with pytest.raises(ValueError, match="at least 1 neighbor, got 0"):
        AdaptiveContent(neighbours=0)


def test_a_cooldown_ignores_the_trigger_for_that_many_frames_after_a_query():
    trigger = Cooldown(AtFrames(frozenset({2, 4, 5, 6})), frames=3)
    assert [n for n, v in enumerate(heard(trigger, grays(*[9] * 10)), start=1) if v.query] == [2, 6]


def test_a_refractory_trigger_reports_the_distance_all_the_same():
    frames = [flat(c, i) for i, c in enumerate((RED, BLUE, RED))]
    verdicts = heard(Cooldown(HistogramShift(side=16), 5), frames)
    assert [(v.query, v.distance) for v in verdicts] == [(True, 1.0), (False, 1.0)]


def test_a_refractory_trigger_needs_a_frame():
    with pytest.raises(ValueError, match="at least 1 frame, got 0"):
        Cooldown(Never(), 0)


def test_each_of_any_finds_its_own_notes_again():
    trigger = AnyOf((Never(), Cooldown(AnyOf((AdaptiveContent(), AtFrames(frozenset({5})))), 1)))
    calm = grays(60, 66, 72, 78, 160, 166, 172)
    assert [n for n, v in enumerate(heard(trigger, calm), start=1) if v.query] == [4]
    assert [n for n, v in enumerate(heard(trigger, grays(*[9] * 7)), start=1) if v.query] == [5]
