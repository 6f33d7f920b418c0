import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from tracking_toy import BLUE, GREEN, RED, flat

from segment_concept.tracking.triggers import (
    AnyOf,
    AtFrames,
    Every,
    Glance,
    HsvShift,
    LowQuality,
    Never,
    Trigger,
    Verdict,
    fast_hsv,
    published_hsv,
)
from segment_concept.types import Frame

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
    return trigger.judge(Glance(now.index, *looks, since, quality, presence))


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
    assert judged(HsvShift(above=0.999), *frames) == Verdict(True, 1.0)
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
    assert judged(trigger, flat(RED), flat(GREEN)) == Verdict(True, 1.0)
    assert judged(trigger, flat(RED), flat(RED)) == Verdict(False, 0.0)


def test_any_of_reports_the_first_distance_that_is_measured():
    coarse = HsvShift(above=2.0, side=2)
    trigger = AnyOf((AtFrames(frozenset({1})), coarse, published_hsv()))
    frames = pictures("blend1")
    expected = judged(coarse, *frames).distance
    assert judged(trigger, *frames) == Verdict(True, expected)
    assert expected != judged(published_hsv(), *frames).distance
