"""SeC's release, tracked end to end; what its language model said is read from the reference."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from sam2_reference import (
    ONE,
    Watched,
    WatchedSegmenter,
    frames_of,
    selection,
    stored,
    tiny_sec,
)
from torch import Tensor

from segment_concept.models.sam2.memories import concept_tokens
from segment_concept.tracking.keyframes import ConceptRequest
from segment_concept.tracking.policies import ReliableMemory
from segment_concept.tracking.tracker import Session, Tracker
from segment_concept.tracking.triggers import published_hsv
from segment_concept.types import Frame, FrameResult, Mask, ObjectId

LOGITS, MAPS = 1e-3, 0.06
SLOTS, KEYFRAMES = 22, 3


@dataclass
class StoredConcepts:
    """A concept encoder that answers from the reference and writes down what it was shown."""

    tensors: dict[str, Tensor]
    asked: dict[int, list[int]] = field(default_factory=dict)

    def encode(self, requests: Sequence[ConceptRequest], query: Frame) -> list[Tensor]:
        self.asked[query.index] = [k.frame.index for k in requests[0].keyframes]
        return [self.tensors[f"concept.{query.index}"][0] for _ in requests]


@dataclass
class Run:
    """The reference video, tracked."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    session: Session
    segmenter: WatchedSegmenter
    policy: Watched
    concepts: StoredConcepts
    results: list[FrameResult]
    banks: list[list[int]]


@pytest.fixture(scope="module")
def run() -> Run:
    tensors, facts = stored("parity", "sec_track")
    return tracked(tensors, facts, [ONE])


def tracked(tensors: dict[str, Tensor], facts: dict[str, Any], ids: list[ObjectId]) -> Run:
    segmenter, concepts = tiny_sec(), StoredConcepts(tensors)
    policy = Watched(ReliableMemory(video_length=facts["T"]))
    tracker = Tracker(segmenter, policy, published_hsv(), concepts, keyframes=KEYFRAMES)
    session = tracker.session()
    frames = frames_of(tensors["frames"])
    mask = Mask(tensors["mask0"].numpy() > 0)
    results, banks = [session.prompt(frames[0], dict.fromkeys(ids, mask))], []
    for frame in frames[1:]:
        banks.append([k.frame.index for k in session.banks[ids[0]].keyframes])
        results.append(session.step(frame))
    banks.append([k.frame.index for k in session.banks[ids[0]].keyframes])
    return Run(tensors, facts, session, segmenter, policy, concepts, results, banks)


def close(ours: Tensor, reference: Tensor, within: float = LOGITS) -> None:
    torch.testing.assert_close(ours.float(), reference.float(), atol=within, rtol=0)


def test_the_concept_is_asked_on_the_frames_of_the_release(run):
    asked = [result.frame_index for result in run.results if result.used_concept]
    assert asked == run.facts["trigger_frames"]
    distances = [result.scene_change for result in run.results[1:]]
    np.testing.assert_allclose(distances, run.tensors["hsv_distance"], atol=1e-6)


def test_keyframes_are_those_of_the_release(run):
    # The release's list grows without end and its first and newest two are read: those we keep.
    whole = run.facts["keyframe_bank_after_frame"]
    kept = [[*b[:1], *b[1:][-(KEYFRAMES - 1) :]] for b in (whole[str(t)] for t in range(36))]
    assert run.banks == kept
    used = run.facts["keyframes_used_at_trigger"]
    assert {str(t): frames for t, frames in run.concepts.asked.items()} == used


def test_memories_are_recalled_as_in_the_release(run):
    recalled = {str(i): selection(recall, SLOTS) for i, recall in run.policy.recalls}
    keys = ("memory", "ptr_pos", "ptr_frames")
    expected = run.facts["memory_selection"]
    assert recalled == {t: {key: chosen[key] for key in keys} for t, chosen in expected.items()}


def test_features_are_fused_with_the_concept_as_in_the_release(run):
    for name in (n for n in run.tensors if n.startswith("pix_feat_fused.")):
        index = int(name.split(".")[1])
        close(run.segmenter.conditioned[index - 1], run.tensors[name])


def test_a_concept_is_cut_into_tokens_as_in_the_release(run):
    for index in run.facts["trigger_frames"]:
        tokens = concept_tokens(run.tensors[f"concept.{index}"], 64)
        assert torch.equal(tokens.values[0], run.tensors[f"token_attn_memory.{index}"][:, 0])


def test_masks_scores_pointers_and_memories_are_those_of_the_release(run):
    close(torch.stack([r.logits for r in run.results[::6]]), run.tensors["video_res_masks"])
    foreground = [int((result.logits > 0).sum()) for result in run.results]
    assert foreground == run.facts["fg_pixels"]
    (track,) = run.session.tracks[ONE]
    kept = (*track.bank.prompted, *track.bank.tracked)
    assert len(kept) == 1 + SLOTS - 1
    for memory in kept:
        at = memory.frame_index
        close(memory.logits, run.tensors["pred_masks"][at, 0])
        close(memory.pointer, run.tensors["obj_ptr"][at])
        close(memory.features, run.tensors["maskmem_features"][at], MAPS)
    for index, proposals in enumerate(run.segmenter.proposals[1:], start=1):
        close(proposals.iou[0], run.tensors["ious"][index])
        close(proposals.presence, run.tensors["object_score_logits"][index])


def test_two_objects_are_tracked_as_two_runs_of_one(run):
    both = tracked(run.tensors, run.facts, [ONE, ObjectId(2)])
    for one, two in zip(run.results, both.results, strict=True):
        close(two.logits, one.logits.expand(2, -1, -1))
