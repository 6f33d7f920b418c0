"""EdgeTAM as in transformers' video model, frame by frame, with the same random weights.

Logits and scores within 1e-4, in float32. A mask prompt is left out: transformers computes its
pointer and its memory otherwise than the release does, as it does for SAM 2.
"""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers.models.edgetam_video.modeling_edgetam_video import EdgeTamVideoInferenceSession

from helpers.closeness import close
from helpers.edgetam_reference import SIDE, reference, tiny_edgetam
from segment_concept.ops.resize import normalized_square
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Box, Frame, ObjectId, Points, Prompt

ONE = ObjectId(1)
SIZE, LENGTH = (64, 96), 12
TOLERANCE = 1e-4
PROMPTS = {
    "one click": Points.on((40.0, 30.0)),
    "two clicks": Points(((40.0, 30.0), (80.0, 50.0)), (True, False)),
    "a box": Box(20.0, 10.0, 70.0, 50.0),
}


@cache
def frames() -> list[Frame]:
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    return [Frame(i, np.roll(pixels, 3 * i, axis=1)) for i in range(LENGTH)]


def labeled(prompt: Prompt) -> tuple[list[tuple[float, float]], list[int]]:
    if isinstance(prompt, Box):
        return [(prompt.x0, prompt.y0), (prompt.x1, prompt.y1)], [2, 3]
    assert isinstance(prompt, Points)
    return list(prompt.xy), [int(on) for on in prompt.foreground]


@torch.inference_mode()
def expected(prompt: Prompt) -> list[tuple[Tensor, float]]:
    """Mask logits and object score of every frame, by transformers."""
    model, (height, width) = reference(), SIZE
    session = EdgeTamVideoInferenceSession(
        video=torch.stack([normalized_square(frame.rgb, SIDE) for frame in frames()]),
        video_height=height,
        video_width=width,
        dtype=torch.float32,
    )
    xy, labels = labeled(prompt)
    scaled = [(x / width * SIDE, y / height * SIDE) for x, y in xy]
    given = {"point_coords": torch.tensor([[scaled]]), "point_labels": torch.tensor([[labels]])}
    session.add_point_inputs(session.obj_id_to_idx(1), 0, given)
    session.obj_with_new_inputs = [1]
    answers = [model(session, frame_idx=i) for i in range(LENGTH)]
    return [(a.pred_masks[0, 0], float(a.object_score_logits)) for a in answers]


def ours(prompt: Prompt) -> list[tuple[Tensor, float]]:
    session = Tracker(tiny_edgetam(), RecentMemory(video_length=LENGTH)).session()
    found = []
    for frame in frames():
        session.step(frame, {ONE: prompt} if frame.index == 0 else {})
        assert session.previous is not None
        state = session.previous.states[ONE]
        found.append((state.logits, state.presence))
    return found


@pytest.mark.parametrize("name", PROMPTS)
def test_every_frame_has_the_logits_and_the_score_of_transformers(name):
    for (logits, score), (theirs, their_score) in zip(
        ours(PROMPTS[name]), expected(PROMPTS[name]), strict=True
    ):
        close(logits, theirs, TOLERANCE)
        assert score == pytest.approx(their_score, abs=TOLERANCE)


def test_memories_change_the_logits_by_far_more_than_the_tolerance():
    tracked = ours(PROMPTS["one click"])
    assert min(float((a - tracked[11][0]).abs().max()) for a, _ in tracked[1:5]) > 100 * TOLERANCE
