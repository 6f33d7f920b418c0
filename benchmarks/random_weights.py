"""Weights that no training made, for the scripts that only ask how long and how much."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

SPREAD = 0.02  # standard deviation; activations stay finite at every width in use


@dataclass(frozen=True)
class RandomWeights:
    """Tensors of the right shapes, each made when it is read, in the numbers and place given.

    A source of weights like those on disk (`checkpoints.files.Weights`).
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtype: torch.dtype
    device: str

    @classmethod
    def of(cls, network: nn.Module, dtype: torch.dtype, device: str) -> "RandomWeights":
        """For a network that may have been laid out without memory."""
        shapes = {name: tuple(t.shape) for name, t in network.state_dict().items()}
        return cls(shapes, dtype, device)

    def read(self, name: str) -> Tensor:
        """Ones for a norm's weight and variance, normally distributed numbers for all else."""
        shape = self.shapes[name]
        made = torch.empty(shape, dtype=self.dtype, device=self.device)
        is_norm = len(shape) == 1 and name.endswith(("weight", "running_var"))
        return made.fill_(1.0) if is_norm else made.normal_(std=SPREAD)
