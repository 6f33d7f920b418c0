"""Memory use of a tracking session."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence, Set

import numpy as np
from torch import Tensor

from segment_concept.tracking.api import TrackingSession, VideoTracker


def session_nbytes(session: TrackingSession, tracker: VideoTracker) -> int:
    """Bytes of all tensors and arrays of a session, without those of the tracker.

    Each storage is counted once, and completely even if only a view of it is used: a view keeps
    the whole storage in memory.
    """
    storages: dict[int, int] = {}
    seen = {id(tracker)}
    waiting: list[object] = [session]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))  # ids are unique: the session keeps all these objects alive
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
