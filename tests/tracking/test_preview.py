"""Previews of prompts, and image features that sessions share."""

import numpy as np
import pytest
import torch

from helpers.tracking_toy import ONE, RED, TWO, Blob, ColorSegmenter, video
from segment_concept import Box, Frame, InputError, Points
from segment_concept.checkpoints.load import load_tracker
from segment_concept.recipes import find_recipe
from segment_concept.tracking.feature_cache import FeatureCache
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker

BLOB = Blob(RED, left=2, speed=1)


def click(index: int) -> Points:
    rows, columns = np.nonzero(BLOB.on(index))
    return Points.on((float(columns[5]), float(rows[5])))


def state(session: Session) -> tuple[object, ...]:
    return (
        dict(session.tracks),
        dict(session.banks),
        session.previous,
        session.frames_since_query,
        session.trigger_state,
        session.backwards,
    )


def test_a_preview_is_what_the_prompt_returns_and_changes_nothing():
    frames = video(BLOB)
    session = Tracker(ColorSegmenter()).session()
    list(session.track(frames[:4], {0: {ONE: BLOB.mask(0)}}))
    before = state(session)
    for frame, prompts in (
        (frames[3], {ONE: click(3)}),  # a correction
        (frames[3], {TWO: click(3)}),  # a new object
        (frames[7], {TWO: click(7)}),  # on another frame
    ):
        seen = session.preview(frame, prompts)
        assert state(session) == before
        other = Tracker(ColorSegmenter()).session()
        list(other.track(frames[:4], {0: {ONE: BLOB.mask(0)}}))
        prompted = other.prompt(frame, prompts)
        assert seen.object_ids == prompted.object_ids
        assert torch.equal(seen.logits, prompted.logits)


def test_a_preview_refuses_what_a_prompt_refuses():
    frame = video(BLOB)[0]
    session = Tracker(ColorSegmenter()).session()
    with pytest.raises(InputError):
        session.preview(frame, {ONE: Points.on((1e6, 1e6))})
    with pytest.raises(InputError):
        session.preview(frame, {0: click(0)})


def test_a_preview_of_the_compact_model_is_one_decoder_pass_or_the_refined_mask():
    tracker = load_tracker(find_recipe("sec_compact"))
    rgb = np.zeros((96, 160, 3), np.uint8)
    rgb[30:60, 50:90] = (200, 60, 40)
    frame = Frame(0, rgb)
    cache = FeatureCache(tracker.segmenter)
    session = tracker.session(cache)
    prompts = {ONE: Points.on((70, 45)), TWO: Box(48, 28, 92, 62)}
    once = session.preview(frame, prompts)
    refined = session.preview(frame, prompts, refine=True)
    assert session.object_ids == ()
    assert not torch.equal(once.logits, refined.logits)
    prompted = session.prompt(frame, prompts)
    assert torch.allclose(refined.logits, prompted.logits, atol=1e-4)


def test_sessions_that_share_a_cache_encode_every_frame_once():
    frames, segmenter = video(BLOB), ColorSegmenter()
    tracker = Tracker(segmenter)
    cache = FeatureCache(segmenter, max_frames=len(frames))
    prompts = {0: {ONE: BLOB.mask(0)}}
    plain = list(Tracker(ColorSegmenter()).session().track(frames, prompts))
    for prefetch in (0, 2):
        results = list(tracker.session(cache).track(frames, prompts, prefetch=prefetch))
        assert all(torch.equal(a.logits, b.logits) for a, b in zip(plain, results, strict=True))
    tracker.session(cache).preview(frames[5], {ONE: click(5)})
    assert sorted(segmenter.encoded) == list(range(len(frames)))


def test_a_cache_keeps_the_frames_that_were_asked_for_last():
    frames, segmenter = video(BLOB), ColorSegmenter()
    cache = FeatureCache(segmenter, max_frames=2)
    for index in (0, 1, 0, 2):
        cache.features(frames[index])
    assert [index for index in range(3) if index in cache] == [0, 2]
    assert segmenter.encoded == [0, 1, 2]


def test_a_cache_of_another_network_or_video_is_refused():
    frames = video(BLOB)
    cache = FeatureCache(ColorSegmenter())
    with pytest.raises(InputError, match="another network"):
        Tracker(ColorSegmenter()).session(cache)
    cache.features(frames[0])
    with pytest.raises(InputError, match="one video only"):
        cache.features(Frame(0, np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(ValueError, match="at least 1"):
        FeatureCache(ColorSegmenter(), max_frames=0)
