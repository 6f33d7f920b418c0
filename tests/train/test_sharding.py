"""FSDP2 over the blocks of a network against DDP, on two processes without a GPU.

accelerate shards on GPUs only, so `fully_shard` is called here as accelerate calls it.
"""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from helpers.processes import free_port
from helpers.training_toy import Toy
from segment_concept.train.micro_batches import TrainingModule


class Block(nn.Sequential):
    """A layer with a frozen and a trained part, as adapters in a frozen model."""


def toy() -> Toy:
    task = Toy(slots=4, dropout=0.0)
    torch.manual_seed(2)
    blocks = [Block(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)) for _ in range(2)]
    for block in blocks:
        block[0].requires_grad_(False)
    task.network = nn.Sequential(*blocks, nn.Linear(3, 1))
    return task


def trained_by(rank: int, folder: str, shard: bool, port: str) -> None:
    """Two steps on this process's half of the examples; rank 0 writes the weights."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.set_num_threads(1)
    task = toy()
    module: nn.Module = TrainingModule(task)
    if shard:
        from torch.distributed.fsdp import fully_shard

        for block in module.modules():
            if isinstance(block, Block):
                fully_shard(block)
        fully_shard(module)
    else:
        module = nn.parallel.DistributedDataParallel(module)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=0.05)
    for step in range(2):
        everything = [task.load(request) for request in task.requests(step)]
        loss, _ = module(everything[2 * rank : 2 * rank + 2], task.counts(everything))
        (loss * 2).backward()
        optimizer.step()
        optimizer.zero_grad()
    state = {
        name: value.full_tensor() if shard else value
        for name, value in task.network.state_dict().items()
    }
    if rank == 0:
        torch.save(state, Path(folder) / f"{shard}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_sharded_weights_are_trained_as_copied_ones(tmp_path):
    for shard in (False, True):
        mp.spawn(trained_by, (str(tmp_path), shard, free_port()), nprocs=2)
    copied, sharded = (torch.load(tmp_path / f"{shard}.pt") for shard in (False, True))
    before = toy().network.state_dict()
    for name, value in copied.items():
        torch.testing.assert_close(sharded[name], value, rtol=1e-6, atol=1e-7)
        assert torch.equal(value, before[name]) == (".0." in name)
