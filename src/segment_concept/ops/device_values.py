"""Small tensors on a device, made without waiting for it on every frame.

Copying Python numbers to a GPU waits until everything that it was given is done. Values that recur
are therefore copied once and kept; values that change are copied from pinned memory.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")

_forget: list[Callable[[], None]] = []  # empty the caches


def constant_tensors(make: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function of sizes and a device whose results are kept.

    The results can be used in every mode and on every stream: they are made outside of inference
    mode, and the device has finished them.
    """

    @lru_cache(maxsize=1024)
    def kept(*args: P.args, **kwargs: P.kwargs) -> T:
        with torch.inference_mode(False), torch.no_grad():
            made = make(*args, **kwargs)
        settle()
        return made

    @wraps(make)
    def found(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.compiler.is_compiling():
            return make(*args, **kwargs)
        return kept(*args, **kwargs)  # type: ignore[arg-type]

    _forget.append(kept.cache_clear)
    return found


def forget_device_values() -> None:
    """Free all that was kept, on every device."""
    for clear in _forget:
        clear()


def settle() -> None:
    """Wait until the current stream of a GPU is done, so that other streams may read its results.

    For results that are made once: it stops Python until the GPU has caught up.
    """
    if torch.cuda.is_initialized():
        torch.cuda.current_stream().synchronize()


@lru_cache(maxsize=4096)
def device_values(
    values: tuple[int, ...] | tuple[float, ...], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """(N,) tensor of N numbers that recur: the first call copies them, later calls do not.

    To be used on one stream: another one does not know when the copy is done.
    """
    with torch.inference_mode(False):
        return upload(torch.tensor(values, dtype=dtype), device)


def indices(rows: tuple[int, ...], device: torch.device) -> Tensor:
    """(N,) int64 tensor of indices that recur."""
    return device_values(rows, device, torch.int64)


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on `device`; nothing is waited for."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


_forget.append(device_values.cache_clear)
