"""Where a tracker's weights are: move them, set them aside, free them."""

from collections.abc import Sequence
from typing import Protocol, TypeVar, runtime_checkable

import torch

from segment_concept.ops.moving import release_memory
from segment_concept.runtime.gpu import find_device
from segment_concept.types import DeviceMemoryError, InputError

CPU = torch.device("cpu")
NOWHERE = torch.device("meta")  # weights there have shapes, but no values
_FREED = "weights_were_freed"  # attribute of a segmenter, which all copies of a tracker share

_Self = TypeVar("_Self", bound="MovableTracker")


@runtime_checkable
class Movable(Protocol):
    """A network, or what wraps one, that can be moved in place."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""
        ...

    def move(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """Move the weights, or convert them; None leaves them as they are. Caches are emptied.

        Raises:
            InputError: the weights cannot be converted or moved; nothing was changed.
        """
        ...


class MovableTracker:
    """What trackers share: their weights can be moved, set aside and freed.

    Copies of a tracker made with `dataclasses.replace` share its weights, so they are moved and
    closed together. Do not move a tracker while `track(..., prefetch=...)` is running.
    """

    __slots__ = ()

    def networks(self) -> Sequence[object]:
        """The networks and what wraps them, the segmenter first."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Device of the segmenter's weights; `meta` after `close`."""
        found: torch.device = getattr(self.networks()[0], "device", CPU)
        return found

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the segmenter's weights."""
        found: torch.dtype = getattr(self.networks()[0], "dtype", torch.float32)
        return found

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return bool(getattr(self.networks()[0], _FREED, False))

    def check_open(self) -> None:
        """Refuse to work without weights.

        Raises:
            InputError: the tracker was closed.
        """
        if self.closed:
            raise InputError("this tracker was closed and has no weights any more: load it again")

    def to(
        self: _Self,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> _Self:
        """Move the weights of all networks in place, or convert those that can be converted.

        Sessions go on: the state of one is moved when it gets its next frame.

        Args:
            device: a torch device or its name; `auto` is a GPU if there is one.
            dtype: `float32`, `bfloat16` or `float16`, or torch's.

        Returns:
            The tracker itself.

        Raises:
            InputError: the tracker was closed, there is no such device or type, or the network
                cannot be moved or converted. The weights are where they were.
            DeviceMemoryError: the device has too little memory. The weights are where they were.
        """
        self.check_open()
        place = None if device is None else find_device(str(device))
        if place == NOWHERE:
            raise InputError(
                "weights on the device 'meta' have no values: use close() to free them"
            )
        kind = None if dtype is None else _number_type(dtype)
        # The concept encoder first: its refusals are not known before it is asked.
        parts = [_movable(part) for part in reversed(self.networks())]
        before = [(part, part.device, part.dtype) for part in parts]
        try:
            for part in parts:
                part.move(place, kind)
        except torch.OutOfMemoryError as error:
            for part, old_place, old_kind in before:
                part.move(old_place, old_kind)
            release_memory()
            raise DeviceMemoryError(
                f"{place} has too little free memory for these weights, which stay on "
                f"{self.device}: close or unload other trackers, or convert them first with "
                "dtype='bfloat16'"
            ) from error.with_traceback(None)
        release_memory()
        return self

    def unload(self: _Self) -> _Self:
        """Set the weights aside in the CPU's memory. `to` brings them back."""
        return self.to(CPU)

    def close(self) -> None:
        """Free the weights for good. Sessions then refuse to go on; closing twice is fine."""
        for part in self.networks():
            if isinstance(part, Movable):
                part.move(NOWHERE, None)
                vars(part)[_FREED] = True
        release_memory()


def _movable(part: object) -> Movable:
    if not isinstance(part, Movable):
        raise InputError(
            f"{type(part).__name__} cannot be moved: give it the methods of "
            "`tracking.placement.Movable`, or load it on the other device"
        )
    return part


def _number_type(dtype: str | torch.dtype) -> torch.dtype:
    names = ("float32", "bfloat16", "float16")
    found = getattr(torch, dtype) if dtype in names else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError(f"dtype={dtype!r}: expected one of {', '.join(names)}")
    return found
