"""The concept path beside numbers recorded from SeC's release (tiny weights, fp32)."""

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from helpers.fixtures import facts, fixture
from helpers.sam2_reference import stored
from segment_concept.checkpoints.sec.internvl import Placement, load_concept_network, load_tokenizer
from segment_concept.checkpoints.sec.internvl_keys import belongs_to_concept, size_from_shapes
from segment_concept.models.internvl.encoder import InternVLConceptEncoder
from segment_concept.models.internvl.network import pixel_values
from segment_concept.models.internvl.packed_attention import PackedRows
from segment_concept.models.internvl.prompt_template import Conversation, full_text
from segment_concept.ops.contours import label_keyframe
from segment_concept.ops.resize import resize_bicubic
from segment_concept.tracking.concept import ConceptRequest, Keyframe, KeyframeBank
from segment_concept.types import Frame

CLOSE = 1e-4


@pytest.fixture(scope="module")
def golden():
    return load_file(fixture("parity/sec_concept.safetensors"))


@pytest.fixture(scope="module")
def network():
    weights = load_file(fixture("parity/sec_tiny_concept_weights.safetensors"))
    size = size_from_shapes({name: tuple(tensor.shape) for name, tensor in weights.items()})
    return load_concept_network(size, weights.items(), Placement())


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(fixture("parity/sec_tokenizer"))


@pytest.fixture(scope="module")
def keyframes(golden):
    frames, masks = golden["frames"].numpy(), golden["masks"].numpy() > 0
    return tuple(Keyframe(Frame(i, frames[i]), masks[i]) for i in range(3))


def test_the_concept_network_here_is_the_one_within_the_reference():
    whole = load_file(fixture("parity/sec_tiny_weights.safetensors"))
    ours = load_file(fixture("parity/sec_tiny_concept_weights.safetensors"))
    assert ours.keys() == {name for name in whole if belongs_to_concept(name)}
    assert all(torch.equal(ours[name], whole[name]) for name in ours)


def test_the_labels_are_drawn_as_published_and_the_query_is_not_labelled(golden, keyframes):
    for i, keyframe in enumerate(keyframes):
        drawn = label_keyframe(keyframe.frame.rgb, keyframe.mask)
        assert np.array_equal(drawn, golden["labeled"][i].numpy())
    assert torch.equal(golden["labeled"][3], golden["frames"][3])


def test_pictures_are_resized_and_normalised_as_published(golden):
    labelled = list(golden["labeled"].numpy())
    assert np.array_equal(resize_bicubic(labelled[0], 448), golden["resized0"].numpy())
    pixels = pixel_values(labelled)
    assert (pixels[..., ::8, ::8] - golden["pixel_values_sub"]).abs().max() < 1e-6
    told = facts("parity/sec_concept")
    assert pixels.mean().item() == pytest.approx(told["pixel_values_mean"], abs=1e-5)
    assert pixels.std().item() == pytest.approx(told["pixel_values_std"], abs=1e-5)


def test_the_tokens_are_the_published_ones_up_to_seg(golden, tokenizer):
    told = facts("parity/sec_concept")
    published = golden["input_ids"][0].tolist()
    assert tokenizer.encode(full_text(images=4), add_special_tokens=False) == published
    ours = Conversation(tokenizer, 263).tokens(already_read=0, keyframes=3)
    assert ours == published[: len(ours)]
    assert [[0, len(ours) - 1]] == told["seg_position"]


@torch.inference_mode()
def test_the_vision_network_gives_the_published_features(golden, network):
    tower = network.backbone.vision_tower
    pixels = pixel_values(list(golden["labeled"].numpy()))
    embedded = tower.embeddings(pixels[:1])
    assert (embedded[0, ::8] - golden["vit_hidden0"]).abs().max() < CLOSE
    last = tower(pixel_values=pixels[:1]).last_hidden_state
    assert (last[0, ::8] - golden["vit_last0"]).abs().max() < CLOSE
    assert (network.encode_images(pixels) - golden["vit_embeds"]).abs().max() < CLOSE


@torch.inference_mode()
def test_the_language_model_gives_the_published_states_and_concept(golden, network, tokenizer):
    """Read in one go, up to [SEG] only; the recorded states are every eighth of the whole text."""
    conversation = Conversation(tokenizer, 263)
    tokens = torch.tensor(conversation.tokens(already_read=0, keyframes=3))
    embeddings = network.embed(tokens)
    embeddings[tokens == conversation.image_token] = golden["vit_embeds"].flatten(0, 1)
    hidden = network.read(embeddings, PackedRows([len(tokens)], [[]], [0]))
    recorded = golden["llm_last_hidden"][0, : len(hidden[::8])]
    assert (hidden[::8] - recorded).abs().max() < CLOSE
    assert (hidden[-1] - golden["llm_hidden_seg"][0]).abs().max() < CLOSE
    assert (network.project(hidden[-1:]) - golden["concept"]).abs().max() < CLOSE


def test_the_encoder_gives_the_published_concept_cold_and_warm(
    golden, network, tokenizer, keyframes
):
    encoder = InternVLConceptEncoder(network, tokenizer)
    query = Frame(3, golden["frames"][3].numpy())
    for _ in ("cold", "warm"):
        (concept,) = encoder.encode([ConceptRequest(keyframes)], query)
        assert (concept.embedding - golden["concept"][0]).abs().max() < CLOSE


@pytest.fixture(scope="module")
def track():
    return stored("parity", "sec_track")


@pytest.fixture(scope="module")
def logits(track):
    """Those of the release, at video resolution."""
    tensors, _ = track
    size = tuple(tensors["frames"].shape[1:3])
    return F.interpolate(tensors["pred_masks"], size, mode="bilinear", align_corners=False)[:, 0]


@pytest.fixture(scope="module")
def tracked(track, logits):
    """Every frame with the mask that the release saw on it, at video resolution."""
    tensors, _ = track
    masks = (logits > 0).numpy()
    masks[0] = tensors["mask0"].numpy() > 0
    frames = tensors["frames"].numpy()
    return [Keyframe(Frame(i, frames[i]), masks[i]) for i in range(len(frames))]


def test_the_pictures_shown_to_the_model_while_tracking_are_the_published_ones(
    track, tracked, logits
):
    first, second, query = track[0]["vlm_images.11"].numpy()
    assert np.array_equal(label_keyframe(tracked[0].frame.rgb, tracked[0].mask), first)
    # An outline is drawn otherwise around pixels whose sign may differ between platforms.
    undecided = (logits[3].abs() < 1e-4).numpy().astype(np.uint8)
    decided = cv2.dilate(undecided, np.ones((9, 9), np.uint8)) == 0
    drawn = label_keyframe(tracked[3].frame.rgb, tracked[3].mask)
    assert np.array_equal(drawn[decided], second[decided])
    assert np.array_equal(query, tracked[11].frame.rgb)


@pytest.mark.parametrize("remember", [0, 1], ids=["recomputed", "cached"])
def test_every_concept_of_the_tracked_video_is_the_published_one(
    track, tracked, network, tokenizer, remember
):
    """Nine queries while the bank grows, stands still and drops its second keyframe."""
    tensors, told = track
    encoder = InternVLConceptEncoder(network, tokenizer, remember=remember)
    for frame, used in told["keyframes_used_at_trigger"].items():
        request = ConceptRequest(tuple(tracked[i] for i in used))
        (concept,) = encoder.encode([request], tracked[int(frame)].frame)
        assert (concept.embedding - tensors[f"concept.{frame}"][0]).abs().max() < CLOSE


def test_the_keyframe_bank_keeps_the_keyframes_that_the_release_used(track, tracked):
    _, told = track
    bank = KeyframeBank(at_most=3)
    for frame in range(told["T"]):
        expected = told["keyframes_used_at_trigger"].get(str(frame))
        if expected is not None:
            assert [k.frame.index for k in bank.keyframes] == expected
        joined = told["keyframe_bank_after_frame"][str(frame)]
        if joined[-1] == frame:
            bank = bank.add(tracked[frame])
