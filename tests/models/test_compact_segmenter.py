"""The compact network under the tracker's protocol, with random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from segment_concept import Box, Frame, FrameResult, Mask, ObjectId, Points, Tracker
from segment_concept.models.compact.mask_decoder import MASKS
from segment_concept.models.compact.roi import group_rois
from segment_concept.models.compact.segmenter import (
    ISLAND_LOGIT,
    CompactSegmenter,
    input_size,
)
from segment_concept.runtime.parallel import shared_cores
from segment_concept.tracking.memory import PlaybackPosition
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sam2long import TreeMemory
from segment_concept.tracking.policies.samurai import MotionMemory
from segment_concept.tracking.policies.sec import ReliableMemory

A, B, C = ObjectId(1), ObjectId(2), ObjectId(3)


@pytest.fixture(scope="module")
def segmenter() -> CompactSegmenter:
    """Random weights, made lively enough that masks and presence depend on what is remembered."""
    torch.manual_seed(0)
    model = CompactSegmenter(short_side=64).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "kernels" in name or "presence" in name or "iou" in name:
            parameter.normal_(0, 0.05)
    model.network.decoder.presence[-1].bias.fill_(3.0)  # there, unless something speaks against
    return model


@pytest.fixture
def frames() -> list[Frame]:
    rng = np.random.default_rng(0)
    still = rng.integers(0, 255, (72, 120, 3), dtype=np.uint8)
    return [Frame(t, np.roll(still, 3 * t, axis=1)) for t in range(6)]


def square(x: int) -> np.ndarray:
    mask = np.zeros((72, 120), bool)
    mask[20:50, x : x + 30] = True
    return mask


@pytest.mark.parametrize(
    ("video", "expected"),
    [((480, 854), (256, 448)), ((854, 480), (448, 256)), ((20, 20), (256, 256))],
)
def test_the_input_keeps_the_aspect_in_multiples_of_the_stride(video, expected):
    assert input_size(video, 256) == expected


@pytest.mark.parametrize("video", [(9, 400), (400, 9), (4, 16000), (3000, 2), (100, 410)])
def test_the_input_of_a_long_video_has_about_as_many_pixels_as_at_four_to_one(video):
    h, w = input_size(video, 256)
    assert h * w <= 1.1 * 4 * 256**2
    assert (h > w) == (video[0] > video[1])


@pytest.mark.parametrize(
    ("policy", "masks"),
    [(RecentMemory(), 1), (ReliableMemory(), 1), (MotionMemory(), MASKS), (TreeMemory(), MASKS)],
)
def test_a_tracked_frame_has_one_mask_unless_the_policy_chooses_among_several(
    segmenter, frames, monkeypatch, policy, masks
):
    counted = []
    propose = segmenter.propose

    def noted(*inputs):
        proposals = propose(*inputs)
        counted.append(proposals.iou.shape[1])
        return proposals

    monkeypatch.setattr(segmenter, "propose", noted)
    session = Tracker(segmenter, policy).session()
    session.prompt(frames[0], {A: Mask(square(30))})
    session.step(frames[1])
    assert counted == [masks]


def test_a_given_mask_is_its_own_answer(segmenter, frames):
    result = Tracker(segmenter).session().prompt(frames[0], {A: Mask(square(30))})
    wrong = result.mask(A) ^ square(30)
    assert wrong.mean() < 0.03  # only the border, at the decoder's resolution
    assert result.presence[0] > 0.99


@pytest.mark.parametrize("policy", [RecentMemory(slots=3, pointers=4), ReliableMemory(slots=3)])
def test_objects_together_are_what_they_are_alone(segmenter, frames, policy):
    prompts = {A: Mask(square(30)), B: Box(60, 20, 90, 50), C: Points.on((20.0, 30.0))}
    together = Tracker(segmenter, policy).session()
    together.prompt(frames[0], prompts)
    results = list(together.track(frames[1:]))
    for row, (who, prompt) in enumerate(prompts.items()):
        alone = Tracker(segmenter, policy).session()
        alone.prompt(frames[0], {who: prompt})
        for result, expected in zip(results, alone.track(frames[1:]), strict=True):
            torch.testing.assert_close(result.logits[row], expected.logits[0], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(
                result.presence[row], expected.presence[0], atol=1e-4, rtol=0
            )


def test_objects_with_memories_of_different_length_advance_together(segmenter, frames):
    session = Tracker(segmenter).session()
    session.prompt(frames[0], {A: Mask(square(30))})
    list(session.track(frames[1:3]))
    session.prompt(frames[2], {B: Mask(square(60))})
    both = session.step(frames[3])
    alone = Tracker(segmenter).session()
    alone.prompt(frames[2], {B: Mask(square(60))})
    torch.testing.assert_close(
        both.logits[1], alone.step(frames[3]).logits[0], atol=1e-4, rtol=1e-4
    )


def test_memory_determines_the_mask(segmenter, frames):
    answers = []
    for x in (10, 70):
        session = Tracker(segmenter).session()
        session.prompt(frames[0], {A: Mask(square(x))})
        answers.append(session.step(frames[1]).logits)
    assert not torch.allclose(answers[0], answers[1], atol=0.1)


def test_the_mask_bias_moves_the_logits_of_tracked_frames_and_nothing_else(segmenter, frames):
    def tracked(bias: float) -> list[FrameResult]:
        biased = CompactSegmenter(
            segmenter.trunk, segmenter.network, short_side=64, mask_bias=bias
        ).eval()
        session = Tracker(biased).session()
        first = session.prompt(frames[0], {A: Mask(square(30))})
        return [first, *session.track(frames[1:4])]

    plain, moved = tracked(0.0), tracked(0.75)
    torch.testing.assert_close(moved[0].logits, plain[0].logits)
    for one, other in zip(plain[1:], moved[1:], strict=True):
        torch.testing.assert_close(other.logits, one.logits + 0.75, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(other.presence, one.presence)


@pytest.mark.parametrize("training", [False, True])
def test_specks_beside_a_mask_are_lowered_except_in_training(
    segmenter, frames, monkeypatch, training
):
    decode = segmenter.network.propose

    def with_a_speck(*args, **settings):
        proposals = decode(*args, **settings)
        logits = torch.full_like(proposals.logits, -5.0)
        logits[..., 2:10, 2:10] = logits[..., 12, 20] = 5.0
        return replace(proposals, logits=logits)

    monkeypatch.setattr(segmenter.network, "propose", with_a_speck)
    monkeypatch.setattr(segmenter, "training", training)
    session = Tracker(segmenter).session()
    session.prompt(frames[0], {A: Mask(square(30))})
    session.step(frames[1])
    seen = session.tracks[A][0].bank.tracked[-1].logits
    assert (seen[2:10, 2:10] == 5).all()
    assert seen[12, 20] == (5 if training else ISLAND_LOGIT)


def test_a_correction_hears_the_logits_it_corrects(segmenter, frames):
    def corrected(after: int) -> torch.Tensor:
        session = Tracker(segmenter).session()
        session.prompt(frames[0], {A: Mask(square(30))})
        for frame in frames[1 : after + 1]:
            session.step(frame)
        return session.prompt(frames[2], {A: Points.on((45.0, 35.0))}).logits

    assert not torch.allclose(corrected(after=2), corrected(after=1), atol=1e-3)


def test_objects_side_by_side_are_what_they_are_one_after_another(segmenter, frames):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    prompts = {A: Mask(square(30)), B: Box(60, 20, 90, 50), C: Points.on((20.0, 30.0))}
    plain, shared = (Tracker(segmenter).session() for _ in range(2))
    plain.prompt(frames[0], prompts)
    try:
        with shared_cores():
            shared.prompt(frames[0], prompts)
            found = list(shared.track(frames[1:]))
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(plain.track(frames[1:]), found, strict=True):
        torch.testing.assert_close(one.logits, other.logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.presence, other.presence, atol=1e-4, rtol=1e-4)


def test_objects_decoded_in_groups_are_what_they_are_alone(segmenter, frames, monkeypatch):
    prompts = {A: Mask(square(30)), B: Box(60, 20, 90, 50), C: Points.on((20.0, 30.0))}

    def found() -> list[torch.Tensor]:
        session = Tracker(segmenter).session()
        session.prompt(frames[0], prompts)
        return [result.logits for result in session.track(frames[1:])]

    alone = found()
    monkeypatch.setattr(segmenter.network, "_groups", group_rois)
    for together, expected in zip(found(), alone, strict=True):
        torch.testing.assert_close(together, expected, atol=1e-4, rtol=1e-4)


def test_gradients_reach_every_part_that_is_trained(segmenter, frames):
    torch.manual_seed(0)
    model = CompactSegmenter(short_side=64)
    features = model.encode(frames[:1])
    shown = model.segment(features, [Box(30, 20, 60, 50)], [None], [None], [0])
    (shown.logits.sum() + shown.iou.sum()).backward()
    silent = {n for n, p in model.network.named_parameters() if p.grad is None}
    # a first prompt has no memory to be absent from, and is present by definition
    assert all(
        "presence" in n or "absent" in n or "decoder.pointer" in n or "identity" in n
        for n in silent
    ), silent


def test_keys_are_scaled_where_a_policy_says_so(segmenter, frames):
    def conditioned(scale: float) -> torch.Tensor:
        session = Tracker(segmenter).session()
        session.prompt(frames[0], {A: Mask(square(30))})
        session.step(frames[1])
        recall = RecentMemory().recall(session.tracks[A][0].bank, PlaybackPosition(2))
        maps = tuple(replace(m, key_scale=1.0 if m.prompted else scale) for m in recall.maps)
        features = segmenter.encode([frames[2]])
        return segmenter.propose(features, [replace(recall, maps=maps)], [None], [0]).logits

    assert torch.equal(conditioned(1.0), conditioned(1.0))
    assert not torch.allclose(conditioned(1.0), conditioned(0.5), atol=1e-3)


@torch.inference_mode()
def test_the_backbone_computes_in_float32_where_that_is_asked_for(frames):
    torch.manual_seed(0)
    model = CompactSegmenter(short_side=64).eval().requires_grad_(False)
    plain = model.encode(frames[:1]).maps.tokens
    model.move(None, torch.float32)
    torch.testing.assert_close(model.encode(frames[:1]).maps.tokens, plain, rtol=1e-3, atol=1e-4)
    model.move(None, None)
    rounded = model.encode(frames[:1]).maps.tokens
    assert (rounded - plain).square().mean().sqrt() < 0.1 * plain.std()
