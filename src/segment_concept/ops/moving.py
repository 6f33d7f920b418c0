"""Move weights, and records that hold tensors, to another device."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from segment_concept.ops.device_values import forget_device_values
from segment_concept.types import InputError

T = TypeVar("T")


def move_weights(
    module: nn.Module, device: torch.device | None, dtype: torch.dtype | None = None
) -> None:
    """Move a module in place, and convert its parameters; None leaves device or type as it is.

    Buffers keep their number type: they hold frequencies and statistics, which stay exact.
    """
    if dtype is not None:
        for parameter in module.parameters():
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(dtype)
    at = next(module.parameters()).device if device is None else device
    module.to(device=at)  # also where it is: modules drop what they computed from their weights


def move_float32(
    module: nn.Module, device: torch.device | None, dtype: torch.dtype | None, name: str
) -> None:
    """Move a network that has no other number type.

    Raises:
        InputError: another number type is asked for.
    """
    if dtype not in (None, torch.float32):
        raise InputError(f"{name} computes in float32 only: leave dtype out")
    move_weights(module, device)


def moved(value: T, device: torch.device, done: dict[int, Any] | None = None) -> T:
    """The same records, tuples, lists and mappings with their tensors on `device`.

    What was shared stays shared, and what holds no tensor stays the same object.

    Args:
        value: of any type; only tensors, dataclasses, tuples, lists and mappings are looked into.
        device: where the tensors shall be.
        done: for calls of the function by itself: what was moved, by the id of the original.
    """
    done = {} if done is None else done
    if id(value) not in done:
        done[id(value)] = _moved(value, device, done)
    found: T = done[id(value)]
    return found


def release_memory() -> None:
    """Give memory that no tensor uses back to the GPU, for other programs."""
    forget_device_values()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _moved(value: Any, device: torch.device, done: dict[int, Any]) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        items = {key: moved(item, device, done) for key, item in value.items()}
        return items if any(items[key] is not value[key] for key in items) else value
    if type(value) in (tuple, list):
        parts = [moved(item, device, done) for item in value]
        same = all(new is old for new, old in zip(parts, value, strict=True))
        return value if same else type(value)(parts)
    if is_dataclass(value) and not isinstance(value, type):
        changes = {
            field.name: new
            for field in fields(value)
            if field.init
            and (new := moved(getattr(value, field.name), device, done))
            is not getattr(value, field.name)
        }
        return replace(value, **changes) if changes else value
    return value
