"""Weights that anyone can make again from the names of the parameters alone, bit for bit.

The references in `trackers` of the fixtures were computed with official code whose parameters
were filled like this, so a network with the same names and shapes must give the same numbers.
NumPy's legacy generator is frozen; the order in which modules are made plays no part.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SEED_STEP = 7919


@dataclass(frozen=True)
class Recipe:
    """How to fill: `overrides` are (pattern, gain, add), and the last that matches counts.

    Parameters that match a pattern in `kept` stay as the network computed them.
    """

    seed: int = 0
    overrides: Sequence[tuple[str, float, float | Sequence[float]]] = ()
    kept: Sequence[str] = ()

    def weights(self, current: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state dict with the names and shapes of `current`."""
        return {
            key: tensor
            if any(re.search(pattern, key) for pattern in self.kept)
            else torch.from_numpy(self.array(key, tuple(tensor.shape), set(current)))
            for key, tensor in current.items()
        }

    def array(self, key: str, shape: tuple[int, ...], keys: set[str]) -> NDArray[np.generic]:
        """The values of one parameter; `keys` tell which ones belong to a batch normalisation."""
        prefix, _, leaf = key.rpartition(".")
        if leaf == "num_batches_tracked":
            return np.zeros(shape, np.int64)
        if f"{prefix}.running_mean" in keys:
            return np.full(shape, 1.0 if leaf in ("weight", "running_var") else 0.0, np.float32)
        gain, add = self._override(key)
        crc = zlib.crc32(key.encode())
        random = np.random.RandomState((crc + SEED_STEP * self.seed) % 2**32)
        uniform = 2.0 * random.random_sample(int(np.prod(shape))) - 1.0
        if len(shape) > 1:
            scale = np.sqrt(3.0) * gain / np.sqrt(int(np.prod(shape[1:])))
            values = scale * uniform + add
        else:
            values = (1.0 if leaf == "weight" else 0.0) + 0.02 * gain * uniform + add
        return values.astype(np.float32).reshape(shape)

    def _override(self, key: str) -> tuple[float, NDArray[np.float64]]:
        gain, add = 1.0, np.asarray(0.0)
        for pattern, new_gain, new_add in self.overrides:
            if re.search(pattern, key):
                gain, add = new_gain, np.asarray(new_add, np.float64)
        return gain, add


@dataclass(frozen=True)
class Checksum:
    """Sums over all floating-point entries, in float64."""

    sum: float
    abs_sum: float
    numel: int


def checksum(weights: Mapping[str, Tensor]) -> Checksum:
    """A cheap sign that weights were made again."""
    floating = [weights[k].double() for k in sorted(weights) if weights[k].is_floating_point()]
    return Checksum(
        sum=sum(t.sum().item() for t in floating),
        abs_sum=sum(t.abs().sum().item() for t in floating),
        numel=sum(t.numel() for t in floating),
    )
