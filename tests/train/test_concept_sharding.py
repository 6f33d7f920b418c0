"""Stage 2's networks in FSDP2: frozen bfloat16 and trained float32 weights in the same layers.

accelerate shards on GPUs only, so `fully_shard` is called here as accelerate calls it.
"""

import pytest
import torch
import torch.distributed as dist

from helpers.sec_training import plan
from segment_concept.checkpoints.sec.internvl import Placement
from segment_concept.train.concept_recipes import build_task
from segment_concept.train.loop import TrainingModule


@pytest.fixture
def _one_process(tmp_path):
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def gradients(module, task, examples):
    """The loss and the gradients of all trained parameters."""
    loss, _ = module(examples, task.counts(examples))
    loss.backward()
    trained = {n: p.grad for n, p in module.named_parameters() if p.requires_grad}
    return loss.item(), {n: getattr(g, "full_tensor", g.clone)() for n, g in trained.items()}


@pytest.mark.slow
@pytest.mark.usefixtures("_one_process")
@pytest.mark.parametrize("recipe", ["concept", "concept_lean"])
def test_sharded_networks_have_the_loss_and_gradients_of_whole_ones(recipe):
    from torch.distributed.fsdp import fully_shard

    task = build_task(plan(recipe=recipe, recompute=True), Placement.on("cpu", torch.bfloat16))
    examples = [task.loader()(request) for request in task.requests(0)]
    module = TrainingModule(task)
    module.train()
    for part in task.network.segmenter.modules():
        part.eval()  # without its dropout
    loss, whole = gradients(module, task, examples)
    module.zero_grad()
    blocks = [m for m in module.modules() if type(m).__name__ in task.blocks]
    assert len(blocks) == 2 + 2  # of both transformers
    for block in blocks:
        fully_shard(block)
    fully_shard(module)
    sharded_loss, sharded = gradients(module, task, examples)
    assert sharded_loss == pytest.approx(loss, rel=1e-6)
    for name, value in whole.items():
        torch.testing.assert_close(sharded[name], value, rtol=1e-5, atol=1e-6)
