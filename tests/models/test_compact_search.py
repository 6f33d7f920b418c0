"""Where the bundled compact model looks for an object."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from segment_concept import Frame, FrameResult, Mask, ObjectId, Tracker
from segment_concept.checkpoints.load import load
from segment_concept.models.compact import memory_batch
from segment_concept.models.compact.roi import whole_frame
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.recipes import find_recipe
from segment_concept.tracking.memory import PlaybackPosition
from segment_concept.tracking.segmenter import Concept
from segment_concept.tracking.step import track_objects

A, B = ObjectId(1), ObjectId(2)
SIZE = (256, 448)  # 16 x 28 tokens


@pytest.fixture(scope="module")
def segmenter() -> CompactSegmenter:
    return load(replace(find_recipe("sec_compact"), short_side=256), device="cpu").segmenter


@pytest.fixture
def looked(segmenter, monkeypatch) -> list[list[int]]:
    """The tokens that every object's first attention looks at, one row per time that it looks."""
    attention, rows = segmenter.network.memory_attention, []
    attend = attention.attend_frames

    def counted(features, memory, rois):
        rows.append([0 if roi is None else len(roi.rows()) for roi in rois])
        return attend(features, memory, rois)

    monkeypatch.setattr(attention, "attend_frames", counted)
    return rows


def _mask(x: int) -> Mask:
    bitmap = np.zeros(SIZE, bool)
    bitmap[96:144, x : x + 48] = True
    return Mask(bitmap)


def _frame(index: int, red: int, blue: int | None = None) -> Frame:
    """A red square at x = `red`, and a blue one, before a meadow."""
    noise = np.random.default_rng(0).integers(0, 40, (*SIZE, 3), dtype=np.uint8)
    rgb = noise + np.array([60, 120, 50], np.uint8)
    for x, color in ((red, (220, 40, 30)), (blue, (30, 60, 210))):
        if x is not None:
            rgb[_mask(x).bitmap] = color
    return Frame(index, rgb)


def test_an_object_that_moves_little_is_looked_for_near_where_it_was(segmenter, looked):
    session = Tracker(segmenter).session()
    session.prompt(_frame(0, red=96), {A: _mask(96)})
    for index in (1, 2):
        x = 96 + 12 * index
        found, expected = session.step(_frame(index, red=x)).mask(A), _mask(x).bitmap
        assert (found & expected).sum() > 0.8 * (found | expected).sum()
    assert len(looked) == 2
    assert all(0 < tokens <= 16 * 14 for (tokens,) in looked)


def test_an_object_that_jumps_is_looked_for_in_the_whole_frame(segmenter, looked, monkeypatch):
    def after_a_jump() -> FrameResult:
        session = Tracker(segmenter).session()
        session.prompt(_frame(0, red=96), {A: _mask(96)})
        return session.step(_frame(1, red=352))

    found = after_a_jump()
    assert [tokens for (tokens,) in looked] == [196, 16 * 28]
    monkeypatch.setattr(memory_batch, "around", lambda cells, grid: whole_frame(grid))
    torch.testing.assert_close(found.logits, after_a_jump().logits, atol=1e-4, rtol=1e-4)
    assert found.mask(A)[_mask(352).bitmap].mean() > 0.8


def test_only_the_object_that_jumped_is_looked_for_again(segmenter, looked):
    session = Tracker(segmenter).session()
    session.prompt(_frame(0, 32, 192), {A: _mask(32), B: _mask(192)})
    session.step(_frame(1, 32, 368))
    first, again = looked
    assert all(0 < tokens < 16 * 28 for tokens in first)
    assert again == [0, 16 * 28]


def test_after_many_frames_that_were_left_out_the_whole_frame_is_looked_at(segmenter, looked):
    session = Tracker(segmenter).session()
    session.prompt(_frame(0, red=96), {A: _mask(96)})
    session.step(_frame(4, red=96))
    session.step(_frame(20, red=96))
    (after_some,), (after_many,) = looked
    assert after_some < after_many == 16 * 28


def test_a_concept_is_asked_about_the_whole_frame(segmenter, looked):
    tracker = Tracker(segmenter)
    session = tracker.session()
    session.prompt(_frame(0, red=96), {A: _mask(96)})
    concept = Concept(torch.zeros(segmenter.widths.descriptor))
    features = segmenter.encode([_frame(1, red=96)])
    for asked in (None, concept):
        with torch.inference_mode():
            track_objects(tracker, features, PlaybackPosition(1), [session.tracks[A]], [asked], [0])
    (unasked,), (asked_about,) = looked
    assert unasked < asked_about == 16 * 28


def test_in_training_the_whole_frame_is_looked_at(segmenter, looked):
    session = Tracker(segmenter).session()
    segmenter.network.train()
    try:
        session.prompt(_frame(0, red=96), {A: _mask(96)})
        session.step(_frame(1, red=96))
    finally:
        segmenter.network.eval()
    assert looked == [[16 * 28]]
