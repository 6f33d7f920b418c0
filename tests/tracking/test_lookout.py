"""Frames that are encoded before their turn."""

import pytest
import torch

from helpers.tracking_toy import ONE, RED, Blob, ColorSegmenter, video
from segment_concept import Tracker
from segment_concept.tracking.prefetch import PrefetchingSegmenter


@pytest.fixture
def segmenter() -> ColorSegmenter:
    return ColorSegmenter()


def test_results_are_those_without_a_lookout(segmenter):
    blob = Blob(RED, left=2, speed=1)
    frames = video(blob)
    lookout = PrefetchingSegmenter(segmenter, at_most=2)
    plain, ahead = Tracker(segmenter).session(), Tracker(lookout).session()
    watched = lookout.prefetch(frames)
    for session, first in ((plain, frames[0]), (ahead, next(watched))):
        session.prompt(first, {ONE: blob.mask(0)})
    for expected, found in zip(plain.track(frames[1:]), ahead.track(watched), strict=True):
        assert torch.equal(expected.logits, found.logits)


def test_a_watched_frame_is_encoded_once(segmenter):
    frames = video(Blob(RED), length=3)
    lookout = PrefetchingSegmenter(segmenter, at_most=3)
    assert list(lookout.prefetch(frames)) == frames
    assert segmenter.encoded == [0, 1, 2]
    for frame in frames:
        lookout.encode([frame])
    assert segmenter.encoded == [0, 1, 2]


def test_what_was_watched_is_handed_out_once(segmenter):
    (frame,) = video(Blob(RED), length=1)
    lookout = PrefetchingSegmenter(segmenter, at_most=1)
    list(lookout.prefetch([frame]))
    assert lookout.encode([frame]) is not lookout.encode([frame])
    assert len(lookout) == 0


def test_a_frame_that_nobody_watched_is_encoded_when_it_is_asked_for(segmenter):
    (frame,) = video(Blob(RED), length=1)
    found = PrefetchingSegmenter(segmenter, at_most=1).encode([frame])
    assert torch.equal(found.maps, segmenter.encode([frame]).maps)


def test_it_holds_no_more_than_it_was_told_and_lets_the_oldest_go(segmenter):
    frames = video(Blob(RED), length=9)
    lookout = PrefetchingSegmenter(segmenter, at_most=2)
    list(lookout.prefetch(frames))
    assert len(lookout) == 2
    lookout.encode([frames[0]])
    assert len(lookout) == 2
    lookout.encode([frames[-1]])
    assert len(lookout) == 1


def test_a_lookout_that_holds_nothing_is_refused(segmenter):
    with pytest.raises(ValueError, match="at least 1 frame, got 0"):
        PrefetchingSegmenter(segmenter, at_most=0)
