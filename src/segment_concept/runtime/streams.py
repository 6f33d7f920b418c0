"""A CUDA stream of its own for a thread, so that its work runs beside that of other threads."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


class SideStream:
    """A stream on a CUDA device; on other devices nothing, because they have no streams.

    Args:
        device: where the work runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)
            # what was launched before, for example copies of weights, comes first
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def use(self) -> AbstractContextManager[Any]:
        """Launch on this stream within the context."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def mark(self) -> Callable[[Iterable[Tensor]], None]:
        """Mark what was launched so far.

        Returns:
            A function to be called in another thread with the tensors that were computed. It makes
            that thread's stream wait for them; Python does not wait.
        """
        if self._stream is None:
            return _nothing
        event = torch.cuda.Event()
        event.record(self._stream)

        def join(tensors: Iterable[Tensor]) -> None:
            current = torch.cuda.current_stream(self._stream.device if self._stream else None)
            current.wait_event(event)
            for tensor in tensors:
                tensor.record_stream(current)  # its memory is not reused before this stream is done

        return join


def _nothing(_: Iterable[Tensor]) -> None:
    """There is no stream to wait for."""


def tensors_of(record: object) -> Iterator[Tensor]:
    """The tensors in the fields of a dataclass, and in tuples and lists there."""
    if isinstance(record, Tensor):
        yield record
    elif isinstance(record, tuple | list):
        for each in record:
            yield from tensors_of(each)
    elif hasattr(record, "__dataclass_fields__"):
        for name in record.__dataclass_fields__:
            yield from tensors_of(getattr(record, name))
