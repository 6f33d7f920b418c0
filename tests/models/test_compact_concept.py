"""The compact model's concepts, with random weights."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from segment_concept import Frame, InputError, Mask, ObjectId, Tracker
from segment_concept.checkpoints.compact import load_compact, save_compact
from segment_concept.checkpoints.load import load_tracker
from segment_concept.models.compact.concept_encoder import CompactConceptEncoder
from segment_concept.models.compact.roi import group_rois
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.models.compact.verifier import Verifier, masked_mean
from segment_concept.recipes import find_recipe
from segment_concept.tracking.concept import ConceptRequest, Keyframe
from segment_concept.tracking.memory import PlaybackPosition
from segment_concept.tracking.segmenter import Concept, Features
from segment_concept.tracking.triggers.base import Every

A, B = ObjectId(1), ObjectId(2)


def model(*, fitted: bool = True) -> CompactSegmenter:
    """Random weights; the verifier of a fitted one weighs the similarity."""
    torch.manual_seed(0)
    segmenter = CompactSegmenter(short_side=64)
    segmenter.verifier = Verifier(segmenter.widths.descriptor)
    segmenter.eval().requires_grad_(False)
    if fitted:
        segmenter.verifier.weigh.weight.copy_(torch.tensor([[0.5, 4.0]]))
        for kernel in segmenter.network.decoder.kernels:
            kernel[-1].weight.normal_(0, 0.05)
    return segmenter


@pytest.fixture(scope="module")
def segmenter() -> CompactSegmenter:
    return model()


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    rng = np.random.default_rng(0)
    still = rng.integers(0, 255, (72, 120, 3), dtype=np.uint8)
    return [Frame(t, np.roll(still, 3 * t, axis=1)) for t in range(6)]


def square(x: int) -> np.ndarray:
    mask = np.zeros((72, 120), bool)
    mask[20:50, x : x + 30] = True
    return mask


def keyframes(frames: Sequence[Frame], x: int) -> ConceptRequest:
    return ConceptRequest(tuple(Keyframe(frame, square(x)) for frame in frames))


def random_concept(segmenter) -> Concept:
    return Concept(torch.randn(segmenter.widths.descriptor))


def ask(segmenter, requests, query):
    encoder = CompactConceptEncoder(segmenter)
    return encoder.encode(requests, query, segmenter.encode([query]))


def test_objects_with_banks_of_different_length_are_answered_together_as_alone(segmenter, frames):
    requests = [keyframes(frames[:1], 30), keyframes(frames[:4], 60)]
    together = ask(segmenter, requests, frames[5])
    for request, concept in zip(requests, together, strict=True):
        torch.testing.assert_close(
            concept.embedding,
            ask(segmenter, [request], frames[5])[0].embedding,
            atol=1e-5,
            rtol=1e-4,
        )


def test_a_concept_depends_on_which_object_is_marked(segmenter):
    # Features of a picture, as a trunk of random weights does not make them.
    seen = torch.randn(1, 4 * 6, segmenter.widths.descriptor)
    left, right = torch.zeros(2, 64, 96)
    left[:, :48], right[:, 48:] = 1, 1
    one, two = (
        segmenter.verifier.prototype(masked_mean(seen, (4, 6), mask[None]))
        for mask in (left, right)
    )
    assert (one - two).abs().max() > 1e-2


def test_the_order_of_keyframes_does_not_matter(segmenter, frames):
    request = keyframes(frames[:3], 30)
    turned = ConceptRequest(request.keyframes[::-1])
    (one,), (two,) = ask(segmenter, [request], frames[5]), ask(segmenter, [turned], frames[5])
    torch.testing.assert_close(one.embedding, two.embedding, atol=1e-5, rtol=1e-4)


def test_a_keyframe_is_read_once_and_the_query_not_at_all(frames, monkeypatch):
    segmenter = model()
    encoder = CompactConceptEncoder(segmenter)
    features = [segmenter.encode([frame]) for frame in frames]
    read: list[int] = []
    encode = segmenter.encode

    def watched(given: Sequence[Frame]) -> Features:
        read.extend(frame.index for frame in given)
        return encode(given)

    monkeypatch.setattr(segmenter, "encode", watched)
    request = keyframes(frames[:1], 30)
    encoder.encode([request], frames[3], features[3])
    # The query joins the bank: what tracking computed of it is still at hand.
    request = ConceptRequest((*request.keyframes, Keyframe(frames[3], square(39))))
    encoder.encode([request], frames[4], features[4])
    encoder.encode([request], frames[5], features[5])
    assert read == [0]


def test_an_untrained_verifier_changes_nothing(frames):
    plain = model(fitted=False)
    results = []
    for trigger in (Every(1), Every(1000)):
        tracker = Tracker(plain, trigger=trigger, concept=CompactConceptEncoder(plain))
        session = tracker.session()
        session.prompt(frames[0], {A: Mask(square(30))})
        results.append([result.logits for result in session.track(frames[1:])])
    for asked, never in zip(*results, strict=True):
        torch.testing.assert_close(asked, never, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_concept_changes_the_presence_of_its_own_object_and_no_mask(
    segmenter, frames, monkeypatch, grouped
):
    if grouped:
        monkeypatch.setattr(segmenter.network, "_groups", group_rois)
    features = segmenter.encode([frames[1]])
    session = Tracker(segmenter).session()
    session.prompt(frames[0], {A: Mask(square(30)), B: Mask(square(80))})
    recalls = [
        session.tracker.policy.recall(session.tracks[i][0].bank, PlaybackPosition(1))
        for i in (A, B)
    ]
    concept = random_concept(segmenter)
    plain = segmenter.propose(features, recalls, [None, None], [0, 0])
    informed = segmenter.propose(features, recalls, [None, concept], [0, 0])
    assert torch.equal(plain.logits, informed.logits)
    assert plain.presence[0] == informed.presence[0]
    assert plain.presence[1] != informed.presence[1]


def test_a_verifier_is_saved_with_the_model(segmenter, tmp_path):
    save_compact(segmenter, tmp_path / "model.safetensors", {})
    again = load_compact(tmp_path / "model.safetensors", short_side=64)
    assert again.verifier is not None
    assert torch.equal(again.verifier.weigh.weight, segmenter.verifier.weigh.weight)


def test_of_older_files_everything_but_the_concept_network_is_read(segmenter, tmp_path):
    plain = model()
    plain.verifier = None
    path = tmp_path / "model.safetensors"
    save_compact(plain, path, {})
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    former = {"concept.out.weight": torch.zeros(2, 2), "concept.network.roles": torch.ones(2)}
    save_file(weights | former, path, metadata={**metadata, "concept": '{"tokens": 128}'})
    assert load_compact(path, short_side=64).verifier is None


def test_a_recipe_that_asks_concepts_of_weights_without_them_is_refused(tmp_path):
    save_compact(CompactSegmenter(), tmp_path / "model.safetensors", {})
    recipe = replace(
        find_recipe("sam2_compact"),
        weights=str(tmp_path / "model.safetensors"),
        trigger=Every(3),
    )
    with pytest.raises(InputError, match=r"no concept encoder.*Never"):
        load_tracker(recipe)


def test_a_model_without_a_verifier_forms_no_concepts():
    with pytest.raises(ValueError, match="has no verifier"):
        CompactConceptEncoder(CompactSegmenter(short_side=64))


def test_nothing_is_formed_from_no_keyframe(segmenter, frames):
    with pytest.raises(InputError, match="at least one keyframe"):
        ask(segmenter, [ConceptRequest(())], frames[1])
