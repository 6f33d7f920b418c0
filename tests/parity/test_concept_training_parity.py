"""One step of stage 2, number by number beside SeC's own training code (tiny weights, fp32)."""

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from helpers.fixtures import fixture
from helpers.sam2_reference import TINY as TINY_HIERA
from helpers.sam2_reference import stored
from segment_concept.checkpoints.sam2.load import load_sam2
from segment_concept.checkpoints.sec.internvl import Placement, load_concept_network, load_tokenizer
from segment_concept.checkpoints.sec.internvl_keys import belongs_to_concept
from segment_concept.datasets.sav import find_videos
from segment_concept.models.internvl.network import pixel_values
from segment_concept.models.internvl.prompt_template import (
    TRAINING_ANSWERS,
    TRAINING_QUESTIONS,
    Conversation,
)
from segment_concept.models.internvl.sizes import TINY
from segment_concept.ops.contours import label_keyframe
from segment_concept.ops.resize import normalized, resize_bicubic
from segment_concept.train import concept_data
from segment_concept.train.concept_data import QuestionLoader, QuestionRequest
from segment_concept.train.concept_network import Adapters, SecNetworks, Trained, merged_weights
from segment_concept.train.concept_questions import Question, Reference
from segment_concept.train.concept_task import decoded_losses
from segment_concept.train.losses import LossWeights

SEG = 262
ADAPTERS = Adapters(rank=4, alpha=8, dropout=0.0)
LANGUAGE = "concept.backbone.language_model."
STEM = "mllm.model.language_model.base_model.model.model."


@pytest.fixture(scope="module")
def golden():
    return stored("training", "stage2_step")


@pytest.fixture(scope="module")
def conversation():
    return Conversation(load_tokenizer(fixture("parity/sec_tokenizer")), 263)


@pytest.fixture(scope="module")
def networks(golden):
    path = fixture("parity/sec_tiny_weights.safetensors")
    weights = {n: t for n, t in load_file(path).items() if belongs_to_concept(n)}
    concept = load_concept_network(TINY, weights.items(), Placement(), words=True)
    segmenter = load_sam2(path, image_side=128, wiring=TINY_HIERA).network
    networks = SecNetworks(concept, segmenter, SEG, Trained(adapters=ADAPTERS))
    adapters = {
        n.replace("lora/model.", "concept.backbone.language_model."): t
        for n, t in golden[0].items()
        if n.startswith("lora/")
    }
    unknown = networks.load_state_dict(adapters, strict=False).unexpected_keys
    assert not unknown
    return networks


@pytest.fixture(scope="module")
def rows(golden, conversation):
    made = []
    for told in golden[1]["samples"]:
        question = next(q for q in TRAINING_QUESTIONS if told["question"].startswith(q))
        answer = told["answer_with_loss"].removesuffix("<|im_end|>")
        assert answer in TRAINING_ANSWERS
        made.append(conversation.training(len(told["references"]) + 1, question, answer))
    return made


def one_step(golden, networks, rows, conversation):
    """Hidden states, concepts and losses of both samples; gradients are left in the networks."""
    tensors, _ = golden
    pictures = [p.numpy() for i in (0, 1) for p in tensors[f"sample{i}_pictures_labelled"]]
    queries = torch.stack([tensors[f"sample{i}_query_square_uint8_CHW"] for i in (0, 1)])
    targets = torch.cat(
        [
            F.interpolate(tensors[f"sample{i}_target_mask"][None].float(), (128, 128))[0]
            for i in (0, 1)
        ]
    )
    hidden = networks.read(pixel_values(pictures), rows, conversation.image_token)
    concepts = networks.concepts(hidden, rows)
    decoded = networks.segment(normalized(queries.float() / 255), concepts)
    masks = decoded_losses(decoded, targets, LossWeights())
    losses = masks + networks.language_losses(hidden, rows)
    networks.zero_grad()
    losses.total().backward()
    return hidden, concepts, losses


@pytest.fixture(scope="module")
def step(golden, networks, rows, conversation):
    return one_step(golden, networks, rows, conversation)


def test_outlined_pictures_and_their_resized_bytes_are_those_of_the_release(golden):
    tensors, told = golden
    for i in (0, 1):
        frames, masks = tensors[f"sample{i}_frames_rgb"], tensors[f"sample{i}_reference_masks"]
        labelled = tensors[f"sample{i}_pictures_labelled"].numpy()
        replaced = told["samples"][i]["replaced_positions"]
        for k in range(len(masks)):
            if k not in replaced:
                drawn = label_keyframe(frames[k].numpy(), masks[k].numpy() > 0)
                assert np.array_equal(drawn, labelled[k])
        for picture, sha in zip(
            labelled, told["samples"][i]["pixel_values_sha256_of_uint8"], strict=True
        ):
            chw = np.ascontiguousarray(resize_bicubic(picture, 448).transpose(2, 0, 1))
            assert hashlib.sha256(chw.tobytes()).hexdigest() == sha
        square = resize_bicubic(frames[-1].numpy(), 128).transpose(2, 0, 1)
        assert np.array_equal(square, tensors[f"sample{i}_query_square_uint8_CHW"].numpy())


@pytest.mark.parametrize("number", [0, 1])
def test_the_loader_reads_the_samples_of_the_release_from_the_video(golden, monkeypatch, number):
    """But for the place of a distractor, whose row is not recorded."""
    tensors, told = golden
    sample = told["samples"][number]
    video, column = (("sav_000001", 0), ("sav_000002", 0))[sample["item"]]
    question = Question(
        column,
        tuple(Reference(row, column) for row in sample["references"]),
        sample["query"],
        (),
        text=0,
        answer=0,
        as_tracked=False,
    )
    monkeypatch.setattr(concept_data, "draw_question", lambda *_: question)
    videos = find_videos(fixture("training/sav_tiny"))
    example = QuestionLoader(videos, (), 128)(QuestionRequest(video, column, 1))
    for place, sha in enumerate(sample["pixel_values_sha256_of_uint8"]):
        if place not in sample["replaced_positions"]:
            chw = example.pictures[place].permute(2, 0, 1).contiguous()
            assert hashlib.sha256(chw.numpy().tobytes()).hexdigest() == sha
    query = example.query.permute(2, 0, 1)
    assert torch.equal(query, tensors[f"sample{number}_query_square_uint8_CHW"])
    target = tensors[f"sample{number}_target_mask"][None].float()
    assert torch.equal(example.truth.float(), F.interpolate(target, (128, 128))[0, 0])


def test_hidden_states_and_concepts_are_those_of_the_release(golden, step, rows):
    tensors, _ = golden
    hidden, concepts, _ = step
    at = torch.tensor([rows[0].seg, len(rows[0].ids) + rows[1].seg])
    assert torch.allclose(hidden[at], tensors["seg_hidden_states"], rtol=1e-5, atol=1e-5)
    assert torch.allclose(concepts, tensors["concepts"], rtol=1e-5, atol=1e-5)


def test_losses_are_those_of_the_release(golden, step):
    told = golden[1]["losses_weighted"]
    _, _, losses = step
    ours = {n: (s / losses.counts[n]).item() for n, s in losses.sums.items()}
    names = {
        "focal": "loss_mask",
        "dice": "loss_dice",
        "iou_error": "loss_iou",
        "presence": "loss_class",
        "language": "llm_loss",
    }
    for name, theirs in names.items():
        assert ours[name] == pytest.approx(told[theirs], rel=1e-5), name
    assert losses.total().item() == pytest.approx(golden[1]["total"], rel=1e-5)


def our_parameter(published):
    """Our name of a parameter in the release's training."""
    if published.startswith("text_hidden_fcs."):
        _, number, field = published.split(".")[-3:]
        return f"concept.head.{number}.{field}"
    if ".mlp1." in published:
        number, field = published.split(".")[-2:]
        layer = {"0": "layer_norm", "1": "linear_1", "3": "linear_2"}[number]
        return f"concept.backbone.multi_modal_projector.{layer}.{field}"
    if published.endswith("lm_head.weight"):
        return "concept.words.weight"
    return published.replace(STEM, LANGUAGE)


def test_the_trained_parameters_and_their_gradients_are_those_of_the_release(
    golden, networks, step
):
    tensors, told = golden
    parameters = dict(networks.named_parameters())
    trained = {n for n, p in parameters.items() if p.requires_grad}
    norms = {our_parameter(n): v for n, v in told["gradient_norms"].items()}
    assert trained == norms.keys()
    for name, norm in norms.items():
        assert parameters[name].grad.norm().item() == pytest.approx(norm, rel=1e-4), name
    for name, gradient in tensors.items():
        if name.startswith("grad/"):
            ours = parameters[our_parameter(name.removeprefix("grad/"))].grad
            assert (ours - gradient).norm() < 1e-4 * gradient.norm()
    assert all(p.grad is None for n, p in parameters.items() if n not in trained)


def test_merged_weights_are_those_of_the_release(golden, networks):
    tensors, _ = golden
    state = networks.state_dict()
    adapters = {n: t for n, t in state.items() if "lora_" in n}
    merged = merged_weights(
        lambda name: state[name.replace(".weight", ".base_layer.weight")], adapters, ADAPTERS.scale
    )
    for name, theirs in tensors.items():
        if name.startswith("merged/"):
            ours = merged[name.replace("merged/model.", LANGUAGE)]
            assert torch.equal(ours, theirs)


def test_recomputed_layers_give_the_same_gradients(networks, step, rows, conversation, golden):
    before = {n: p.grad.clone() for n, p in networks.named_parameters() if p.requires_grad}
    networks.recompute()
    networks.train()
    networks.segmenter.eval()  # without its dropout
    one_step(golden, networks, rows, conversation)
    for name, parameter in networks.named_parameters():
        if parameter.requires_grad:
            assert torch.allclose(parameter.grad, before[name], atol=1e-6), name
