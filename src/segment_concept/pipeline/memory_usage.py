"""How much a tracking session remembers, in bytes."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence, Set

import numpy as np
from torch import Tensor

from segment_concept.tracking.api import TrackingSession, VideoTracker


def session_nbytes(session: TrackingSession, tracker: VideoTracker) -> int:
    """Bytes of all tensors and arrays that a session holds, each storage counted once.

    The tracker's own, its weights above all, are left out. A tensor counts with the whole of its
    storage, since a small window on a large one keeps all of it in memory.
    """
    storages: dict[int, int] = {}
    seen = {id(tracker)}
    waiting: list[object] = [session]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))  # what has an id here is held by the session, so ids stay its own
        if isinstance(value, Tensor):
            storage = value.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(value, np.ndarray):
            whole = _owner(value)
            storages[whole.ctypes.data] = whole.nbytes
        else:
            waiting += _parts(value)
    return sum(storages.values())


def _owner(
    array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]",
) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _parts(value: object) -> Iterator[object]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from (getattr(value, field.name) for field in dataclasses.fields(value))
    elif isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, Sequence | Set) and not isinstance(value, str | bytes):
        yield from value
