"""A SAM 2.1 network so small that a test can run it often, with random weights."""

import numpy as np
import torch
from torch import Tensor, nn

from segment_concept.models.sam2.network import Sam2Network
from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter
from segment_concept.models.sam2.sizes import HieraSizes, HieraWiring, Sam2Sizes
from segment_concept.tracking.memory import Memory, Recall, RecalledMap, RecalledPointer
from segment_concept.types import Frame

SIDE, WIDTH, MEMORY_WIDTH = 64, 32, 16
EXACT_MEMORY = Sam2Options(memory_dtype=torch.float32)


def toy_network(*, concept: bool = True, seed: int = 0) -> Sam2Network:
    """64 px, 4 slots, features 32 wide, memories 16 wide."""
    trunk = HieraSizes(8, (1, 1, 2, 1), 7, HieraWiring(1, (8, 4, 4, 2), (3,)))
    sizes = Sam2Sizes(
        trunk=trunk,
        image_side=SIDE,
        width=WIDTH,
        memory_width=MEMORY_WIDTH,
        slots=4,
        attention_layers=2,
        attention_mlp=32,
        concept_layers=1 if concept else 0,
        decoder_mlp=32,
        iou_width=16,
        fuser_layers=1,
        fuser_mlp=32,
    )
    network = Sam2Network(sizes).eval()
    fill(network, seed)
    return network


def fill(module: nn.Module, seed: int) -> None:
    """Random parameters, scaled so that signals neither vanish nor explode."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=random)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_((1.0 if name.endswith("norm.weight") else 0.0) + 0.1 * noise)


def toy_segmenter(options: Sam2Options = EXACT_MEMORY, *, concept: bool = True) -> Sam2Segmenter:
    """With memories kept in float32, so that equal inputs give equal memories."""
    return Sam2Segmenter(toy_network(concept=concept), options)


def random_frame(index: int = 0, size: tuple[int, int] = (48, 80)) -> Frame:
    pixels = np.random.default_rng(index).integers(0, 256, (*size, 3), np.uint8)
    return Frame(index, pixels)


def random_memory(index: int) -> Memory:
    """What some object might be remembered by on frame `index`."""
    random = torch.Generator().manual_seed(index)
    grid = SIDE // 16
    return Memory(
        frame_index=index,
        features=torch.randn(MEMORY_WIDTH, grid, grid, generator=random),
        pointer=torch.randn(WIDTH, generator=random),
        iou=0.9,
        presence=1.0,
        logits=torch.zeros(SIDE // 4, SIDE // 4),
    )


def recall(maps: int, pointers: int, seed: int = 0, key_scale: float = 1.0) -> Recall:
    """So many memories; the first map is the prompted one."""
    memories = [random_memory(100 * seed + n) for n in range(max(maps, pointers))]
    slots = [3, 2, 1, 0]
    return Recall(
        maps=tuple(RecalledMap(slots[n], m, key_scale) for n, m in enumerate(memories[:maps])),
        pointers=tuple(
            RecalledPointer(n + 1, m, key_scale) for n, m in enumerate(memories[:pointers])
        ),
    )


def far_apart(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() > 1e-3)
