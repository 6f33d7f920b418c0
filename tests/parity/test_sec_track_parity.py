"""SeC's release, tracked end to end, number by number.

Once with the concepts of the reference, so that a difference in tracking is seen as such; once
as users have it: weights written to disk, loaded through a recipe, and the language model asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.closeness import LOGITS, close, same_count
from helpers.fixtures import fixture
from helpers.sam2_reference import (
    ONE,
    TINY,
    Watched,
    WatchedSegmenter,
    frames_of,
    selection,
    stored,
    tiny_sec,
)
from segment_concept.checkpoints.load import load
from segment_concept.checkpoints.sec.load import UnstoredOptions, load_sec
from segment_concept.checkpoints.sec.save import save_sec
from segment_concept.models.sam2.memory_tokens import concept_tokens
from segment_concept.recipes import find_recipe
from segment_concept.tracking.concept import ConceptEncoder, ConceptRequest
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.segmenter import Concept, Features
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.scene_change import published_hsv
from segment_concept.types import Frame, FrameResult, Mask, ObjectId

MAPS, CONCEPTS = 0.06, 1e-3
SLOTS, KEYFRAMES = 22, 3
TWO = ObjectId(2)


@dataclass
class StoredConcepts:
    """A concept encoder that answers from the reference."""

    tensors: dict[str, Tensor]

    def encode(
        self, requests: Sequence[ConceptRequest], query: Frame, features: Features
    ) -> list[Concept]:
        return [Concept(self.tensors[f"concept.{query.index}"][0]) for _ in requests]


@dataclass
class WatchedConcepts:
    """Writes down which keyframes a concept encoder was shown, and what it said."""

    encoder: ConceptEncoder
    asked: dict[int, list[list[int]]] = field(default_factory=dict)
    said: dict[int, list[Tensor | None]] = field(default_factory=dict)

    def encode(
        self, requests: Sequence[ConceptRequest], query: Frame, features: Features
    ) -> Sequence[Concept | None]:
        self.asked[query.index] = [[k.frame.index for k in r.keyframes] for r in requests]
        concepts = self.encoder.encode(requests, query, features)
        self.said[query.index] = [None if c is None else c.embedding for c in concepts]
        return concepts


def with_stored_concepts() -> Tracker:
    tensors, facts = stored("parity", "sec_track")
    policy = ReliableMemory(video_length=facts["T"])
    concepts = StoredConcepts(tensors)
    return Tracker(tiny_sec(), policy, published_hsv(), concepts, keyframes=KEYFRAMES)


@cache
def as_loaded() -> Tracker:
    """Saved in our own form, and built from the published recipe."""
    model = load_sec(
        fixture("parity/sec_tiny_weights.safetensors"),
        tokenizer=fixture("parity/sec_tokenizer"),
        unstored=UnstoredOptions(128, TINY),
    )
    with TemporaryDirectory() as folder:
        save_sec(model, Path(folder) / "sec")
        recipe = replace(
            find_recipe("sec_4b"), weights=str(Path(folder) / "sec"), keyframes=KEYFRAMES
        )
        return load(recipe, device="cpu")


@dataclass
class Run:
    """A video, tracked."""

    session: Session
    segmenter: WatchedSegmenter
    policy: Watched
    concepts: WatchedConcepts
    results: list[FrameResult]
    banks: list[list[int]]
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


@pytest.fixture(
    scope="module", params=[with_stored_concepts, as_loaded], ids=["stored concepts", "as loaded"]
)
def run(request: pytest.FixtureRequest) -> Run:
    tensors, _ = stored("parity", "sec_track")
    return tracked(request.param, frames_of(tensors["frames"]), {ONE: first_mask()})


def first_mask() -> Mask:
    tensors, _ = stored("parity", "sec_track")
    return Mask(tensors["mask0"].numpy() > 0)


def tracked(
    build: Callable[[], Tracker], frames: Sequence[Frame], masks: dict[ObjectId, Mask]
) -> Run:
    """Every object is shown on the first frame; frames may come in any order."""
    tracker = build()
    segmenter, policy = WatchedSegmenter(tracker.segmenter), Watched(tracker.policy)
    assert tracker.concept is not None
    concepts = WatchedConcepts(tracker.concept)
    watched = replace(tracker, segmenter=segmenter, policy=policy, concept=concepts)
    session = watched.session()
    results, banks = [session.prompt(frames[0], dict(masks))], []
    object_id = next(iter(masks))
    for frame in frames[1:]:
        banks.append([k.frame.index for k in session.banks[object_id].keyframes])
        results.append(session.step(frame))
    banks.append([k.frame.index for k in session.banks[object_id].keyframes])
    return Run(session, segmenter, policy, concepts, results, banks, *stored("parity", "sec_track"))


def test_the_concept_is_queried_on_the_frames_of_the_release(run):
    asked = [result.frame_index for result in run.results if result.concept_queried]
    assert asked == run.facts["trigger_frames"]
    distances = [result.scene_change for result in run.results[1:]]
    np.testing.assert_allclose(distances, run.tensors["hsv_distance"], atol=1e-6)


def test_keyframes_are_those_of_the_release(run):
    # The release's list grows without end and its first and newest two are read: those we keep.
    whole = run.facts["keyframe_bank_after_frame"]
    kept = [[*b[:1], *b[1:][-(KEYFRAMES - 1) :]] for b in (whole[str(t)] for t in range(36))]
    assert run.banks == kept
    used = run.facts["keyframes_used_at_trigger"]
    assert {str(t): frames for t, (frames,) in run.concepts.asked.items()} == used


def test_concepts_are_those_of_the_release(run):
    assert sorted(run.concepts.said) == run.facts["trigger_frames"]
    for index, (concept,) in run.concepts.said.items():
        close(concept, run.tensors[f"concept.{index}"][0], CONCEPTS)


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
    for result, foreground in zip(run.results, run.facts["fg_pixels"], strict=True):
        same_count(result.logits, foreground, LOGITS)
    (track,) = run.session.tracks[ONE]
    kept = (*track.bank.prompted, *track.bank.tracked)
    assert SLOTS <= len(kept) <= 1 + SLOTS
    for memory in kept:
        at = memory.frame_index
        close(memory.logits, run.tensors["pred_masks"][at, 0])
        close(memory.pointer, run.tensors["obj_ptr"][at])
        close(memory.features, run.tensors["maskmem_features"][at], MAPS)
    for index, proposals in enumerate(run.segmenter.proposals[1:], start=1):
        close(proposals.iou[0], run.tensors["ious"][index])
        close(proposals.presence, run.tensors["object_score_logits"][index])


def elsewhere(mask: Mask) -> Mask:
    """The same shape in another place."""
    return Mask(np.roll(mask.bitmap, (20, 60), (0, 1)))


SHORT = 16  # frames with four of the cuts, and frames that the memory filter leaves out


def test_two_objects_are_tracked_as_two_runs_of_one():
    frames = frames_of(stored("parity", "sec_track")[0]["frames"])[:SHORT]
    masks = {ONE: first_mask(), TWO: elsewhere(first_mask())}
    both = tracked(as_loaded, frames, masks)
    for row, (object_id, mask) in enumerate(masks.items()):
        alone = tracked(as_loaded, frames, {object_id: mask})
        for one, two in zip(alone.results, both.results, strict=True):
            close(two.logits[row], one.logits[0])
            assert two.concept_queried == one.concept_queried
        for index, (concept,) in alone.concepts.said.items():
            close(both.concepts.said[index][row], concept, CONCEPTS)
            assert both.concepts.asked[index][row] == alone.concepts.asked[index][0]
        kept, kept_alone = (
            [m.frame_index for m in r.session.tracks[object_id][0].bank.tracked]
            for r in (both, alone)
        )
        assert kept == kept_alone
    assert len(both.concepts.said) == 4
    for one, two in both.concepts.said.values():
        assert (one - two).abs().max() > 10 * CONCEPTS  # they are told apart


def test_playing_backwards_is_the_mirror_image_of_playing_a_mirrored_video_forwards():
    pictures = stored("parity", "sec_track")[0]["frames"][:SHORT]
    last = SHORT - 1
    forwards = tracked(as_loaded, frames_of(pictures), {ONE: first_mask()})
    mirrored = [Frame(last - frame.index, frame.rgb) for frame in frames_of(pictures)]
    backwards = tracked(as_loaded, mirrored, {ONE: first_mask()})
    for there, back in zip(forwards.results, backwards.results, strict=True):
        assert back.frame_index == last - there.frame_index
        assert (back.concept_queried, back.scene_change) == (
            there.concept_queried,
            there.scene_change,
        )
        close(back.logits, there.logits)
    assert backwards.banks == [[last - i for i in bank] for bank in forwards.banks]
    asked = {last - i: [[last - k for k in b] for b in banks]
             for i, banks in forwards.concepts.asked.items()}  # fmt: skip
    assert backwards.concepts.asked == asked
    for (at, there), (at_back, back) in zip(
        forwards.policy.recalls, backwards.policy.recalls, strict=True
    ):
        assert at_back == last - at
        expected = selection(there, SLOTS)
        expected["memory"] = [[slot, last - frame] for slot, frame in expected["memory"]]
        expected["ptr_frames"] = [last - frame for frame in expected["ptr_frames"]]
        assert selection(back, SLOTS) == expected
