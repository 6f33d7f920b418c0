"""Stage 1 on tiny networks and tiny data."""

import sys
from functools import cache
from pathlib import Path

import torch

from segment_concept.checkpoints.sam2.load import load_sam2
from segment_concept.checkpoints.sam2.stretch import stretch_slots
from segment_concept.datasets.sav import SavVideo, find_videos
from segment_concept.models.sam2.network import SamNetwork
from segment_concept.models.sam2.sizes import HieraWiring
from segment_concept.train.memory_data import ClipConfig
from segment_concept.train.memory_task import MemoryRecipe, MemoryTask
from segment_concept.train.task import Schedule

WIRING = HieraWiring(1, (8, 4, 8, 4), (3,))  # of the tiny weights of parity
SHORT = ClipConfig(frames=6, stride=1, predicted=3, augmentation=None)


@cache
def videos(root: Path) -> tuple[SavVideo, ...]:
    return tuple(find_videos(root).values())


def quick(steps: int, rate: float = 1e-3) -> Schedule:
    return Schedule(steps=steps, rate=rate, warm_up=0, weight_decay=0.1, clip=0.1, average=None)


def without_dropout(network: SamNetwork) -> SamNetwork:
    for module in network.memory_attention.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0
    return network


def tiny_network(weights: Path, wiring: HieraWiring = WIRING, side: int = 128) -> SamNetwork:
    """22 slots, in float32, without dropout."""
    network = load_sam2(weights, image_side=side, wiring=wiring).network
    stretch_slots(network, 22)
    return without_dropout(network)


def memory_task(network: SamNetwork, videos: tuple[SavVideo, ...], **changes) -> MemoryTask:
    recipe = {"name": "toy", "clip": SHORT, "batch": 2, "schedule": quick(4), **changes}
    return MemoryTask(MemoryRecipe(**recipe), network, videos, None, "toy")


def main() -> None:
    """Train a task on the videos of a folder: python -m helpers.memory_toy DATA OUT MICRO_BATCH."""
    from helpers.tiny_weights import tiny_weights_file
    from segment_concept.train.loop import train
    from segment_concept.train.task import LoopOptions

    data, out, micro_batch = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    network = tiny_network(tiny_weights_file("sam2"))
    task = memory_task(network, videos(data), batch=4, schedule=quick(3))
    train(task, out, LoopOptions(micro_batch, workers=0, device="cpu", log_every=1))


if __name__ == "__main__":
    main()
