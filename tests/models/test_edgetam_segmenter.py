"""EdgeTAM as a segmenter: memories of different length, and a concept encoder beside it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.closeness import close
from helpers.edgetam_reference import SIDE, tiny_edgetam, weights_file
from helpers.sam2_toy import random_frame
from segment_concept import compat
from segment_concept.checkpoints.load import load
from segment_concept.models.verifying import LocatedConcept, SeparateConceptEncoder
from segment_concept.recipes import find_recipe
from segment_concept.tracking.concept import ConceptRequest, Keyframe
from segment_concept.tracking.memory import Memory, Recall, RecalledMap, RecalledPointer
from segment_concept.tracking.policies.sam2long import TreeMemory
from segment_concept.tracking.policies.samurai import MotionMemory
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import Every
from segment_concept.types import CheckpointError, InputError, Mask, ObjectId

ONE, TWO = ObjectId(1), ObjectId(2)
TOKENS, MEMORY_WIDTH = 8 + 4 * 4, 64


def bitmap(left: int) -> Mask:
    shown = np.zeros((48, 80), bool)
    shown[8:32, left : left + 30] = True
    return Mask(shown)


def recall(memories: int, seed: int, key_scale: float = 1.0) -> Recall:
    random = torch.Generator().manual_seed(seed)
    known = [
        Memory(
            frame_index=i,
            features=torch.randn(TOKENS, MEMORY_WIDTH, generator=random),
            pointer=torch.randn(SIDE, generator=random),
            iou=0.9,
            presence=1.0,
            logits=torch.zeros(SIDE // 4, SIDE // 4),
        )
        for i in range(memories)
    ]
    return Recall(
        maps=tuple(RecalledMap(n % 7, m, key_scale) for n, m in enumerate(known)),
        pointers=tuple(RecalledPointer(n + 1, m, key_scale) for n, m in enumerate(known[1:])),
    )


@torch.inference_mode()
def test_objects_with_memories_of_different_length_are_as_each_alone():
    segmenter = tiny_edgetam()
    features = segmenter.encode([random_frame()])
    recalls = [recall(3, 0), recall(1, 1), recall(5, 2, key_scale=0.95)]
    together = segmenter.propose(features, recalls, [None] * 3, [0, 0, 0])
    for i, one in enumerate(recalls):
        alone = segmenter.propose(features, [one], [None], [0])
        close(together.logits[i], alone.logits[0], 1e-4)
        close(together.pointers[i], alone.pointers[0], 1e-4)


@torch.inference_mode()
def test_the_order_of_memories_and_their_slots_matter_as_they_should():
    segmenter = tiny_edgetam()
    features = segmenter.encode([random_frame()])
    given = recall(3, 0)
    turned = replace(given, maps=given.maps[::-1])
    slots = replace(given, maps=tuple(replace(m, slot=6 - m.slot) for m in given.maps))
    expected, same, other = (
        segmenter.propose(features, [r], [None], [0]).logits for r in (given, turned, slots)
    )
    close(same, expected, 1e-4)
    assert float((other - expected).abs().max()) > 1e-3


@pytest.mark.parametrize("policy", [MotionMemory(), TreeMemory(), ReliableMemory(slots=7)])
def test_every_memory_policy_works_with_condensed_memories(policy):
    session = Tracker(tiny_edgetam(), policy).session()
    session.prompt(random_frame(0), {ONE: bitmap(5), TWO: bitmap(40)})
    for result in session.track([random_frame(i) for i in (1, 2, 3)]):
        assert result.object_ids == (ONE, TWO)
        assert torch.isfinite(result.logits).all()


def test_a_memory_is_a_fixed_number_of_tokens_at_any_size():
    session = load("edgetam", weights=str(weights_file()), device="cpu", size=256).session()
    session.prompt(random_frame(), {ONE: bitmap(5)})
    (memory,) = session.tracks[ONE][0].bank.prompted
    assert memory.features.shape == (TOKENS, MEMORY_WIDTH)
    assert memory.features.dtype == torch.bfloat16


def sec_edgetam(**changes) -> Tracker:
    return load("sec_edgetam", weights=str(weights_file()), device="cpu", size=256, **changes)


def test_the_recipe_has_secs_memory_and_triggers_and_the_bundled_concept_encoder():
    tracker = sec_edgetam()
    assert isinstance(tracker.concept, SeparateConceptEncoder)
    assert tracker.policy == ReliableMemory(slots=7, pointers=16)
    assert tracker.trigger == find_recipe("sec_compact").trigger


def test_the_concept_encoder_decides_on_presence_where_it_is_queried():
    asked = sec_edgetam(trigger=Every(2), concept_margin=0.0)
    never = load("edgetam", weights=str(weights_file()), device="cpu", size=256)
    never = replace(never, policy=asked.policy)
    sessions = [asked.session(), never.session()]
    for session in sessions:
        session.prompt(random_frame(0), {ONE: bitmap(5)})
    first, second = ([s.step(random_frame(i)) for s in sessions] for i in (1, 2))
    assert [r.concept_queried for r in first] == [False, False]
    close(first[0].presence, first[1].presence, 1e-5)
    assert [r.concept_queried for r in second] == [True, False]
    assert float((second[0].presence - second[1].presence).abs().max()) > 1e-3


@torch.inference_mode()
def test_an_object_that_the_verifier_rejects_gets_the_pointer_of_an_absent_one():
    tracker = sec_edgetam(trigger=Every(1))
    segmenter, encoder = tracker.segmenter, tracker.concept
    frame = random_frame(3)
    features = segmenter.encode([frame])
    requests = [ConceptRequest((Keyframe(random_frame(0), bitmap(5).bitmap),))] * 2
    concepts = encoder.encode(requests, frame, features)
    assert all(isinstance(c, LocatedConcept) for c in concepts)
    given = [replace(recall(2, 0), presence_threshold=t) for t in (-1e6, 1e6)]
    found = segmenter.propose(features, given, concepts, [0, 0])
    close(found.presence[0], found.presence[1], 1e-4)
    assert torch.equal(found.pointers[1], segmenter.network.no_object_pointer.expand(3, -1))
    assert not torch.equal(found.pointers[0], found.pointers[1])
    mixed = segmenter.propose(features, given[:1] * 2, [concepts[0], None], [0, 0])
    plain = tiny_edgetam_at_256().propose(features, given[:1], [None], [0])
    close(mixed.presence[1], plain.presence[0], 1e-4)


def tiny_edgetam_at_256():
    return load("edgetam", weights=str(weights_file()), device="cpu", size=256).segmenter


def test_scripts_for_sam_2_run_with_edgetam():
    predictor = compat.build_sam2_video_predictor(None, weights_file(), device="cpu", size=256)
    assert predictor.image_size == 256
    state = predictor.init_state([random_frame(i).rgb for i in range(3)])
    predictor.add_new_mask(state, 0, 1, bitmap(5).bitmap)
    found = [logits.shape for _, _, logits in predictor.propagate_in_video(state)]
    assert found == [(1, 1, 48, 80)] * 3


def test_weights_of_edgetam_are_recognized_where_sam_2s_are_expected():
    with pytest.raises(CheckpointError, match="EdgeTAM's weights: use them with the recipe edget"):
        load("sam2_tiny", weights=str(weights_file()), device="cpu")


def test_a_side_that_is_no_multiple_of_256_is_refused():
    with pytest.raises(InputError, match="recipe edgetam takes multiples of 256 from 256 to 1024"):
        load("edgetam", size=640)
