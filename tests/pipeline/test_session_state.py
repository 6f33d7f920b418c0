"""Sessions on disk: what is loaded goes on exactly as if nothing had happened."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.video_toys import ColorTracker, Forgetful, picture
from segment_concept.pipeline.session_state import NotStorableError, dump_session, load_session
from segment_concept.tracking.concept import ConceptRequest
from segment_concept.tracking.feature_cache import FeatureCache
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.segmenter import Concept, Features, Proposals
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.scene_change import HistogramShift
from segment_concept.types import Box, CheckpointError, Frame, Mask, ObjectId

ONE, TWO = ObjectId(1), ObjectId(2)


class Segmenter:
    """Answers with numbers made of everything that it recalls."""

    def encode(self, frames: Any) -> Features:
        pixels = torch.stack([torch.from_numpy(f.rgb.copy()).float() for f in frames])
        return Features(pixels.mean(dim=3), frames[0].size)

    def segment(
        self, features: Features, prompts: Any, previous: Any, recalls: Any, images: Any
    ) -> Proposals:
        bitmaps = [torch.from_numpy(p.bitmap).float() * 20 - 10 for p in prompts]
        return self._proposals(torch.stack(bitmaps)[:, None])

    def propose(self, features: Features, recalls: Any, concepts: Any, images: Any) -> Proposals:
        rows = []
        for recall, concept in zip(recalls, concepts, strict=True):
            maps = [m.memory.features * m.key_scale / (1 + m.slot) for m in recall.maps]
            pointers = [p.memory.pointer.sum() * p.distance for p in recall.pointers]
            extra = sum(pointers, torch.tensor(0.0)) + (
                0 if concept is None else concept.embedding.sum()
            )
            rows.append(torch.stack(maps).mean(0) + 0.001 * features.maps[0] + 0.01 * extra)
        return self._proposals(torch.stack(rows)[:, None])

    def encode_memory(
        self, features: Features, selected: Any, images: Any, *, prompted: bool
    ) -> tuple[Tensor, Any]:
        shared = features.maps[0]
        return selected.logits.tanh(), [shared for _ in images]

    def _proposals(self, logits: Tensor) -> Proposals:
        mean = logits.mean(dim=(2, 3))
        return Proposals(logits, mean.sigmoid(), mean[..., None], logits.flatten(1).amax(1))


class KeyframeConcepts:
    """A concept made of all keyframes."""

    def encode(self, requests: Any, query: Frame, features: Any) -> list[Concept]:
        return [self._of(request) for request in requests]

    def _of(self, request: ConceptRequest) -> Concept:
        sizes = [float(k.mask.sum()) + k.frame.index for k in request.keyframes]
        return Concept(torch.tensor(sizes))


def frames(count: int) -> list[Frame]:
    return [Frame(i, picture(3 * i), i / 25) for i in range(count)]


def tracker() -> Tracker:
    return Tracker(
        Segmenter(),
        policy=ReliableMemory(slots=4, pointers=5),
        trigger=HistogramShift(above=0.0005, side=64),
        concept=KeyframeConcepts(),
        keyframes=3,
    )


def through_a_file(packed: dict[str, Any]) -> Any:
    buffer = io.BytesIO()
    torch.save(packed, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def masks() -> Mapping[ObjectId, Mask]:
    one, two = np.zeros((64, 96), bool), np.zeros((64, 96), bool)
    one[10:30, 5:25], two[40:60, 60:90] = True, True
    return {ONE: Mask(one), TWO: Mask(two)}


@pytest.mark.parametrize("stop", [1, 4, 9])
def test_a_restored_session_continues_exactly(stop: int) -> None:
    video = frames(14)
    shared = tracker()
    session = shared.session()
    session.prompt(video[0], masks())
    for frame in video[1:stop]:
        session.step(frame)
    packed = through_a_file(dump_session(session, shared))
    restored = load_session(packed, shared)
    asked = 0
    for frame in video[stop:]:
        expected, found = session.step(frame), restored.step(frame)
        assert torch.equal(expected.logits, found.logits)
        assert torch.equal(expected.presence, found.presence)
        assert torch.equal(expected.quality, found.quality)
        assert (expected.concept_queried, expected.scene_change) == (
            found.concept_queried,
            found.scene_change,
        )
        asked += found.concept_queried
    assert asked  # so keyframes were stored, too


def test_cached_image_features_are_not_stored() -> None:
    video, shared = frames(4), tracker()
    session = shared.session(FeatureCache(shared.segmenter))
    session.prompt(video[0], masks())
    session.step(video[1])
    restored = load_session(through_a_file(dump_session(session, shared)), shared)
    assert isinstance(restored, Session)
    assert restored.features is None
    assert torch.equal(session.step(video[2]).logits, restored.step(video[2]).logits)


def test_things_that_are_shared_stay_shared() -> None:
    shared = tracker()
    session = shared.session()
    session.prompt(frames(1)[0], masks())
    restored: Any = load_session(through_a_file(dump_session(session, shared)), shared)
    first, second = (restored.tracks[i][0].bank.prompted[0] for i in (ONE, TWO))
    assert first.image is second.image
    assert restored.banks[ONE].keyframes[0].frame is restored.previous.frame


def test_a_row_of_a_batch_does_not_drag_the_batch_along() -> None:
    session = ColorTracker().session()
    session.colors[ONE] = torch.zeros(1000, 1000)[0]
    packed = dump_session(session, session.tracker)
    buffer = io.BytesIO()
    torch.save(packed, buffer)
    assert buffer.tell() < 20_000


def test_a_session_that_holds_more_than_data_is_refused() -> None:
    tracker = Forgetful()
    with pytest.raises(NotStorableError, match="iterator cannot be stored"):
        dump_session(tracker.session(), tracker)


def test_the_state_of_another_kind_of_session_is_refused() -> None:
    shared = tracker()
    packed = dump_session(shared.session(), shared)
    with pytest.raises(CheckpointError, match="--overwrite"):
        load_session(packed, ColorTracker())


def test_a_state_cannot_name_what_is_no_record_of_this_package() -> None:
    shared = ColorTracker()
    packed = dump_session(shared.session(), shared)
    for name in ("pathlib:Path", "video_toys:write_film", "segment_concept.types:Missing"):
        packed["nodes"] = [("record", name, [])]
        with pytest.raises(CheckpointError, match="does not know"):
            load_session(packed, shared)


def test_a_state_with_classes_and_modules_of_an_older_version_is_refused() -> None:
    shared = tracker()
    session = shared.session()
    session.prompt(frames(1)[0], masks())
    packed = dump_session(session, shared)
    records = [n for n, node in enumerate(packed["nodes"]) if node[0] == "record"]
    for name in ("segment_concept.tracking.advance:Seen", "segment_concept.tracking.step:Seen"):
        nodes = list(packed["nodes"])
        nodes[records[-1]] = ("record", name, nodes[records[-1]][2])
        with pytest.raises(
            CheckpointError, match=r"Seen, which this version does not know.*--over"
        ):
            load_session(packed | {"nodes": nodes}, shared)


def test_a_state_with_fields_of_an_older_version_is_refused() -> None:
    shared = tracker()
    session = shared.session()
    session.prompt(frames(1)[0], masks())
    packed = dump_session(session, shared)
    nodes = [
        ("record", node[1], [("frames_since_asked", 1), *node[2]]) if node[0] == "record" else node
        for node in packed["nodes"]
    ]
    unknown = packed | {"fields": packed["fields"] | {"frames_since_asked": 1}}
    no_nodes = {key: value for key, value in packed.items() if key != "nodes"}
    for old in (packed | {"nodes": nodes}, unknown, no_nodes):
        with pytest.raises(CheckpointError, match=r"by another version.*--overwrite"):
            load_session(old, shared)
    with pytest.raises(CheckpointError, match="--overwrite"):
        load_session({}, shared)


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass(slots=True, eq=False)
class Odd:
    """Holds every kind of value that a session may."""

    tracker: Any
    values: Any = field(default=None)


class OddTracker:
    def session(self) -> Any:
        return Odd(self)


def test_values_of_every_kind_come_back() -> None:
    shared = OddTracker()
    session = shared.session()
    session.values = {
        1: (None, True, 2, 2.5, "text"),
        "list": [frozenset({1, 2}), ()],
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "number": np.float32(1.5),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "box": Box(0, 0, 1, 1),
        "pair": Pair(1, (2, 3)),
    }
    restored: Any = load_session(through_a_file(dump_session(session, shared)), shared)
    found, given = restored.values, session.values
    assert found[1] == given[1]
    assert found["list"] == given["list"]
    assert (found["array"] == given["array"]).all()
    assert found["array"].dtype == np.float32
    assert found["number"] == 1.5
    assert found["half"].dtype == torch.bfloat16
    assert found["box"] == given["box"]
    assert found["pair"] == given["pair"]
    assert type(found["pair"]) is Pair
