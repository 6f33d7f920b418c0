"""Trackers and sessions that are pickled for another process, or copied to try something."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from helpers import sec_layouts
from helpers.closeness import same_masks
from helpers.propagation_toys import toy_cutie, toy_xmem
from helpers.tiny_weights import tiny_weights_file
from helpers.video_toys import picture, truth
from segment_concept.checkpoints.load import load
from segment_concept.checkpoints.sam2.load import load_sam2
from segment_concept.models.sam2.sizes import HieraWiring
from segment_concept.recipes import find_recipe
from segment_concept.tracking.api import VideoTracker
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import Every
from segment_concept.types import Frame, Mask, ObjectId

ONE = ObjectId(1)


def through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.fixture(scope="module")
def compact() -> Tracker:
    return load(replace(find_recipe("sec_compact"), short_side=64))


@pytest.mark.parametrize("copied", [through_pickle, copy.deepcopy])
@pytest.mark.parametrize("used", [False, True])
def test_a_copied_tracker_finds_the_same(
    compact: Tracker, copied: Callable[[Any], Any], used: bool
) -> None:
    prompt = {ONE: Mask(truth(0))}
    first = Frame(0, picture(0), 0.0)
    if used:
        compact.session().prompt(first, prompt)
    sessions = [compact.session(), copied(compact).session()]
    found = []
    for session in sessions:
        session.prompt(first, prompt)
        found.append([session.step(Frame(i, picture(i), i / 25)).logits[0] for i in range(1, 4)])
    for expected, given in zip(*found, strict=True):
        same_masks(expected, given > 0, 1e-3)


def test_a_copied_session_goes_its_own_way(compact: Tracker) -> None:
    session = compact.session()
    session.prompt(Frame(0, picture(0), 0.0), {ONE: Mask(truth(0))})
    other = copy.deepcopy(session)
    other.step(Frame(1, picture(1), 0.04))
    expected = [session.step(Frame(i, picture(i), i / 25)) for i in (1, 2)]
    assert torch.isfinite(expected[1].logits).all()
    found = other.step(Frame(2, picture(2), 0.08))
    same_masks(expected[1].logits[0], found.logits[0] > 0, 1e-3)


def tiny_sam2() -> Tracker:
    wiring = HieraWiring(1, (8, 4, 8, 4), (3,))
    return Tracker(load_sam2(tiny_weights_file("sam2"), image_side=128, wiring=wiring))


def tiny_sec() -> Tracker:
    model = sec_layouts.reference()
    return Tracker(model.segmenter, concept=model.concept_encoder(), trigger=Every(1))


@pytest.mark.parametrize("copied", [through_pickle, copy.deepcopy])
@pytest.mark.parametrize("make", [tiny_sam2, tiny_sec, toy_cutie, toy_xmem])
def test_published_trackers_can_be_copied_too(
    make: Callable[[], VideoTracker], copied: Callable[[Any], Any]
) -> None:
    original = make()
    found = []
    for tracker in (original, copied(original)):
        session = tracker.session()
        session.prompt(Frame(0, picture(0), 0.0), {ONE: Mask(truth(0))})
        found.append([session.step(Frame(i, picture(i), i / 25)).logits for i in (1, 2)])
    for expected, given in zip(*found, strict=True):
        torch.testing.assert_close(given, expected, atol=1e-3, rtol=0)
