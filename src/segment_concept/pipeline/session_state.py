"""Tracking sessions on disk, exactly: what is loaded goes on as if nothing had happened.

A session is data: frozen records, tensors, arrays and plain values. It is taken apart into what
`torch.load(..., weights_only=True)` accepts, so that a state file can run no code. Things that
are shared within a session (a memory in two hypotheses) are shared again when it is restored.
"""

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segment_concept.tracking.api import TrackingSession, VideoTracker
from segment_concept.tracking.feature_cache import FeatureCache
from segment_concept.types import CheckpointError

Packed = dict[str, Any]
_PLAIN = (type(None), bool, int, float, str)


class NotStorableError(TypeError):
    """The session holds something that is not data; it cannot be taken apart."""


def dump_session(session: TrackingSession, tracker: VideoTracker) -> Packed:
    """Everything the session knows, without the tracker and without cached image features.

    Raises:
        NotStorableError: it is no dataclass, or holds something that is not data.
    """
    if not dataclasses.is_dataclass(session):
        raise NotStorableError(f"{type(session).__name__} is no dataclass")
    packer = _Packer()
    fields = {
        f.name: packer.pack(value)
        for f in dataclasses.fields(session)
        if (value := getattr(session, f.name)) is not tracker
        and not isinstance(value, FeatureCache)
    }
    return {"type": _name_of(type(session)), "fields": fields, "nodes": packer.nodes}


def load_session(packed: Packed, tracker: VideoTracker) -> TrackingSession:
    """A session of `tracker` with the state of the packed one.

    Raises:
        CheckpointError: it was packed by another kind of tracker, or by another version.
    """
    session = tracker.session()
    own = _name_of(type(session))
    if packed.get("type") != own:
        raise CheckpointError(
            f"the state was stored by a session of type {packed.get('type')}, and this tracker's "
            f"are of type {own}: begin again with --overwrite"
        )
    package = type(session).__module__.split(".")[0]
    try:
        restorer = _Restorer(packed["nodes"], {"segment_concept", package})
        for name, value in packed["fields"].items():
            setattr(session, name, restorer.restore(value))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"the state was stored by another version of segment-concept ({error}): begin again "
            "with --overwrite"
        ) from error
    return session


class _Packer:
    """Every thing that is not plain becomes a node; `("node", n)` refers to it."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self._known: dict[int, int] = {}
        self._alive: list[Any] = []  # an id is only unique as long as its thing lives

    def pack(self, value: Any) -> Any:
        if type(value) in _PLAIN:
            return value
        if id(value) not in self._known:
            node = self._node(value)
            self._known[id(value)] = len(self.nodes)
            self._alive.append(value)
            self.nodes.append(node)
        return ("node", self._known[id(value)])

    def _node(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return ("tensor", value.detach().to("cpu", copy=True))  # a view would drag a batch in
        if isinstance(value, np.ndarray):
            return ("array", torch.from_numpy(np.array(value)))
        if isinstance(value, np.generic):
            return ("scalar", torch.from_numpy(np.array(value)))
        if type(value) in (tuple, list, frozenset):
            return (type(value).__name__, [self.pack(item) for item in value])
        if isinstance(value, Mapping):
            return ("dict", [(self.pack(k), self.pack(v)) for k, v in value.items()])
        if _is_record(type(value)):
            return ("record", _name_of(type(value)), self._fields(value))
        raise NotStorableError(f"a {type(value).__name__} cannot be stored")

    def _fields(self, value: Any) -> list[tuple[str, Any]]:
        if isinstance(value, tuple):
            return [(name, self.pack(item)) for name, item in value._asdict().items()]  # type: ignore[attr-defined]
        fields = dataclasses.fields(value)
        if not all(f.init for f in fields):
            raise NotStorableError(f"{type(value).__name__} has fields that are not arguments")
        return [(f.name, self.pack(getattr(value, f.name))) for f in fields]


class _Restorer:
    """Nodes come after those that they refer to, so one pass restores them all."""

    def __init__(self, nodes: list[Any], packages: set[str]) -> None:
        self._packages = packages
        self._things: list[Any] = []
        for node in nodes:
            self._things.append(self._thing(node))

    def restore(self, value: Any) -> Any:
        return self._things[value[1]] if isinstance(value, tuple) else value

    def _thing(self, node: Any) -> Any:
        kind, content = node[0], node[1]
        if kind == "tensor":
            return content
        if kind == "array":
            return content.numpy()
        if kind == "scalar":
            return content.numpy()[()]
        if kind == "record":
            fields = {name: self.restore(value) for name, value in node[2]}
            return self._class(content)(**fields)
        if kind == "dict":
            return {self.restore(k): self.restore(v) for k, v in content}
        makers = {"tuple": tuple, "list": list, "frozenset": frozenset}
        return makers[kind](self.restore(item) for item in content)

    def _class(self, name: str) -> Any:
        module, _, qualified = name.partition(":")
        found: Any = None
        if module.split(".")[0] in self._packages:
            with suppress(ImportError):
                found = import_module(module)
        for part in qualified.split("."):
            found = getattr(found, part, None)
        if isinstance(found, type) and _is_record(found):
            return found
        raise CheckpointError(
            f"the state holds a {name}, which this version does not know: "
            "begin again with --overwrite"
        )


def _is_record(kind: type) -> bool:
    """A dataclass or a named tuple."""
    return dataclasses.is_dataclass(kind) or (issubclass(kind, tuple) and hasattr(kind, "_fields"))


def _name_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
