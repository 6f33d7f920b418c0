"""SAM 2.1 and SeC's memory policy as released, on 256 px references with weights from a recipe.

Logits within 2e-3 (the references' own noise is 1.5e-4), and within 2e-2 where the video is played
from a box; every decision exactly.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.closeness import PROPAGATED, close, same_masks
from helpers.sam2_reference import Watched, reference_segmenter, stored
from segment_concept.tracking.memory import Recall
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Box, Frame, Mask, ObjectId, Prompt

LOGITS = 2e-3
VIDEO = (48, 80)
CASES = {
    "sam21_tiny_mask_2obj": RecentMemory,
    "sam21_tiny_box_post": RecentMemory,
    "sam21_hierat256_mask": RecentMemory,
    "secpolicy22_tiny_mask": ReliableMemory,
}


def prompts(tensors: dict[str, Tensor], facts: dict[str, Any]) -> dict[ObjectId, Prompt]:
    if facts["options"]["prompt"] == "box":
        return {ObjectId(1): Box(*tensors["prompt_box"].tolist())}
    labels = tensors["prompt_labels_video_res"].numpy()
    ids = range(1, facts["options"]["n_obj"] + 1)
    return {ObjectId(i): Mask(labels == i) for i in ids}


def decisions(recall: Recall) -> dict[str, list[int]]:
    """What a reference records: tracked frames only, the prompted one always comes first."""
    return {
        "mem_frames": [m.memory.frame_index for m in recall.maps[1:]],
        "ptr_frames": [p.memory.frame_index for p in recall.pointers[1:]],
    }


@pytest.mark.parametrize("name", CASES)
def test_masks_scores_and_recalls_are_those_of_the_release(name):
    tensors, facts = stored("trackers", name)
    length = facts["options"]["T"]
    segmenter = reference_segmenter(name)
    policy = Watched(CASES[name](slots=facts["options"]["num_maskmem"], video_length=length))
    session = Session(Tracker(segmenter, policy))
    blank = [Frame(i, np.zeros((*VIDEO, 3), np.uint8)) for i in range(length)]
    shown = prompts(tensors, facts)
    results = [session.prompt(blank[0], shown), *session.track(blank[1:])]

    within = PROPAGATED if facts["options"]["prompt"] == "box" else LOGITS
    logits = torch.stack([result.logits for result in results])
    same_masks(logits, np.unpackbits(tensors["video_res_bits"].numpy()), within)
    for row, object_id in enumerate(shown):
        (track,) = session.tracks[object_id]
        for memory in (*track.bank.prompted, *track.bank.tracked):
            at = (memory.frame_index, row)
            close(memory.logits, tensors["low_res_logits"][at], within)
            close(memory.pointer, tensors["obj_ptr"][at], within)
            close(torch.tensor(memory.presence), tensors["object_score_logits"][at], within)

    calls = facts["calls"]
    assert [decisions(recall) for _, recall in policy.recalls] == [
        {key: call[key] for key in ("mem_frames", "ptr_frames")} for call in calls
    ]
    proposed = [row for p in segmenter.proposals[1:] for row in p.iou]
    close(torch.stack(proposed), [call["ious_all"][0] for call in calls], within)
