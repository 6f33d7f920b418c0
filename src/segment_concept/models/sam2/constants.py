"""Tensors that are the same on every frame, computed once for each set of weights."""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from segment_concept.ops.device_values import settle

T = TypeVar("T")


class ConstantCache:
    """Results that depend on a few weights only. They are made anew when these weights change.

    While gradients are recorded nothing is cached.
    """

    def __init__(self) -> None:
        self._found: dict[Hashable, tuple[Hashable, object]] = {}

    def get(self, name: Hashable, weights: Sequence[Tensor], make: Callable[[], T]) -> T:
        """What `make` returns, computed once for this name and these weights.

        Args:
            name: distinguishes results, for example by their size.
            weights: the tensors that `make` reads.
            make: computes the result.
        """
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return make()
        key = tuple(state_of(weight) for weight in weights)
        kept = self._found.get(name)
        if kept is None or kept[0] != key:
            kept = key, make()
            settle()
            self._found[name] = kept
        found: T = kept[1]  # type: ignore[assignment]
        return found

    def clear(self) -> None:
        """Drop everything, for weights that move to another device."""
        self._found.clear()

    def __deepcopy__(self, memo: object) -> "ConstantCache":
        """Copies of a network fill their own cache."""
        return ConstantCache()

    def __reduce__(self) -> tuple[type["ConstantCache"], tuple[()]]:
        return ConstantCache, ()


def state_of(weight: Tensor) -> Hashable:
    """Changes when the weight is replaced, written to, moved or cast."""
    version = 0 if weight.is_inference() else weight._version
    return id(weight), version, weight.device, weight.dtype, tuple(weight.shape)
