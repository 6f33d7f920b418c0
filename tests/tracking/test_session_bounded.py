"""What a session holds does not grow with the number of frames."""

import gc
from collections import Counter

import pytest
from torch import Tensor

from helpers.tracking_toy import (
    EVERY_POLICY,
    GREEN,
    ONE,
    RED,
    TWO,
    Blob,
    Nothing,
    RotatingConcept,
    endless,
    forgetful,
)
from segment_concept.tracking.concept import Keyframe
from segment_concept.tracking.memory import Memory
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import Every
from segment_concept.types import Frame

COUNTED = (Memory, Tensor, Frame, Keyframe)


def alive() -> Counter:
    gc.collect()
    return Counter(type(o).__name__ for o in gc.get_objects() if type(o) in COUNTED)


@pytest.mark.parametrize("policy", EVERY_POLICY, ids=lambda p: type(p).__name__)
def test_a_thousand_frames_leave_no_more_behind_than_two_hundred(policy):
    """Two objects, one of them often hidden, the concept asked every 7th frame."""
    before = alive()
    often = frozenset(i for i in range(1000) if i % 50 < 15)
    blobs = Blob(RED, speed=1), Blob(GREEN, top=6, speed=2, hidden=often - {0})
    frames = endless(*blobs, length=1000)
    concept = RotatingConcept((RED, GREEN), queried=Nothing())
    following = Tracker(forgetful(), policy, Every(7), concept).session()
    first = next(frames)
    following.prompt(first, {ONE: blobs[0].mask(0), TWO: blobs[1].mask(0)})
    counts = {}
    for frame in frames:
        following.step(frame)
        if frame.index in (200, 999):
            counts[frame.index] = alive() - before
    del first, frame
    banks = [track.bank for tracks in following.tracks.values() for track in tracks]
    kept = {id(m) for bank in banks for m in (*bank.prompted, *bank.tracked)}
    assert counts[999]["Memory"] == len(kept)
    # A tree has up to three memories of a frame; no policy reaches further back than 22 frames.
    assert counts[999]["Memory"] <= 2 * 3 * 32
    assert counts[999]["Keyframe"] == 2 * 7
    assert counts[999]["Frame"] <= 2 * 7 + 1
    assert counts[999]["Tensor"] <= 5 * counts[999]["Memory"] + 20
    assert counts[999]["Tensor"] <= counts[200]["Tensor"] + 40
