"""A GPU that runs out of memory: sessions stay as they were, and the answer is a sentence."""

from typing import Any

import pytest
import torch

from helpers.propagation_toys import red, toy_cutie, video
from helpers.tracking_toy import ColorSegmenter
from segment_concept.tracking.out_of_memory import is_out_of_memory
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import DeviceMemoryError, InputError, ObjectId

ONE = ObjectId(1)
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class SmallSegmenter(ColorSegmenter):
    """Runs out of memory in one of its calls while `full` is its name."""

    full = ""

    def encode(self, frames: Any) -> Any:
        self._fail("encode")
        return super().encode(frames)

    def propose(self, *args: Any) -> Any:
        self._fail("propose")
        return super().propose(*args)

    def encode_memory(self, *args: Any, **kwargs: Any) -> Any:
        self._fail("encode_memory")
        return super().encode_memory(*args, **kwargs)

    def _fail(self, call: str) -> None:
        if self.full == call:
            raise FULL


@pytest.mark.parametrize("call", ["encode", "propose", "encode_memory"])
def test_the_frame_can_be_tracked_once_there_is_room(call):
    small, usual = SmallSegmenter(), ColorSegmenter()
    session, other = Tracker(small).session(), Tracker(usual).session()
    frames = video(4)
    for one in (session, other):
        one.prompt(frames[0], {ONE: red(frames[0])})
        one.step(frames[1])
    kept = dict(session.tracks), session.previous
    small.full = call
    with pytest.raises(DeviceMemoryError, match=r"cpu ran out of memory on frame 2 \(1 object bef"):
        session.step(frames[2])
    assert (session.tracks, session.previous) == kept
    small.full = ""
    for frame in frames[2:]:
        assert torch.equal(session.step(frame).logits, other.step(frame).logits)


def test_an_upsampling_that_does_not_fit_leaves_no_half_tracked_frame(monkeypatch):
    session = Tracker(ColorSegmenter()).session()
    frames = video(3)
    session.prompt(frames[0], {ONE: red(frames[0])})
    kept = dict(session.tracks)

    def full(*_: Any, **__: Any) -> None:
        raise FULL

    monkeypatch.setattr("segment_concept.tracking.tracker.upsample_logits", full)
    with pytest.raises(InputError, match="Nothing of it was tracked and the earlier frames are"):
        session.step(frames[1])
    assert session.tracks == kept


@pytest.mark.parametrize("prefetch", [0, 2])
def test_frames_that_are_encoded_ahead_are_answered_too(prefetch):
    small = SmallSegmenter()
    session = Tracker(small).session()
    frames = video(4)
    session.prompt(frames[0], {ONE: red(frames[0])})
    session.step(frames[1])
    kept = dict(session.tracks), session.previous
    small.full = "encode"
    with pytest.raises(DeviceMemoryError, match="Track fewer objects at a time, use a smaller"):
        list(session.track(frames[2:], prefetch=prefetch))
    assert (session.tracks, session.previous) == kept


def test_frames_that_were_tracked_before_one_that_does_not_fit_are_not_taken_back():
    small = SmallSegmenter()
    session = Tracker(small).session()
    frames = video(6)
    session.prompt(frames[0], {ONE: red(frames[0])})

    def encode(given: Any) -> Any:
        if given[0].index == 4:
            raise FULL
        return ColorSegmenter.encode(small, given)

    small.encode = encode
    with pytest.raises(DeviceMemoryError):
        list(session.track(frames[1:], prefetch=1))
    assert session.previous.frame.index == 3


def test_a_prompt_that_does_not_fit_adds_nothing():
    small = SmallSegmenter()
    small.full = "encode_memory"
    session = Tracker(small).session()
    with pytest.raises(DeviceMemoryError, match=r"on frame 0 \(no objects before it\)"):
        session.prompt(video(1)[0], {ONE: red(video(1)[0])})
    assert session.object_ids == ()
    assert session.banks == {}


def test_cutie_answers_too(monkeypatch):
    tracker, frames = toy_cutie(), video(3)
    session = tracker.session()
    session.prompt(frames[0], {ONE: red(frames[0])})

    def full(*_: Any) -> None:
        raise FULL

    monkeypatch.setattr(tracker.network, "prepare", full)
    with pytest.raises(DeviceMemoryError, match="ran out of memory on frame 1"):
        session.step(frames[1])


def test_other_errors_of_torch_stay_what_they_are(monkeypatch):
    session = Tracker(SmallSegmenter()).session()
    frames = video(2)
    session.prompt(frames[0], {ONE: red(frames[0])})
    monkeypatch.setitem(globals(), "FULL", RuntimeError("shapes do not match"))
    session.tracker.segmenter.full = "propose"
    with pytest.raises(RuntimeError, match="shapes do not match"):
        session.step(frames[1])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FULL, True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("MPS backend out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    assert is_out_of_memory(error) == expected
