"""Repeat a function of tensors as one CUDA graph: one launch in place of hundreds."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeAlias

import torch
from torch import Tensor

Function: TypeAlias = Callable[..., tuple[Tensor, ...]]
Capture: TypeAlias = Callable[
    [Callable[[], tuple[Tensor, ...]]], tuple[Callable[[], None], tuple[Tensor, ...]]
]

CALLS_BEFORE = 2  # of the same shapes; memories that still grow are not worth a graph
WARM_UP = 2  # runs before capturing, in which libraries allocate what they need


def cuda_capture(
    run: Callable[[], tuple[Tensor, ...]],
) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
    """Record what `run` launches. Returns a function that repeats it, and where results lie."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # other threads may allocate meanwhile, for example the one that reads ahead
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        results = run()
    return graph.replay, results


@dataclass(frozen=True, slots=True, eq=False)
class _Graph:
    inputs: tuple[Tensor, ...]  # it reads these buffers
    replay: Callable[[], None]
    results: tuple[Tensor, ...]  # it writes these buffers


class CapturedCalls:
    """Calls a function; calls of shapes that recur replay a graph.

    Inputs are copied into buffers of the graph, and results out of it, so that callers may keep
    them. Tensors on other devices than a GPU are passed to the function itself.

    Args:
        function: of tensors, with other arguments by keyword; returns a tuple of tensors.
        state: changes when the weights that the function reads are replaced or written to: graphs
            read the old ones.
        capture: records a graph.
        device_type: where graphs are captured.
        most: number of graphs that are kept, those used last.
    """

    def __init__(
        self,
        function: Function,
        state: Callable[[], Hashable],
        capture: Capture = cuda_capture,
        device_type: str = "cuda",
        most: int = 8,
    ) -> None:
        self._function, self._state, self._capture = function, state, capture
        self._device_type, self._most = device_type, most
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()
        self._calls: Counter[Hashable] = Counter()
        self._known_state: Hashable = None
        self._lock = Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> "CapturedCalls":
        """A copy captures its own graphs."""
        return CapturedCalls(
            deepcopy(self._function, memo),
            deepcopy(self._state, memo),
            self._capture,
            self._device_type,
            self._most,
        )

    def __call__(self, *tensors: Tensor, **constants: Hashable) -> tuple[Tensor, ...]:
        if tensors[0].device.type != self._device_type or torch.is_grad_enabled():
            return self._function(*tensors, **constants)
        with self._lock:
            graph = self._graph(tensors, constants)
            if graph is None:
                return self._function(*tensors, **constants)
            for buffer, tensor in zip(graph.inputs, tensors, strict=True):
                buffer.copy_(tensor)
            graph.replay()
            return tuple(result.clone() for result in graph.results)

    def clear(self) -> None:
        """Free all graphs with their memory."""
        with self._lock:
            self._graphs.clear()
            self._calls.clear()

    def _graph(self, tensors: Sequence[Tensor], constants: dict[str, Hashable]) -> _Graph | None:
        """The graph for these shapes, captured if they recur; None if they do not yet."""
        state = self._state()
        if state != self._known_state:
            self._graphs.clear()
            self._calls.clear()
            self._known_state = state
        key = tuple((t.shape, t.dtype, t.device) for t in tensors), tuple(constants.items())
        if key in self._graphs:
            self._graphs.move_to_end(key)
            return self._graphs[key]
        self._calls[key] += 1
        if self._calls[key] <= CALLS_BEFORE:
            return None
        inputs = tuple(t.clone() for t in tensors)
        replay, results = self._capture(lambda: self._function(*inputs, **constants))
        self._graphs[key] = _Graph(inputs, replay, results)
        while len(self._graphs) > self._most:
            self._graphs.popitem(last=False)
        return self._graphs[key]
