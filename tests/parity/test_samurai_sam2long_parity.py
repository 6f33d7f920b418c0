"""SAMURAI and SAM2Long as released, on 256 px references with weights from a recipe.

Logits within 2e-3 (the references' own noise is 1.5e-4), and within 2e-2 where the video is played
from a box; every decision exactly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.closeness import PROPAGATED, close, same_masks
from helpers.sam2_reference import ONE, StoredPixels, reference_segmenter, stored
from segment_concept.models.sam2.segmenter import Sam2Options
from segment_concept.ops.boxes import boxes_around
from segment_concept.tracking.best_path import track_best_path
from segment_concept.tracking.memory import Memory, PlaybackPosition, Recall, Track
from segment_concept.tracking.policies.base import Candidate, MemoryPolicy
from segment_concept.tracking.policies.sam2long import TreeMemory
from segment_concept.tracking.policies.samurai import MotionMemory
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Box, Frame, FrameResult, Mask, Prompt

LOGITS = 2e-3
VIDEO = (48, 80)


@dataclass
class Deeds:
    """A session, and the hypotheses about its object after every frame."""

    session: Session
    segmenter: StoredPixels
    tracks: list[tuple[Track, ...]] = field(default_factory=list)

    def frames(self, length: int) -> Iterator[Frame]:
        """The frames after the prompted one; what became of one is noted before the next."""
        for i in range(1, length):
            yield blank(i)
            self.tracks.append(self.session.tracks[ONE])

    def recall(self, index: int, path: int) -> Recall:
        """What a hypothesis recalled on frame `index`, from what it knew one frame before."""
        policy: MemoryPolicy = self.session.tracker.policy
        return policy.recall(self.tracks[index - 1][path].bank, PlaybackPosition(index))

    def row(self, index: int, path: int) -> int:
        """Hypotheses that were one were decoded once: the row of the batch that is this one's."""
        banks = [id(track.bank) for track in self.tracks[index - 1]]
        return list(dict.fromkeys(banks)).index(banks[path])


def blank(index: int) -> Frame:
    """The segmenter looks at stored pixels instead."""
    return Frame(index, np.zeros((*VIDEO, 3), np.uint8))


def begin(name: str, policy: MemoryPolicy) -> Deeds:
    """A session as the release runs for benchmarks, with its object shown on frame 0."""
    tensors, facts = stored("trackers", name)
    made = reference_segmenter(name)
    made.options = Sam2Options.benchmark()
    deeds = Deeds(Session(Tracker(made, policy)), made)
    prompt: Prompt
    if facts["options"]["prompt"] == "box":
        prompt = Box(*tensors["prompt_box"].tolist())
    else:
        prompt = Mask(tensors["prompt_labels_video_res"].numpy() == 1)
    deeds.session.prompt(blank(0), {ONE: prompt})
    deeds.tracks.append(deeds.session.tracks[ONE])
    return deeds


def memory(track: Track, index: int) -> Memory:
    remembered = track.bank.on(index)
    assert remembered is not None
    return remembered


def same_recall(recall: Recall, call: dict[str, Any]) -> None:
    assert [m.memory.frame_index for m in recall.maps[1:]] == call["mem_frames"]
    assert [p.memory.frame_index for p in recall.pointers[1:]] == call["ptr_frames"]
    slots = [m.slot for m in recall.maps]
    assert slots == [6, *range(len(slots) - 2, -1, -1)]


def same_video(results: Sequence[FrameResult], bits: Tensor, within: float = LOGITS) -> None:
    """`bits` are packed, and begin with the prompted frame."""
    expected = np.unpackbits(bits.numpy()).reshape(-1, *VIDEO)[1:]
    same_masks(torch.cat([result.logits for result in results]), expected, within)


SAMURAI = {
    "samurai_tiny_mask": MotionMemory(),
    "samurai_tiny_box": MotionMemory(motion_weight=0.25, stable_frames_threshold=5),
    "samurai_tiny_stress": MotionMemory(
        motion_weight=0.6, stable_frames_threshold=4, stable_iou_threshold=0.45, min_iou=0.45
    ),
}


@pytest.mark.parametrize("name", SAMURAI)
def test_motion_choices_and_masks_are_those_of_samurai(name):
    tensors, facts = stored("trackers", name)
    deeds = begin(name, SAMURAI[name])
    results = [*deeds.session.track(deeds.frames(facts["options"]["T"]))]
    within = PROPAGATED if facts["options"]["prompt"] == "box" else LOGITS
    slack = 0.0
    for index, call in enumerate(facts["calls"], start=1):
        (track,) = deeds.tracks[index]
        known = memory(track, index)
        same_recall(deeds.recall(index, 0), call)
        close(known.logits, tensors["low_res_logits"][index, 0], within)
        close(known.pointer, tensors["obj_ptr"][index, 0], within)
        assert known.presence == pytest.approx(call["obj_score"][0], abs=within)
        slack += undecided_edges(known, LOGITS)
        same_motion(track, known, call, slack)
        proposed = deeds.segmenter.proposals[index].iou[0].tolist()
        assert proposed == pytest.approx(call["ious_all"][0], abs=within)
        picked = np.abs(np.subtract(call["ious_all"][0], call["iou_selected"][0])).argmin()
        assert proposed[picked] == known.iou
    close(memory(deeds.tracks[0][0], 0).logits, tensors["low_res_logits"][0, 0], within)
    same_video(results, tensors["video_res_bits"], within)


def undecided_edges(known: Memory, within: float) -> float:
    """How many pixels a side of the object's box may move where undecided pixels change sides."""
    large = F.interpolate(known.logits[None, None].float(), scale_factor=4, mode="bilinear")[0]
    least, most = boxes_around(large > within)[0], boxes_around(large > -within)[0]
    return float(np.abs(np.subtract(least, most)).max())


def same_motion(track: Track, known: Memory, call: dict[str, Any], slack: float) -> None:
    """The Kalman filter after a frame; `slack` is what boxes fed to it may differ by, in pixels."""
    motion = track.motion
    assert motion is not None
    assert motion.stable_frames == call["stable_frames"]
    share = slack / call["kf_mean"][3]  # of the box's height, by which the filter scales its noise
    mean, variance = motion.kalman.mean, np.diag(motion.kalman.covariance)
    np.testing.assert_allclose(mean, call["kf_mean"], rtol=1e-9, atol=1e-9 + slack)
    np.testing.assert_allclose(variance, call["kf_cov_diag"], rtol=1e-9 + 3 * share, atol=1e-12)
    if call["kf_iou_selected"] is None:
        assert known.motion is None
    else:
        within = 1e-6 + 3 * share
        assert known.motion == pytest.approx(call["kf_iou_selected"][0], abs=within)


def test_the_tree_and_the_final_path_are_those_of_sam2long():
    tensors, facts = stored("trackers", "sam2long_tiny_mask")
    options, calls = facts["options"], iter(facts["calls"])
    length = options["T"]
    deeds = begin("sam2long_tiny_mask", TreeMemory(video_length=length))
    results = [*track_best_path(deeds.session, deeds.frames(length))]
    for index in range(1, length):
        for path in range(1 if index == 1 else options["num_pathway"]):
            call = next(calls)
            same_recall(deeds.recall(index, path), call)
            proposals, row = deeds.segmenter.proposals[index], deeds.row(index, path)
            close(proposals.iou[row], call["ious_all"][0], LOGITS)
            close(proposals.presence[row], call["obj_score"][0], LOGITS)
    for leaf in facts["tree"]:
        same_leaves(deeds.tracks, leaf)
    path = path_to(deeds.tracks, length - 1, 0)
    assert {str(i): node for i, node in path.items()} == facts["final_path"]
    for index, node in path.items():
        known = memory(deeds.tracks[index][node], index)
        close(known.logits, tensors["low_res_logits"][index], LOGITS)
        close(known.pointer, tensors["obj_ptr"][index].reshape(-1), LOGITS)
    same_video(results, tensors["video_res_bits"])


def same_leaves(tracks: Sequence[tuple[Track, ...]], leaf: dict[str, Any]) -> None:
    """The hypotheses after a frame. As recorded, the shared first step adds nothing to scores."""
    index = leaf["frame"]
    shared = tracks[1][0].log_score
    scores = [track.log_score - shared for track in tracks[index]]
    assert scores == pytest.approx(leaf["acc_score"], abs=LOGITS)
    nodes = [memory(track, index) for track in tracks[index]][: len(leaf["kept_ious"])]
    assert [n.iou for n in nodes] == pytest.approx(leaf["kept_ious"], abs=LOGITS)
    assert [n.presence for n in nodes] == pytest.approx(leaf["kept_obj"], abs=LOGITS)
    for path, picks in enumerate(leaf["picks"]):
        assert {str(i): node for i, node in path_to(tracks, index, path).items()} == picks


def path_to(tracks: Sequence[tuple[Track, ...]], index: int, path: int) -> dict[int, int]:
    """From frame 0 to a hypothesis: which one it was on every frame. On frame 1 all are one."""
    nodes = {0: 0, 1: 0}
    for i in range(index, 1, -1):
        nodes[i] = path
        path = tracks[i][path].parent
    return dict(sorted(nodes.items()))


def test_a_candidate_is_proposed_for_every_hypothesis_and_mask():
    """The choice is made among nine, even where hypotheses are still one."""
    seen: list[int] = []

    class Counted(TreeMemory):
        def choose(self, tracks: Sequence[Track], candidates: Sequence[Candidate]) -> Any:
            seen.append(len(candidates))
            return TreeMemory.choose(self, tracks, candidates)

    deeds = begin("sam2long_tiny_mask", Counted(video_length=20))
    list(deeds.session.track(deeds.frames(4)))
    assert seen == [3, 9, 9]
