"""Random weights that follow from the names of the parameters, batch normalizations included."""

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def named_weights(current: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with the names and shapes of `current`, the same on every machine."""
    normalized = {k.rpartition(".")[0] for k in current if k.endswith(".running_mean")}
    return {key: _weight(key, tensor, normalized) for key, tensor in current.items()}


def _weight(key: str, tensor: Tensor, normalized: set[str]) -> Tensor:
    owner, _, leaf = key.rpartition(".")
    if leaf == "num_batches_tracked":
        return torch.zeros_like(tensor)
    random = np.random.RandomState(zlib.crc32(key.encode()))
    uniform = 2.0 * random.random_sample(tuple(tensor.shape)) - 1.0
    if owner in normalized:
        uniform = {"weight": 0.3, "running_var": 1.0}.get(leaf, 0.0) + 0.2 * uniform
    elif tensor.ndim > 1:
        uniform *= np.sqrt(3.0 / np.prod(tensor.shape[1:]))
    else:
        uniform = (1.0 if leaf == "weight" else 0.0) + 0.1 * uniform
    return torch.from_numpy(uniform.astype(np.float32))
