"""A step in parts: micro-batches, counts and seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from segment_concept.train.task import TrainingTask


class TrainingModule(nn.Module):
    """A task's losses as a forward pass, so that hooks of DDP and FSDP2 fire."""

    def __init__(self, task: TrainingTask[Any, Any]) -> None:
        super().__init__()
        self.network = task.network
        self._losses = task.losses

    def forward(
        self, examples: Sequence[Any], counts: Mapping[str, float]
    ) -> tuple[Tensor, dict[str, tuple[float, float]]]:
        """The loss of a micro-batch as its part of the step's, and figures as (sum, count)."""
        losses = self._losses(examples)
        return losses.total(counts), losses.figures()


def cut(examples: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Micro-batches of at most `size` examples; 0 for one of all."""
    size = size or len(examples)
    return [examples[i : i + size] for i in range(0, len(examples), size)]


def added(counts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Counts of several processes together."""
    names = {name for each in counts for name in each}
    return {name: sum(each.get(name, 0.0) for each in counts) for name in names}


def mixed_seed(*numbers: int) -> int:
    """One seed of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
