"""The compact network under the tracker's protocol, with random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from segment_concept import Box, Frame, FrameResult, Mask, ObjectId, Points, Tracker
from segment_concept.models.compact import network as network_module
from segment_concept.models.compact import segmenter as segmenter_module
from segment_concept.models.compact.segmenter import CompactSegmenter, input_size
from segment_concept.ops.side_by_side import shared_cores
from segment_concept.tracking.memory import Moment
from segment_concept.tracking.policies import RecentMemory, ReliableMemory
from segment_concept.tracking.segmenter import Proposals

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


def test_what_is_remembered_decides_the_mask(segmenter, frames):
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


def test_all_at_once_finds_what_one_after_another_does(segmenter, frames, monkeypatch):
    """The way of a GPU, which the tests have none of."""
    prompts = {A: Mask(square(30)), B: Box(60, 20, 90, 50), C: Points.on((20.0, 30.0))}

    def found() -> list[torch.Tensor]:
        session = Tracker(segmenter).session()
        session.prompt(frames[0], prompts)
        return [result.logits for result in session.track(frames[1:])]

    one_by_one = found()
    monkeypatch.setattr(network_module, "_AT_ONCE", 2)
    network = segmenter.network
    monkeypatch.setattr(network, "propose", network.propose_at_once)
    for at_once, expected in zip(found(), one_by_one, strict=True):
        torch.testing.assert_close(at_once, expected, atol=1e-4, rtol=1e-4)


def test_a_click_is_answered_again_with_the_mask_of_its_answer(segmenter, frames, monkeypatch):
    features = segmenter.encode(frames[:1])
    prompts = [Points.on((20.0, 30.0)), Box(60, 20, 90, 50)]

    def answered(looks: int, previous: torch.Tensor | None = None) -> Proposals:
        monkeypatch.setattr(segmenter_module, "_LOOKS", looks)
        return segmenter.segment(features, prompts, [previous, None], [None, None], [0, 0])

    once, twice = answered(1), answered(2)
    best = once.logits[0, once.iou[0].argmax()]
    torch.testing.assert_close(twice.logits, answered(1, best).logits)
    assert not torch.allclose(twice.logits[0], once.logits[0])
    torch.testing.assert_close(twice.logits[1], once.logits[1])  # a box is not looked at so often
    torch.testing.assert_close(
        answered(4, best).logits, answered(1, best).logits
    )  # corrections too


def test_a_box_is_looked_at_again_closer(segmenter, frames, monkeypatch):
    seen = []
    encode = segmenter.encode
    monkeypatch.setattr(segmenter, "encode", lambda f: seen.append(f[0].size) or encode(f))
    features = segmenter.encode(frames[:1])
    prompts = [Box(60, 20, 84, 38), Mask(square(30)), Points.on((20.0, 30.0))]

    def answered(features, previous=None):
        given = [previous, None, None]
        return segmenter.segment(features, prompts, given, [None] * 3, [0] * 3)

    once = answered(replace(features, frames=()))
    assert seen == [(72, 120)]
    twice = answered(features)
    assert seen == [(72, 120), (27, 36)]  # once and a half the box
    assert not torch.equal(once.logits[0], twice.logits[0])
    assert torch.equal(once.logits[1:], twice.logits[1:])
    assert torch.equal(once.iou, twice.iou)
    answered(features, previous=once.logits[0, 0])  # a correction is not
    assert len(seen) == 2
    segmenter.segment(
        features, [Box(1, 1, 119, 71)], [None], [None], [0]
    )  # nor what is all there is
    assert len(seen) == 2


@pytest.mark.parametrize(
    "box", [(0, 0, 9, 9), (100, 60, 120, 72), (50, 1, 52, 70), (3, 30, 118, 33)]
)
def test_what_is_looked_at_again_is_of_the_frame_and_holds_the_box(box):
    x0, y0, x1, y1 = segmenter_module._around(Box(*box), (72, 120))
    assert 0 <= x0 <= box[0] < box[2] <= x1 <= 120
    assert 0 <= y0 <= box[1] < box[3] <= y1 <= 72
    assert 0.45 < (x1 - x0) / (y1 - y0) < 2.2 or y1 - y0 == 72  # at most twice as long as wide


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
        recall = RecentMemory().recall(session.tracks[A][0].bank, Moment(2))
        maps = tuple(replace(m, key_scale=1.0 if m.prompted else scale) for m in recall.maps)
        features = segmenter.encode([frames[2]])
        return segmenter.propose(features, [replace(recall, maps=maps)], [None], [0]).logits

    assert torch.equal(conditioned(1.0), conditioned(1.0))
    assert not torch.allclose(conditioned(1.0), conditioned(0.5), atol=1e-3)
