"""A device that runs out of memory: what was done stays, and the error says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from segment_concept.ops.moving import release_memory
from segment_concept.tracking.snapshot import restore_state, state_of
from segment_concept.types import DeviceMemoryError

# Beginnings of messages of torch's RuntimeError; for CUDA it has a class of its own.
_MESSAGES = ("MPS backend out of memory", "DefaultCPUAllocator")


def general_advice() -> str:
    """What helps every tracker."""
    return (
        "Track fewer objects at a time, use a smaller recipe, and close() or unload() other "
        "trackers"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch could not allocate memory on some device."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MESSAGES)


@contextmanager
def unchanged_without_memory(session: Any, frame_index: int | None) -> Iterator[None]:
    """Take back what a session did if its device ran out of memory.

    Args:
        session: a dataclass with `tracker`; its fields are immutable, or dictionaries of such.
        frame_index: of the frame that is tracked; None for work ahead, which changes nothing in
            the session and therefore takes nothing back.

    Raises:
        DeviceMemoryError: there was too little memory. Nothing was changed.
    """
    before = {} if frame_index is None else state_of(session)
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        error.__traceback__ = None  # its frames hold the tensors that took the memory
        restore_state(session, before)
        release_memory()
        tracker, objects = session.tracker, len(session.object_ids)
        where = "the next frames" if frame_index is None else f"frame {frame_index}"
        raise DeviceMemoryError(
            f"{tracker.device} ran out of memory on {where} ({objects or 'no'} "
            f"object{'' if objects == 1 else 's'} before it). Nothing of it was tracked and the "
            f"earlier frames are kept. {tracker.memory_advice()}"
        ) from error
