"""Trackers that are moved, converted, set aside and closed, and their sessions.

A machine without a GPU has one device, so moves between two are played with a segmenter that says
where it is, and conversions of the number type, which take the same path, are real.
"""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from helpers.closeness import close
from helpers.edgetam_reference import weights_file
from helpers.propagation_toys import red, toy_cutie, toy_xmem, video
from helpers.sam2_toy import random_frame, toy_network
from helpers.sec_layouts import reference
from helpers.tracking_toy import ColorSegmenter
from segment_concept.checkpoints.load import load
from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter
from segment_concept.ops.moving import moved
from segment_concept.tracking.feature_cache import FeatureCache
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sam2long import TreeMemory
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import Every
from segment_concept.types import Box, InputError, ObjectId

ONE = ObjectId(1)
BOX = {ONE: Box(10, 8, 50, 40)}


def sam2(**options: Any) -> Tracker:
    segmenter = Sam2Segmenter(toy_network(concept=False), Sam2Options(**options))
    return Tracker(segmenter, RecentMemory(slots=4, pointers=4))


def sec() -> Tracker:
    model = copy.deepcopy(reference())  # other tests have the same one
    return Tracker(model.segmenter, concept=model.concept_encoder(), trigger=Every(1))


def compact() -> Tracker:
    return load("sec_compact", short_side=64, trigger=Every(1), refiner=None)


def sec_edgetam() -> Tracker:
    recipe = {"weights": str(weights_file()), "size": 256, "trigger": Every(1)}
    return load("sec_edgetam", device="cpu", **recipe)


def results(tracker: Any, length: int = 3) -> list[torch.Tensor]:
    session = tracker.session()
    session.prompt(random_frame(0), BOX)
    return [session.step(random_frame(i)).logits for i in range(1, length)]


@pytest.mark.parametrize("make", [sam2, sec, compact])
def test_a_tracker_that_was_moved_to_where_it_was_finds_the_same(make: Callable[[], Tracker]):
    tracker = make()
    expected = results(tracker)
    assert tracker.to("cpu") is tracker
    assert tracker.unload() is tracker
    assert str(tracker.device) == "cpu"
    for found, wanted in zip(results(tracker), expected, strict=True):
        close(found, wanted, 1e-4)


@pytest.mark.parametrize("make", [sam2, sec])
def test_a_session_goes_on_after_its_tracker_was_converted(make: Callable[[], Tracker]):
    tracker = make()
    session = tracker.session()
    session.prompt(random_frame(0), BOX)
    session.step(random_frame(1))
    tracker.to(dtype="bfloat16")
    assert tracker.dtype == torch.bfloat16
    half = session.step(random_frame(2)).logits
    assert torch.isfinite(half).all()
    session.prompt(random_frame(2), BOX)  # reads the features of the last frame
    tracker.to(dtype=torch.float32)
    assert torch.isfinite(session.step(random_frame(3)).logits).all()


def test_in_bfloat16_masks_are_nearly_those_in_float32():
    tracker = sam2()
    exact = torch.cat(results(tracker, 4))
    half = torch.cat(results(tracker.to(dtype="bfloat16"), 4)).float()
    assert float((half - exact).abs().mean()) < 0.05 * float(exact.abs().mean())
    both = ((half > 0) == (exact > 0)).float().mean()
    assert float(both) > 0.97


def test_frequencies_stay_exact_when_weights_are_converted_and_back():
    tracker = sam2()
    embedding = tracker.segmenter.network.prompt_encoder.shared_embedding
    before = embedding.positional_embedding.clone()
    tracker.to(dtype="float16").to(dtype="float32")
    assert torch.equal(embedding.positional_embedding, before)


@pytest.mark.parametrize("make", [sam2, sec, compact, sec_edgetam])
def test_a_closed_tracker_has_no_weights_and_refuses_to_go_on(make: Callable[[], Tracker]):
    tracker = make()
    session = tracker.session()
    session.prompt(random_frame(0), BOX)
    tracker.close()
    tracker.close()
    assert tracker.closed
    assert all(str(part.device) == "meta" for part in tracker.networks())
    refusals = (
        lambda: session.step(random_frame(1)),
        lambda: session.prompt(random_frame(0), BOX),
        lambda: session.preview(random_frame(0), BOX),
        lambda: tracker.session().step(random_frame(0), BOX),
        lambda: tracker.to("cpu"),
    )
    for refused in refusals:
        with pytest.raises(InputError, match=r"this tracker was closed .* load it again"):
            refused()


@pytest.mark.parametrize("make", [toy_cutie, toy_xmem])
def test_cutie_and_xmem_can_be_moved_and_closed_too(make):
    tracker, frames = make(), video(4)
    session = tracker.session()
    session.prompt(frames[0], {ONE: red(frames[0])})
    tracker.to("cpu", "float32")
    session.step(frames[1])
    with pytest.raises(InputError, match="computes in float32 only"):
        tracker.to(dtype="bfloat16")
    session.step(frames[2])
    tracker.close()
    with pytest.raises(InputError, match="was closed"):
        session.step(frames[3])


def test_variants_of_a_tracker_are_moved_and_closed_together():
    tracker = sam2()
    variant = replace(tracker, policy=TreeMemory(slots=4, pointers=4))
    tracker.to(dtype="bfloat16")
    assert variant.dtype == torch.bfloat16
    variant.close()
    assert tracker.closed


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
@pytest.mark.parametrize("make", [sam2, sec_edgetam])
def test_a_copy_has_weights_of_its_own(make, copied):
    tracker = make()
    other = copied(tracker)
    tracker.close()
    assert not other.closed
    assert torch.isfinite(results(other)[0]).all()


@pytest.mark.slow
def test_a_compiled_copy_uses_its_own_network():
    compiled = sam2(compiled="inductor")
    other = copy.deepcopy(compiled)
    bound = other.segmenter.network
    assert bound is not compiled.segmenter.network
    assert other.segmenter.options == compiled.segmenter.options


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"device": "meta"}, r"use close\(\) to free them"),
        ({"device": "banana"}, "no device 'banana' here"),
        ({"dtype": "int8"}, "dtype='int8': expected one of float32, bfloat16, float16"),
        ({"dtype": torch.int8}, "expected one of float32"),
    ],
)
def test_a_place_that_does_not_exist_is_refused(settings, said):
    with pytest.raises(InputError, match=said):
        sam2().to(**settings)


def test_the_compact_model_is_not_converted():
    tracker = compact()
    with pytest.raises(InputError, match="the compact model computes in float32 only"):
        tracker.to(dtype="bfloat16")
    assert tracker.dtype == torch.float32


def test_a_segmenter_that_cannot_be_moved_says_so():
    tracker = Tracker(ColorSegmenter())
    assert (str(tracker.device), tracker.dtype) == ("cpu", torch.float32)
    with pytest.raises(InputError, match="ColorSegmenter cannot be moved"):
        tracker.to("cpu")
    tracker.close()


class TravelingSegmenter(ColorSegmenter):
    """Says where it is, and fails if it is asked to be where there is no room."""

    def __init__(self) -> None:
        super().__init__()
        self.where, self.room = torch.device("cpu"), True

    @property
    def device(self) -> torch.device:
        return self.where

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    def move(self, device: Any, dtype: Any) -> None:
        if not self.room and device != torch.device("cpu"):
            self.where = device
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.where = device


def test_a_device_without_room_is_answered_and_the_weights_stay(monkeypatch):
    monkeypatch.setattr("segment_concept.tracking.placement.find_device", torch.device)
    segmenter = TravelingSegmenter()
    segmenter.room = False
    tracker = Tracker(segmenter)
    with pytest.raises(InputError, match=r"cuda:1 has too little free memory .* stay on cpu"):
        tracker.to("cuda:1")
    assert str(tracker.device) == "cpu"


def test_a_session_encodes_its_last_frame_anew_where_the_network_is_now(monkeypatch):
    segmenter = TravelingSegmenter()
    session = Tracker(segmenter).session(FeatureCache(segmenter))
    frames = video(2)
    session.prompt(frames[0], {ONE: red(frames[0])})
    asked = []
    monkeypatch.setattr("segment_concept.tracking.session.moved", lambda v, d: asked.append(d) or v)
    segmenter.where = torch.device("cuda:1")
    session.step(frames[1])
    assert asked == [torch.device("cuda:1")]
    assert session.previous.place == ("cuda:1", "torch.float32")


@dataclass(frozen=True)
class Record:
    tensor: torch.Tensor
    others: tuple[Any, ...] = ()
    word: str = ""


def test_moved_records_share_what_they_shared_and_keep_what_holds_no_tensor():
    inner, plain = Record(torch.zeros(2)), {"a": [1, "b"]}
    outer = (Record(torch.ones(1), (inner, inner)), {"x": inner}, plain)
    found = moved(outer, torch.device("meta"))
    assert found[0].others[0] is found[0].others[1] is found[1]["x"]
    assert found[1]["x"].tensor.device.type == "meta"
    assert found[2] is plain
    assert moved(plain, torch.device("meta")) is plain
    assert moved(outer, torch.device("cpu")) is outer
