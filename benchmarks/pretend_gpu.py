"""Counts, without a GPU, of what one would be asked to do: kernels, bytes, copies and waits.

torch's `meta` device stands for the GPU: tensors there have shapes and no values, so that networks
of full size run on it in a moment. A *wait* is a call after which Python cannot go on before the
device has finished everything it was given: reading a value (`tolist`, `item`, `bool`, `cpu`, ...),
selecting by a boolean index, and copying from memory that is not pinned (`torch.tensor(...,
device=...)` and `.to(device)` without `non_blocking`). A value that is read is made up: 0.9, 255
for a byte, 0 for other whole numbers, True.

An operator counts as one kernel, views as none, fused attention as one; what is composed of other
operators is counted by these.
"""

import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("meta")
PACKAGE = "segment_concept/"
LARGE = 100_000  # elements of a float32 result worth a line
READS = {
    *("tolist", "item", "cpu", "numpy", "nonzero", "masked_select"),
    *("__bool__", "__int__", "__float__", "__index__"),
}
NO_KERNEL = {
    *("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "detach", "alias"),
    *("_unsafe_view", "lift_fresh", "_reshape_alias", "set_", "resize_"),
}
ATTENTION = "scaled_dot_product_attention"
ONE_KERNEL = ("upsample", "softmax", "rms_norm")  # on a GPU; rms_norm since torch 2.9


@dataclass(slots=True)
class Counts:
    """Of everything that ran within `counting`."""

    waits: Counter[str] = field(default_factory=Counter)  # by "call file:line"
    kernels: Counter[str] = field(default_factory=Counter)  # by stage
    bytes_moved: Counter[str] = field(default_factory=Counter)  # read and written, by stage
    large_float32: Counter[str] = field(default_factory=Counter)  # results, by stage
    operators: Counter[str] = field(default_factory=Counter)  # kernels by operator
    uploads: Counter[str] = field(default_factory=Counter)  # bytes by file and line
    on_cpu: Counter[str] = field(default_factory=Counter)  # operators on the host
    bytes_read: int = 0  # by the host

    def lines(self) -> Iterator[str]:
        """A report."""
        yield (
            f"waits {self.waits.total()}, kernels {self.kernels.total()}, "
            f"{self.bytes_moved.total() / 1e9:.1f} GB moved on the device, {self.bytes_read} bytes "
            f"read, operators on the host {self.on_cpu.total()}"
        )
        for call, count in self.waits.most_common():
            yield f"    wait x {count}: {call}"
        for place, size in self.uploads.most_common():
            yield f"    upload of {size} bytes: {place}"
        for stage, count in self.kernels.most_common():
            yield (
                f"    {stage:18s} kernels {count:5d}, {self.bytes_moved[stage] / 1e9:6.2f} GB, "
                f"large float32 results {self.large_float32[stage]}"
            )


@contextmanager
def pretending() -> Iterator[None]:
    """Run on the `meta` device, with values made up wherever one is read; quicker than counting."""
    with torch.inference_mode(), _Waits(Counts()):
        yield


@contextmanager
def counting(stages: Mapping[str, nn.Module] | None = None) -> Iterator[Counts]:
    """Count what runs on the `meta` device; kernels are listed by the module that runs them."""
    counts = Counts()
    current = ["other"]
    hooks = []
    for name, module in (stages or {}).items():
        hooks += [
            module.register_forward_pre_hook(lambda *_, name=name: current.append(name)),
            module.register_forward_hook(lambda *_: _pop(current)),
        ]
    try:
        with torch.inference_mode(), _Kernels(counts, current), _Waits(counts):
            yield counts
    finally:
        for hook in hooks:
            hook.remove()


def _pop(stages: list[str]) -> None:
    stages.pop()  # a hook that returns something replaces the module's result


class _Waits(TorchFunctionMode):
    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        first = args[0] if args else None
        on_device = isinstance(first, Tensor) and first.device == DEVICE
        if on_device and (name in READS or _to_host(name, args, kwargs)):
            self._note(name)
            self._counts.bytes_read += first.numel() * first.element_size()
            return _made_up(name, first)
        if name in ("tensor", "as_tensor") and _device_of(args, kwargs) == DEVICE:
            self._note(f"torch.{name}(data, device)")
        if on_device and name == "new_tensor":
            self._note("new_tensor")
        if on_device and name in ("__getitem__", "__setitem__") and _boolean(args[1]):
            self._note("boolean index")
        if name == "to" and not on_device and _device_of(args, kwargs) == DEVICE:
            self._upload(first, "non_blocking" in kwargs and kwargs["non_blocking"])
        return func(*args, **kwargs)

    def _note(self, call: str) -> None:
        self._counts.waits[f"{call} {_where()}"] += 1

    def _upload(self, tensor: Tensor, non_blocking: bool) -> None:
        self._counts.uploads[_where()] += tensor.numel() * tensor.element_size()
        if not non_blocking:
            self._note(".to(device)")


class _Kernels(TorchDispatchMode):
    def __init__(self, counts: Counts, stage: list[str]) -> None:
        super().__init__()
        self._counts, self._stage = counts, stage

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.name().removeprefix("aten::").split(".")[0]
        if name == ATTENTION:
            query, value = args[0], args[2]
            result = query.new_empty((*query.shape[:-1], value.shape[-1]))
            self._count(name, args, result)
            return result
        if not name.startswith(ONE_KERNEL):
            with self:
                composed = func.decompose(*args, **kwargs)
            if composed is not NotImplemented:
                return composed
        result = func(*args, **kwargs)
        if not func.is_view and name not in NO_KERNEL:
            self._count(name, args, result)
        return result

    def _count(self, name: str, args: Any, result: Any) -> None:
        outputs, inputs = list(_tensors((result,))), list(_tensors(args))
        if not outputs:
            return
        if all(t.device != DEVICE for t in outputs):
            self._counts.on_cpu[name] += 1
            return
        if name in ("_to_copy", "copy_") and any(t.device != DEVICE for t in inputs):
            return  # an upload, not a kernel
        stage, counts = self._stage[-1], self._counts
        counts.kernels[stage] += 1
        counts.operators[name] += 1
        counts.bytes_moved[stage] += sum(t.numel() * t.element_size() for t in inputs + outputs)
        if any(t.dtype == torch.float32 and t.numel() > LARGE for t in outputs):
            counts.large_float32[stage] += 1


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


def _device_of(args: Any, kwargs: Any) -> torch.device | None:
    named = kwargs.get("device")
    for value in (named, *args[1:]):
        if isinstance(value, torch.device):
            return value
        if isinstance(value, str):
            return torch.device(value)
    return None


def _to_host(name: str, args: Any, kwargs: Any) -> bool:
    target = _device_of(args, kwargs) if name == "to" else None
    return target is not None and target.type == "cpu"


def _boolean(index: Any) -> bool:
    return any(t.dtype == torch.bool for t in _tensors((index,)))


def _made_up(name: str, tensor: Tensor) -> Any:
    value: Any = 0.9 if tensor.dtype.is_floating_point else 0
    if tensor.dtype in (torch.uint8, torch.bool):
        value = 255 if tensor.dtype == torch.uint8 else True
    filled = torch.full(tensor.shape, value, dtype=tensor.dtype)
    if name == "tolist":
        return filled.tolist()
    if name in ("cpu", "to"):
        return filled
    return filled.numpy() if name == "numpy" else value


def _where() -> str:
    """File and line, within the package, of the call that is being counted."""
    for frame in reversed(traceback.extract_stack()):
        if PACKAGE in frame.filename:
            return f"{frame.filename.rsplit(PACKAGE)[-1]}:{frame.lineno}"
    return "elsewhere"
