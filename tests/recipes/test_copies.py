"""Trackers and sessions that are pickled for another process, or copied to try something."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from helpers.closeness import same_masks
from helpers.video_toys import picture, truth
from segment_concept.checkpoints.load import load
from segment_concept.recipes import find_recipe
from segment_concept.tracking.tracker import Tracker
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
