"""One step of stage 1 against the official trainer: losses, gradients, groups, clip, AdamW."""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from helpers.fixtures import facts, fixture
from helpers.memory_toy import memory_task, tiny_network
from segment_concept.checkpoints.sam2.keys import our_name
from segment_concept.train.losses import Losses, LossWeights
from segment_concept.train.memory_data import ClipConfig, MemoryClip
from segment_concept.train.memory_task import MemoryTask, published_schedule

FRAMES = 14


@dataclass(frozen=True)
class Step:
    expected: dict
    tensors: dict[str, Tensor]
    task: MemoryTask
    losses: Losses
    gradients: dict[str, Tensor]


def clips(expected, tensors) -> list[MemoryClip]:
    """The two videos of the fixture, with one and two objects."""
    images = tensors["images_TBCHW"]
    owners = tensors["obj_to_frame_idx_TO2"][0, :, 1]
    predicted = tuple(expected["frames_predicted"])
    return [
        MemoryClip(images[:, b], tensors["masks_TOHW"][:, owners == b] > 0, predicted, str(b))
        for b in range(2)
    ]


@pytest.fixture(scope="module")
def step() -> Step:
    expected, tensors = (
        facts("training/stage1_step"),
        load_file(fixture("training/stage1_step.safetensors")),
    )
    network = tiny_network(fixture("parity/sam2_tiny_weights.safetensors"))
    with torch.no_grad():  # the official run interpolated in float16, the type of the weights
        slots = tensors["maskmem_tpos_enc_stretched"]
        network.memory_temporal_positional_encoding.copy_(slots)
    config = ClipConfig(frames=FRAMES, augmentation=None)
    task = memory_task(network, (), clip=config, schedule=published_schedule())
    network.train()
    examples = clips(expected, tensors)
    losses = task.losses(examples)
    losses.total(task.counts(examples)).backward()
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    return Step(expected, tensors, task, losses, gradients)


def test_losses_are_those_of_the_official_trainer(step):
    weights = {"focal": 20.0, "dice": 1.0, "iou_error": 1.0, "presence": 1.0}
    names = {"focal": "mask", "dice": "dice", "iou_error": "iou", "presence": "class"}
    for term, name in names.items():
        found = step.losses.sums[term].item() / 3 / weights[term]
        assert found == pytest.approx(step.expected["losses"][f"loss_{name}"], rel=1e-5)
    counts = dict.fromkeys(step.losses.sums, 3.0)
    total = step.losses.total(counts).item()
    assert total == pytest.approx(step.expected["losses"]["core_loss"], rel=1e-5)


def test_what_is_trained_has_the_official_names(step):
    ours = {our_name(name) for name in step.expected["trainable"]}
    named = step.task.network.named_parameters()
    assert {name for name, p in named if p.requires_grad} == ours
    assert step.gradients.keys() == ours


def test_gradients_are_those_of_the_official_trainer(step):
    for name, norm in step.expected["gradient_norms"].items():
        found, golden = step.gradients[our_name(name)], step.tensors[f"grad/{name}"]
        assert (found - golden).norm() <= 1e-4 * norm
    whole = torch.stack([g.norm() for g in step.gradients.values()]).norm().item()
    assert whole == pytest.approx(step.expected["gradient_norm_before_clip"], rel=1e-4)


def test_groups_of_the_optimizer_are_the_official_ones(step):
    names = {id(p): name for name, p in step.task.network.named_parameters()}
    decays = [0.1, 0.0]
    for group, decay, golden in zip(
        step.task.groups(), decays, step.expected["groups"][:2], strict=True
    ):
        assert golden["weight_decay"] == group.get("weight_decay", 0.1) == decay
        found = {names[id(p)] for p in group["params"]}
        assert found == {our_name(name) for name in golden["trainable"]}


def test_one_clipped_step_of_adamw_moves_the_weights_as_officially(step):
    schedule = step.task.schedule
    network = copy.deepcopy(step.task.network)
    task = MemoryTask(step.task._recipe, network, (), None, "toy")
    parameters = dict(network.named_parameters())
    before = {name: p.detach().clone() for name, p in parameters.items()}
    for name, gradient in step.gradients.items():
        parameters[name].grad = gradient.clone()
    optimizer = torch.optim.AdamW(
        task.groups(), lr=schedule.rate, betas=schedule.betas, weight_decay=schedule.weight_decay
    )
    torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
    optimizer.step()
    for name in (n.removeprefix("after/") for n in step.tensors if n.startswith("after/")):
        ours = our_name(name)
        off = (parameters[ours] - step.tensors[f"after/{name}"]).abs()
        size = step.gradients[ours].abs()
        assert off[size > 1e-6 * size.max()].max() <= 1e-7
        assert off.max() <= 2 * schedule.rate
    frozen = before.keys() - step.gradients.keys()
    assert all(torch.equal(parameters[name], before[name]) for name in frozen)


def test_the_learning_rate_falls_to_a_tenth(step):
    schedule = published_schedule()
    assert schedule.factor_at(2500) * schedule.rate == pytest.approx(step.expected["lr_at_half"][0])
    late = replace(schedule, steps=10000).factor_at(9999) * schedule.rate
    assert late == pytest.approx(step.expected["lr_at_0.9999"][0], rel=1e-6)


def test_temporal_embeddings_are_stretched_as_officially(step):
    stretched = step.task.network.memory_temporal_positional_encoding
    golden = step.tensors["maskmem_tpos_enc_stretched"].float()
    assert stretched.shape == golden.shape
    torch.testing.assert_close(stretched.detach(), golden, rtol=4e-3, atol=4e-3)


def test_computing_the_attention_again_changes_nothing(step):
    examples = clips(step.expected, step.tensors)
    again = MemoryTask(
        step.task._recipe, step.task.network, (), None, "toy", recompute=True
    ).losses(examples)
    for term, value in step.losses.sums.items():
        torch.testing.assert_close(again.sums[term], value, rtol=1e-6, atol=0)
    names = [n for n, p in step.task.network.named_parameters() if p.requires_grad]
    trained = [dict(step.task.network.named_parameters())[n] for n in names]
    found = torch.autograd.grad(again.total(dict.fromkeys(again.sums, 3.0)), trained)
    for name, gradient in zip(names, found, strict=True):
        assert (gradient - step.gradients[name]).norm() <= 1e-4 * step.gradients[name].norm()


def test_a_step_in_two_parts_has_the_same_loss(step):
    parts = [step.task.losses([clip]) for clip in clips(step.expected, step.tensors)]
    together = parts[0] + parts[1]
    for term, value in step.losses.sums.items():
        torch.testing.assert_close(together.sums[term], value, rtol=1e-5, atol=1e-6)


def test_the_weights_of_the_terms_are_published():
    assert LossWeights() == LossWeights(20.0, 1.0, 1.0, 1.0, 0.25, 2.0)
