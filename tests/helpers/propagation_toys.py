"""Cutie and XMem with few, random weights, and a video of two moving squares."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from segment_concept.baselines.cutie.network import CutieNetwork, CutieSize
from segment_concept.baselines.propagation import BetweenMemories, Settings, Staggered
from segment_concept.baselines.resize import AsItIs
from segment_concept.baselines.resnet import BasicBlock, TrunkSize
from segment_concept.baselines.retention import AboveLeastUsed, LongTerm, MostUsed, RetentionPolicy
from segment_concept.baselines.session import PropagationTracker, cutie_tracker, xmem_tracker
from segment_concept.baselines.xmem.network import XMemNetwork, XMemSize
from segment_concept.types import Frame, Mask, ObjectId

FIRST, SECOND, THIRD = ObjectId(1), ObjectId(2), ObjectId(300)
TINY = TrunkSize(BasicBlock, (1, 1, 1), width=8)
Network = TypeVar("Network", bound=nn.Module)


def tiny_cutie(seed: int = 0) -> CutieNetwork:
    size = CutieSize(
        key=8, channels=32, queries=4, heads=2, feed_forward=32, blocks=2, image=TINY, mask=TINY
    )
    return seeded(CutieNetwork(size), seed)


def tiny_xmem(seed: int = 0) -> XMemNetwork:
    size = XMemSize(key=8, value=32, hidden=8, decoder=32, image=TINY, mask=TINY)
    return seeded(XMemNetwork(size), seed)


def seeded(network: Network, seed: int) -> Network:
    """Weights that depend on the seed alone, large enough that objects differ."""
    random = torch.Generator().manual_seed(seed)
    for key, parameter in network.named_parameters():
        if parameter.ndim > 1:
            fan_in = parameter[0].numel()
            parameter.normal_(0, (2 / fan_in) ** 0.5, generator=random)
        elif not key.endswith("weight"):
            parameter.normal_(0, 0.02, generator=random)
    return network


def few_prototypes(max_frames: int = 4, max_tokens: int = 40) -> LongTerm:
    return LongTerm(
        MostUsed(spare=4), max_frames, min_frames=2, prototypes=16, max_tokens=max_tokens
    )


def toy_cutie(retention: RetentionPolicy | None = None) -> PropagationTracker:
    settings = Settings(retention or few_prototypes(), Staggered(5), AsItIs(), memory_every=2)
    return cutie_tracker(tiny_cutie(), settings)


def toy_xmem(retention: RetentionPolicy | None = None) -> PropagationTracker:
    retention = retention or LongTerm(
        AboveLeastUsed(), 4, min_frames=2, prototypes=16, max_tokens=40
    )
    return xmem_tracker(
        tiny_xmem(), Settings(retention, BetweenMemories(), AsItIs(), memory_every=2)
    )


def video(length: int, size: tuple[int, int] = (48, 64)) -> list[Frame]:
    return list(endless(length, size))


def endless(length: int, size: tuple[int, int] = (48, 64)) -> Iterator[Frame]:
    """Noise with a red and a blue square that move."""
    height, width = size
    random = np.random.default_rng(0)
    for index in range(length):
        rgb = random.integers(60, 120, (height, width, 3), dtype=np.uint8)
        rgb[square(size, index, top=0)] = (230, 40, 40)
        rgb[square(size, -index, top=1)] = (40, 40, 230)
        yield Frame(index, rgb)


def square(size: tuple[int, int], index: int, top: int) -> NDArray[np.bool_]:
    """Where a square is: the one in the upper half (top 0) or the one in the lower half (1)."""
    height, width = size
    bitmap = np.zeros(size, np.bool_)
    rows = slice(top * height // 2, max((top + 1) * height // 2, top * height // 2 + 1))
    columns = (np.arange(max(width // 4, 1)) + index) % width
    bitmap[rows, columns] = True
    return bitmap


def red(frame: Frame) -> Mask:
    return Mask(square(frame.size, frame.index, top=0))


def blue(frame: Frame) -> Mask:
    return Mask(square(frame.size, -frame.index, top=1))
