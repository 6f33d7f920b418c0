"""SAM 2.1 as a segmenter: batches, prompts, concepts, options and number types."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.sam2_toy import (
    EXACT_MEMORY,
    MEMORY_WIDTH,
    SIDE,
    WIDTH,
    far_apart,
    random_frame,
    recall,
    toy_network,
    toy_segmenter,
)
from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.segmenter import Concept, Proposals, SelectedMasks
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Box, InputError, Mask, ObjectId, Points

FIELDS = ("logits", "iou", "pointers", "presence")


def a_mask() -> Mask:
    bitmap = np.zeros((48, 80), bool)
    bitmap[10:30, 20:50] = True
    return Mask(bitmap)


def same(ours: Proposals, other: Proposals, row: int = 0, within: float = 1e-4) -> None:
    for field in FIELDS:
        a, b = getattr(ours, field)[row], getattr(other, field)[0]
        torch.testing.assert_close(a, b, atol=within, rtol=0)


@torch.inference_mode()
def test_objects_with_memories_of_different_length_advance_together_as_alone():
    segmenter = toy_segmenter()
    features = segmenter.encode([random_frame(0), random_frame(1)])
    recalls = [recall(1, 1, seed=1), recall(4, 3, seed=2), recall(2, 4, seed=3)]
    concepts = [None, Concept(torch.randn(WIDTH, generator=torch.Generator().manual_seed(4))), None]
    images = [0, 1, 0]
    together = segmenter.propose(features, recalls, concepts, images)
    assert together.logits.shape == (3, 3, SIDE // 4, SIDE // 4)
    for row, image in enumerate(images):
        alone = segmenter.encode([random_frame(image)])
        one = segmenter.propose(alone, [recalls[row]], [concepts[row]], [0])
        same(together, one, row)


@torch.inference_mode()
def test_objects_are_remembered_together_as_alone():
    segmenter = toy_segmenter()
    features = segmenter.encode([random_frame(0), random_frame(1)])
    random = torch.Generator().manual_seed(0)
    selected = SelectedMasks(
        torch.randn(3, SIDE // 4, SIDE // 4, generator=random),
        torch.tensor([2.0, -1.0, 0.5]),
        torch.randn(3, WIDTH, generator=random),
    )
    together, shared = segmenter.encode_memory(features, selected, [1, 0, 1], prompted=False)
    assert together.shape == (3, MEMORY_WIDTH, SIDE // 16, SIDE // 16)
    assert list(shared) == [None, None, None]
    for row, image in enumerate([1, 0, 1]):
        one = SelectedMasks(*(getattr(selected, f)[row : row + 1] for f in selected.__slots__))
        alone, _ = segmenter.encode_memory(features, one, [image], prompted=False)
        torch.testing.assert_close(together[row], alone[0], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_prompts_of_every_kind_are_answered_together_as_alone():
    segmenter = toy_segmenter()
    features = segmenter.encode([random_frame(0), random_frame(1)])
    previous = torch.randn(SIDE // 4, SIDE // 4, generator=torch.Generator().manual_seed(0)) * 50
    rows = [
        (Points.on((30, 20)), None, None),
        (a_mask(), None, None),
        (Box(10, 10, 60, 40), None, None),
        (Points(((30, 20), (5, 5)), (True, False)), previous, None),
        (Points.on((40, 30)), previous, recall(2, 2)),
        (Points.on((12, 9)), None, None),
        (Points(((30, 20),), (True,), Box(10, 10, 60, 40)), None, None),
    ]
    images = [0, 1, 0, 1, 0, 1, 0]
    prompts, corrected, recalls = (list(column) for column in zip(*rows, strict=True))
    together = segmenter.segment(features, prompts, corrected, recalls, images)
    assert together.iou.shape == (7, 3)
    for row, image in enumerate(images):
        one = segmenter.segment(features, [prompts[row]], [corrected[row]], [recalls[row]], [image])
        count = one.iou.shape[1]
        part = replace(
            together,
            logits=together.logits[:, :count],
            iou=together.iou[:, :count],
            pointers=together.pointers[:, :count],
        )
        same(part, one, row)


@torch.inference_mode()
def test_a_given_mask_is_taken_as_it_is():
    segmenter = toy_segmenter()
    features = segmenter.encode([random_frame()])
    answer = segmenter.segment(features, [a_mask()], [None], [None], [0])
    assert answer.iou.tolist() == [[1.0]]
    assert answer.presence.tolist() == [10.0]
    grid = torch.from_numpy(a_mask().bitmap)[1::3, 2::5]  # near the centres of 16 x 16 cells
    assert torch.equal(answer.logits[0, 0] > 0, grid)


@torch.inference_mode()
def test_a_mask_of_one_pixel_in_a_large_frame_is_not_lost():
    segmenter = toy_segmenter()
    frame = random_frame(size=(700, 900))
    bitmap = np.zeros(frame.size, bool)
    bitmap[350, 450] = True
    features = segmenter.encode([frame])
    answer = segmenter.segment(features, [Mask(bitmap)], [None], [None], [0])
    assert answer.logits.max() > -10


@torch.inference_mode()
def test_a_correction_reads_the_previous_logits_up_to_a_limit():
    segmenter = toy_segmenter()
    features = segmenter.encode([random_frame()])
    click = Points(((30, 20), (5, 5)), (True, False))
    before = torch.full((SIDE // 4, SIDE // 4), 32.0)
    before[4:9, 4:9] = -32.0
    answers = [
        segmenter.segment(features, [click], [previous], [None], [0]).logits
        for previous in (None, before, before * 10)
    ]
    assert far_apart(answers[0], answers[1])
    assert torch.equal(answers[1], answers[2])


@torch.inference_mode()
def test_only_objects_with_a_concept_see_it():
    segmenter = toy_segmenter()
    features = segmenter.encode([random_frame()])
    memories = [recall(2, 1, seed=1), recall(2, 1, seed=2)]
    concept = Concept(torch.ones(WIDTH))
    with_one = segmenter.condition(features, memories, [None, concept], [0, 0])
    without = segmenter.condition(features, memories, [None, None], [0, 0])
    assert torch.equal(with_one[0], without[0])
    alone = segmenter.condition(features, [None], [concept], [0])
    plain = segmenter.network.without_memory(features.maps.coarse)
    recognised = 2 * alone[0] - plain[0]
    expected = (without[1] + recognised) / 2
    torch.testing.assert_close(with_one[1], expected, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_concept_for_weights_that_cannot_use_it_is_refused():
    segmenter = toy_segmenter(concept=False)
    features = segmenter.encode([random_frame()])
    with pytest.raises(InputError, match="token_attn"):
        segmenter.propose(features, [recall(1, 1)], [Concept(torch.ones(WIDTH))], [0])


@torch.inference_mode()
def test_an_unstable_single_mask_gives_way_to_the_best_of_three_but_keeps_its_pointer():
    network = toy_network()
    prompt = Box(10, 10, 60, 40)
    answers = {}
    for fallback in (False, True):
        segmenter = Sam2Segmenter(network, Sam2Options(stability_fallback=fallback))
        features = segmenter.encode([random_frame()])
        answers[fallback] = segmenter.segment(features, [prompt], [None], [None], [0])
    single = answers[False].logits
    stability = (single > 0.05).sum() / (single > -0.05).sum()
    assert stability < 0.98, "the toy's mask should be one on which the fallback fires"
    assert far_apart(answers[True].logits, single)
    assert torch.equal(answers[True].pointers, answers[False].pointers)


@torch.inference_mode()
def test_prompted_masks_are_remembered_as_0_and_1_or_as_probabilities():
    maps = []
    for options in (EXACT_MEMORY, replace(EXACT_MEMORY, binary_prompts=False)):
        segmenter = toy_segmenter(options)
        features = segmenter.encode([random_frame()])
        soft = torch.linspace(-1, 1, SIDE // 4).expand(1, SIDE // 4, -1)
        selected = SelectedMasks(soft, torch.ones(1), torch.zeros(1, WIDTH))
        maps += [
            segmenter.encode_memory(features, selected, [0], prompted=p)[0] for p in (True, False)
        ]
    assert far_apart(maps[0], maps[1])
    assert torch.equal(maps[1], maps[2])
    assert torch.equal(maps[2], maps[3])


@torch.inference_mode()
def test_an_absent_object_points_to_nothing():
    segmenter = toy_segmenter()
    features = segmenter.encode([random_frame()])
    memory = recall(2, 1)
    presence = segmenter.propose(features, [memory], [None], [0]).presence.item()
    pointers = [
        segmenter.propose(
            features, [replace(memory, presence_threshold=presence + margin)], [None], [0]
        ).pointers
        for margin in (0.5, -0.5)
    ]
    nothing = segmenter.network.no_object_pointer
    assert torch.equal(pointers[0][0], nothing.expand(3, -1))
    assert far_apart(pointers[1], pointers[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_handled_inside(dtype):
    exact, half = toy_segmenter(), toy_network().to(dtype)
    sessions = [Tracker(s, ReliableMemory(slots=4)).session() for s in (exact, Sam2Segmenter(half))]
    for frame in (random_frame(i) for i in range(4)):
        results = [
            s.step(frame) if s.object_ids else s.prompt(frame, {ObjectId(1): a_mask()})
            for s in sessions
        ]
    assert results[1].logits.dtype == torch.float32
    assert torch.isfinite(results[1].logits).all()
    difference = (results[0].logits - results[1].logits).abs().mean()
    assert difference < 0.1 * results[0].logits.abs().mean()


def test_training_reaches_the_memory_attention_through_a_step():
    segmenter = toy_segmenter()
    features = segmenter.encode([random_frame()])
    proposals = segmenter.propose(features, [recall(2, 2), recall(1, 0)], [None, None], [0, 0])
    proposals.logits.sum().backward()
    gradient = segmenter.network.memory_attention.layers[0].linear1.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@torch.inference_mode()
def test_compiled_networks_give_the_same_masks_and_memories():
    network = toy_network()
    outputs = []
    for compiled in ("no", "inductor"):
        segmenter = Sam2Segmenter(network, replace(EXACT_MEMORY, compiled=compiled))
        features = segmenter.encode([random_frame()])
        memories = [recall(2, 1, seed=1), recall(4, 3, seed=2)]
        first = segmenter.propose(features, memories, [None, None], [0, 0])
        concept = Concept(torch.randn(WIDTH, generator=torch.Generator().manual_seed(4)))
        second = segmenter.propose(features, [recall(3, 4, seed=3)], [concept], [0])
        best = SelectedMasks(first.logits[:, 0], first.presence, first.pointers[:, 0])
        maps, _ = segmenter.encode_memory(features, best, [0, 0], prompted=False)
        outputs.append((first.logits, second.logits, maps))
    for plain, fast in zip(*outputs, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)
