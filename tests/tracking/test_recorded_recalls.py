"""Every recall that the releases recorded, decided again from the scores they recorded."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from helpers.fixtures import facts
from helpers.memory_cases import maps, pointers, remembered
from segment_concept.tracking.memory import MemoryBank, PlaybackPosition
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sec import ReliableMemory


def decided(
    policy: MemoryPolicy, scores: Sequence[tuple[float, float]]
) -> Iterator[dict[str, list[Any]]]:
    """The recalls of a video prompted on frame 0; `scores` are (iou, presence) from frame 1 on."""
    bank = MemoryBank().prompt(remembered(0))
    for index, (iou, presence) in enumerate(scores, start=1):
        recall = policy.recall(bank, PlaybackPosition(index))
        yield {"maps": maps(recall), "pointers": pointers(recall)}
        bank = policy.forget(
            bank.remember(remembered(index, iou, presence)), PlaybackPosition(index)
        )


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("sam21_tiny_mask_2obj", RecentMemory),
        ("sam21_tiny_box_post", RecentMemory),
        ("sam21_hierat256_mask", RecentMemory),
        ("secpolicy22_tiny_mask", ReliableMemory),
    ],
)
def test_the_frames_recalled_by_the_released_trackers_are_recalled(name, policy):
    recorded = facts(f"trackers/{name}")
    options, calls = recorded["options"], recorded["calls"]
    rule = policy(slots=options["num_maskmem"], video_length=options["T"])
    objects = options["n_obj"]
    for nth in range(objects):
        own = calls[nth::objects]
        scores = [(max(call["ious_all"][0]), call["obj_score"][0]) for call in own]
        for call, recall in zip(own, decided(rule, scores), strict=True):
            assert [frame for frame, _ in recall["maps"][1:]] == call["mem_frames"]
            assert [frame for frame, _ in recall["pointers"][1:]] == call["ptr_frames"]


@pytest.mark.parametrize(
    ("name", "policy", "slots"),
    [("sam2_single", RecentMemory, 7), ("sec_track", ReliableMemory, 22)],
)
def test_slots_and_distances_are_those_of_the_released_trackers(name, policy, slots):
    recorded = facts(f"parity/{name}")
    length = recorded["T"]
    # SAM 2's choice does not depend on scores, so its reference has none.
    ious = recorded.get("max_iou", [0.9] * length)[1:]
    presences = recorded.get("scores", [1.0] * length)[1:]
    recalls = decided(policy(video_length=length), list(zip(ious, presences, strict=True)))
    for index, recall in enumerate(recalls, start=1):
        expected = recorded["memory_selection"][str(index)]
        assert [[slots - 1 - slot, f] for f, slot in recall["maps"]] == expected["memory"]
        assert [frame for frame, _ in recall["pointers"]] == expected["ptr_frames"]
        assert [distance for _, distance in recall["pointers"]] == expected["ptr_pos"]


def test_recalls_forwards_and_backwards_from_the_middle_are_those_of_sam_2():
    recorded = facts("parity/sam2_multicond_reverse")
    policy, bank = RecentMemory(video_length=12), MemoryBank().prompt(remembered(5))
    for tag in ("fwd", "rev", "second"):
        for frame, expected in recorded["memory_selection"][tag].items():
            moment = PlaybackPosition(int(frame), backwards=tag == "rev")
            recall = policy.recall(bank, moment)
            assert [[6 - slot, f] for f, slot in maps(recall)] == expected["memory"]
            frames = [[f for f, _ in pointers(recall)], [d for _, d in pointers(recall)]]
            assert frames == [expected["ptr_frames"], expected["ptr_pos"]]
            bank = policy.forget(bank.remember(remembered(int(frame))), moment)
