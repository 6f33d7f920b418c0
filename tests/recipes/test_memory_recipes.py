"""Recipes that differ in how they remember."""

import numpy as np
import pytest
import torch

from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.recipes import find_recipe
from segment_concept.tracking.best_path import track_best_path
from segment_concept.tracking.policies.sam2long import TreeMemory
from segment_concept.tracking.policies.samurai import MotionMemory
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Frame, Mask, ObjectId

SIZES = ("tiny", "small", "base_plus", "large")


@pytest.mark.parametrize("size", SIZES)
def test_samurai_and_sam2long_use_the_weights_of_sam_2(size):
    weights = find_recipe(f"sam2_{size}").weights
    assert find_recipe(f"samurai_{size}").weights == weights
    assert find_recipe(f"sam2long_{size}").weights == weights


@pytest.mark.parametrize("size", [*SIZES, "compact"])
def test_samurai_weighs_motion_as_published_for_each_size(size):
    policy = find_recipe(f"samurai_{size}").policy
    assert isinstance(policy, MotionMemory)
    assert policy.motion_weight == (0.15 if size == "large" else 0.25)
    assert (policy.stable_frames_threshold, policy.stable_iou_threshold, policy.min_iou) == (
        15,
        0.3,
        0.5,
    )


@pytest.mark.parametrize("size", [*SIZES, "compact"])
def test_sam2long_grows_three_paths_with_the_thresholds_of_its_commands(size):
    policy = find_recipe(f"sam2long_{size}").policy
    assert isinstance(policy, TreeMemory)
    assert (policy.paths, policy.min_iou, policy.certain_above) == (3, 0.1, 2.0)


def compact_session(name: str) -> Session:
    """Random weights: masks are noise, but what is done with them is what the recipe says."""
    torch.manual_seed(0)
    segmenter = CompactSegmenter(short_side=64).eval()
    return Tracker(segmenter, find_recipe(name).policy).session()


def noise(index: int) -> Frame:
    pixels = np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)
    return Frame(index, pixels)


def shown(left: int) -> Mask:
    bitmap = np.zeros((48, 64), np.bool_)
    bitmap[8:32, left : left + 24] = True
    return Mask(bitmap)


@pytest.mark.parametrize("name", ["samurai_compact", "sam2long_compact"])
def test_the_compact_network_follows_objects_with_these_memories(name):
    objects = {ObjectId(1): shown(4), ObjectId(2): shown(34)}
    streamed, late = compact_session(name), compact_session(name)
    for session in (streamed, late):
        session.prompt(noise(0), objects)
    frames = [noise(index) for index in range(1, 6)]
    as_they_come = list(streamed.track(frames))
    in_hindsight = list(track_best_path(late, frames))
    assert [r.frame_index for r in in_hindsight] == [r.frame_index for r in as_they_come]
    for result in (*as_they_come, *in_hindsight):
        assert result.logits.shape == (2, 48, 64)
        assert torch.isfinite(result.logits).all()
    assert torch.equal(as_they_come[-1].logits, in_hindsight[-1].logits)
    paths = 3 if name == "sam2long_compact" else 1
    assert [len(tracks) for tracks in streamed.tracks.values()] == [paths, paths]
