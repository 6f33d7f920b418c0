import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file
from tracking_toy import BLUE, GREEN, RED, flat

from segment_concept.tracking.step import Seen
from segment_concept.tracking.triggers.base import (
    AnyOf,
    AtFrames,
    Every,
    Glance,
    LowQuality,
    Never,
    Refractory,
    Trigger,
    Verdict,
)
from segment_concept.tracking.triggers.scene_change import (
    Adaptive,
    HsvShift,
    fast_hsv,
    published_hsv,
)
from segment_concept.types import Frame, ObjectId

ONE, TWO, THREE = ObjectId(1), ObjectId(2), ObjectId(3)

PARITY = Path(__file__).parents[1] / "fixtures" / "parity"
FACTS = json.loads((PARITY / "hsv.json").read_text())
PICTURES = load_file(PARITY / "hsv.safetensors")


def judged(
    trigger: Trigger,
    before: Frame,
    now: Frame,
    since: int = 1,
    quality: float = 1.0,
    presence: float = 1.0,
) -> Verdict:
    looks = trigger.look(before), trigger.look(now)
    return trigger.judge(Glance(now.index, *looks, since, seen={ONE: known(quality, presence)}))


def known(quality: float, presence: float) -> Seen:
    """An object that was seen with these scores."""
    return Seen((), torch.zeros(1, 1), quality, torch.tensor(presence).logit().item())


def asked(trigger: Trigger, index: int = 5, **seen: float) -> bool:
    verdict = judged(trigger, flat(RED, index - 1), flat(RED, index), **seen)
    assert verdict.distance in (None, 0)
    return verdict.ask


def pictures(tag: str) -> tuple[Frame, Frame]:
    return Frame(0, PICTURES[f"{tag}.a"]), Frame(1, PICTURES[f"{tag}.b"])


@pytest.mark.parametrize("pair", FACTS["pairs"], ids=lambda pair: pair["tag"])
def test_the_published_trigger_fires_where_the_release_does(pair):
    verdict = judged(published_hsv(), *pictures(pair["tag"]))
    assert verdict.ask is pair["changed"]
    assert verdict.distance == pytest.approx(pair["distance"], abs=1e-6)


def test_the_published_trigger_is_1024_pixels_and_a_distance_above_35_percent():
    assert published_hsv() == HsvShift(above=0.35, side=1024)
    assert fast_hsv() == HsvShift(above=0.35, side=256)


@pytest.mark.parametrize("pair", FACTS["pairs"], ids=lambda pair: pair["tag"])
def test_the_fast_variant_fires_on_the_same_pairs(pair):
    assert judged(fast_hsv(), *pictures(pair["tag"])).ask is pair["changed"]


def test_the_threshold_itself_does_not_fire():
    frames = flat(RED), flat(BLUE)
    assert judged(HsvShift(above=0.999), *frames) == Verdict(True, 1.0, cut=True)
    assert judged(HsvShift(above=1.0), *frames) == Verdict(False, 1.0)


def test_every_fires_when_so_many_frames_have_passed():
    assert [asked(Every(3), since=n) for n in (1, 2, 3, 4)] == [False, False, True, True]
    assert asked(Every(1), since=1)


def test_every_needs_at_least_one_frame():
    with pytest.raises(ValueError, match="Every needs at least 1 frame, got 0"):
        Every(0)


def test_at_frames_fires_on_the_frames_of_its_list():
    trigger = AtFrames(frozenset({4, 9}))
    assert [n for n in range(1, 12) if asked(trigger, index=n)] == [4, 9]


def test_low_quality_fires_after_a_bad_mask_or_an_object_not_seen():
    trigger = LowQuality(below=0.5)
    assert asked(trigger, quality=0.49)
    assert asked(trigger, presence=0.2)
    assert not asked(trigger, quality=0.5, presence=0.5)


def test_who_is_well_is_not_asked_about():
    glance = Glance(1, (), (), 1, seen={ONE: known(0.2, 1.0), TWO: known(0.9, 1.0)})
    assert LowQuality(0.5).judge(glance).whom == {ONE}
    alone = AnyOf((Never(), Refractory(LowQuality(0.5), 3)))
    verdict = alone.judge(replace(glance, before=((), ()), now=((), ()), asked_before=False))
    assert (verdict.asks_about(ONE), verdict.asks_about(TWO)) == (True, False)


def test_any_of_asks_about_everyone_whom_one_of_its_triggers_means():
    seen = {ONE: known(0.2, 1.0), TWO: known(0.4, 1.0), THREE: known(0.9, 1.0)}
    glance = Glance(4, ((), ()), ((), ()), 1, seen=seen)
    some = AnyOf((LowQuality(0.3), LowQuality(0.5))).judge(glance)
    assert [some.asks_about(i) for i in (ONE, TWO, THREE)] == [True, True, False]
    everyone = AnyOf((LowQuality(0.3), AtFrames(frozenset({4})))).judge(glance)
    assert all(everyone.asks_about(i) for i in (ONE, TWO, THREE))
    assert not any(AnyOf((Never(), Never())).judge(glance).asks_about(i) for i in seen)


def test_never_never_fires():
    assert not asked(Never(), since=10**6, quality=0.0, presence=0.0)


def test_any_of_fires_where_one_of_its_triggers_does():
    trigger = AnyOf((AtFrames(frozenset({4})), Every(10), LowQuality(0.5)))
    assert not asked(trigger)
    assert asked(trigger, index=4)
    assert asked(trigger, since=10)
    assert asked(trigger, quality=0.1)
    assert not asked(AnyOf(()))


def test_any_of_shows_each_trigger_its_own_look_even_when_nested():
    loose, strict = HsvShift(above=0.3, side=16), HsvShift(above=1.0, side=8)
    trigger = AnyOf((Every(10), AnyOf((strict, AnyOf((Never(), loose))))))
    assert judged(trigger, flat(RED), flat(GREEN)) == Verdict(True, 1.0, cut=True)
    assert judged(trigger, flat(RED), flat(RED)) == Verdict(False, 0.0)


def test_any_of_reports_the_first_distance_that_is_measured():
    coarse = HsvShift(above=2.0, side=2)
    trigger = AnyOf((AtFrames(frozenset({1})), coarse, published_hsv()))
    frames = pictures("blend1")
    expected = judged(coarse, *frames).distance
    assert judged(trigger, *frames) == Verdict(True, expected, cut=True)
    assert expected != judged(published_hsv(), *frames).distance


def at_frames(now: int, before: int | None, backwards: bool = False) -> bool:
    glance = Glance(now, (), (), 1, previous_index=before, backwards=backwards)
    return AtFrames(frozenset({4, 9})).judge(glance).ask


def test_played_backwards_a_shot_is_entered_by_its_last_frame():
    assert [n for n in range(11, -1, -1) if at_frames(n, n + 1, backwards=True)] == [8, 3]


def test_a_shot_whose_beginning_is_skipped_is_entered_where_it_goes_on():
    assert [n for n in (2, 6, 8, 11, 12) if at_frames(n, {6: 2, 8: 6, 11: 8}.get(n, n - 1))] == [
        6,
        11,
    ]
    assert at_frames(7, before=10, backwards=True)
    assert not at_frames(2, before=7)  # it was wound back, and goes on from there


def heard(trigger: Trigger, frames: list[Frame]) -> list[Verdict]:
    """What a trigger says of frames from the second on."""
    verdicts: list[Verdict] = []
    since, called = 0, False
    for before, now in pairwise(frames):
        since += 1
        looks = trigger.look(before), trigger.look(now)
        notes = verdicts[-1].notes if verdicts else ()
        glance = Glance(now.index, *looks, since, before.index, asked_before=called, notes=notes)
        verdicts.append(trigger.judge(glance))
        called |= verdicts[-1].ask
        since = 0 if verdicts[-1].ask else since
    return verdicts


def greys(*levels: int) -> list[Frame]:
    return [flat((level,) * 3, index) for index, level in enumerate(levels)]


def test_adaptive_fires_at_once_where_a_picture_changes_more_than_before():
    calm = greys(60, 66, 72, 78, 160, 166, 172)
    verdicts = heard(Adaptive(), calm)
    assert [n for n, v in enumerate(verdicts, start=1) if v.ask] == [4]
    assert verdicts[3].distance is None  # of what is much there is no fixed measure


def test_adaptive_holds_still_where_the_picture_changes_all_the_time():
    restless = greys(0, 60, 120, 180, 240, 180, 120, 60)
    assert [n for n, v in enumerate(heard(Adaptive(), restless), start=1) if v.ask] == []


def test_adaptive_counts_a_cut_among_the_changes_before():
    two_cuts = greys(10, 10, 10, 100, 10, 100, 100, 100, 10)
    assert [n for n, v in enumerate(heard(Adaptive(), two_cuts), start=1) if v.ask] == [3, 8]
    assert len(heard(Adaptive(neighbours=4), two_cuts)[-1].notes) == 4


def test_triggers_say_which_frames_they_take_for_cuts_whether_or_not_they_ask():
    frames = greys(60, 66, 72, 160, 166, 172)
    at = AtFrames(frozenset({1}))
    verdicts = heard(Refractory(AnyOf((Every(5), at, Adaptive())), 4), frames)
    assert [n for n, v in enumerate(verdicts, start=1) if v.cut] == [1, 3]
    assert [n for n, v in enumerate(verdicts, start=1) if v.ask] == [1]
    reds = [flat(c, i) for i, c in enumerate((RED, BLUE, BLUE))]
    assert [v.cut for v in heard(HsvShift(side=16), reds)] == [True, False]


def test_adaptive_needs_a_neighbour():
    with pytest.raises(ValueError, match="at least 1 neighbour, got 0"):
        Adaptive(neighbours=0)


def test_a_refractory_trigger_is_not_heard_for_so_many_frames_after_a_call():
    trigger = Refractory(AtFrames(frozenset({2, 4, 5, 6})), frames=3)
    assert [n for n, v in enumerate(heard(trigger, greys(*[9] * 10)), start=1) if v.ask] == [2, 6]


def test_a_refractory_trigger_reports_the_distance_all_the_same():
    frames = [flat(c, i) for i, c in enumerate((RED, BLUE, RED))]
    verdicts = heard(Refractory(HsvShift(side=16), 5), frames)
    assert [(v.ask, v.distance) for v in verdicts] == [(True, 1.0), (False, 1.0)]


def test_a_refractory_trigger_needs_a_frame():
    with pytest.raises(ValueError, match="at least 1 frame, got 0"):
        Refractory(Never(), 0)


def test_each_of_any_finds_its_own_notes_again():
    trigger = AnyOf((Never(), Refractory(AnyOf((Adaptive(), AtFrames(frozenset({5})))), 1)))
    calm = greys(60, 66, 72, 78, 160, 166, 172)
    assert [n for n, v in enumerate(heard(trigger, calm), start=1) if v.ask] == [4]
    assert [n for n, v in enumerate(heard(trigger, greys(*[9] * 7)), start=1) if v.ask] == [5]
