"""The weights of a network in training: those that are trained, their average, the frozen ones."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def trained_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Those that require a gradient."""
    return [p for p in module.parameters() if p.requires_grad]


def frozen_hash(network: nn.Module) -> str:
    """sha256 of the names and values of all parameters that are not trained."""
    digest = hashlib.sha256()
    for name, parameter in sorted(network.named_parameters()):
        if not parameter.requires_grad:
            digest.update(name.encode())
            values = parameter.detach().cpu().contiguous().flatten()
            digest.update(values.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def trained_state(network: nn.Module) -> dict[str, Tensor]:
    """The network's state without frozen parameters: names and values, not copied."""
    frozen = {n for n, p in network.named_parameters() if not p.requires_grad}
    return {name: value for name, value in network.state_dict().items() if name not in frozen}


def saved_state(network: nn.Module) -> dict[str, Tensor]:
    """The trained state on the CPU, whole if the network is sharded, for a safetensors file.

    All processes must call it if the network is sharded.
    """
    found: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, value in trained_state(network).items():
        # Only sharded tensors have this method; importing their class takes seconds.
        whole: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
        placed = whole.detach().cpu().contiguous()
        # Tied weights are one tensor, which the file format refuses to hold twice.
        found[name] = placed.clone() if placed.data_ptr() in places else placed
        places.add(placed.data_ptr())
    return found


class Average:
    """An exponential average of a network's trained state.

    The weights start as the network's, are on its device and have its names.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.weights = {k: v.detach().clone() for k, v in trained_state(network).items()}

    def update(self, keep: float) -> None:
        """Move by 1 - `keep` towards the network's present weights."""
        present = trained_state(self._network)
        with torch.no_grad():
            for name, mean in self.weights.items():
                mean.lerp_(present[name].detach(), 1 - keep)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Continue an average that was saved."""
        for name, mean in self.weights.items():
            mean.copy_(weights[name])

    def put_into(self, network: nn.Module) -> dict[str, Tensor]:
        """Give a network the average. Returns the state that it had."""
        kept = {k: v.detach().clone() for k, v in trained_state(network).items()}
        network.load_state_dict(self.weights, strict=False)
        return kept
