"""From what a policy recalls to the tensors that the compact network attends to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.models.compact.memory import (
    NEWEST,
    OLDER,
    PROMPTED,
    SAME_FRAME,
    Remembered,
)
from segment_concept.tracking.memory import Recall, RecalledMap, RecalledPointer

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One map to attend to."""

    frame_index: int
    age: int
    values: Tensor  # (L, value + CELLS)
    keys: Tensor  # (L, 2 * match), the picture's; the same for every object on the frame
    scale: float = 1.0  # factor on the keys

    @property
    def name(self) -> tuple[int, int, float]:
        """Entries of objects on one picture with the same name have the same keys."""
        return self.frame_index, self.age, self.scale


def entries_of(recall: Recall) -> list[Entry]:
    """The maps of a recall."""
    return [_entry(m) for m in recall.maps]


def same_frame(values: Tensor, keys: Tensor) -> Entry:
    """A prompt on the very frame that is looked at, as a map."""
    return Entry(-1, SAME_FRAME, values, keys)


def remembered(
    entries: Sequence[Sequence[Entry]],
    recalls: Sequence[Recall],
    images: Sequence[int],
    pointer_width: int,
) -> Remembered:
    """What O objects remember, padded to the longest. Objects that share frames share keys.

    Args:
        entries: the maps of each object.
        recalls: whose pointers they have.
        images: the row of the features at which each object is looked for.
        pointer_width: channels of a pointer.
    """
    sets: dict[tuple[int, tuple[tuple[int, int, float], ...]], int] = {}
    set_of, tables = [], []
    for image, maps in zip(images, entries, strict=True):
        key = (image, tuple(e.name for e in maps))
        if key not in sets:
            sets[key] = len(sets)
            tables.append(maps)
        set_of.append(sets[key])
    like = entries[0][0].values
    most = max(len(maps) for maps in entries)
    return Remembered(
        keys=torch.stack([_padded([_scaled(e) for e in maps], most) for maps in tables]),
        set_of=torch.tensor(set_of, device=like.device),
        values=torch.stack([_padded([e.values for e in maps], most) for maps in entries]),
        ages=_table([[e.age for e in maps] for maps in tables], most, 0, like),
        missing=_table([[False] * len(maps) for maps in tables], most, True, like),
        **_pointers(recalls, like.new_zeros(pointer_width)),
    )


def _pointers(recalls: Sequence[Recall], blank: Tensor) -> dict[str, Tensor]:
    """The fields of `Remembered` that hold pointers; at least one, so that none is a case apart."""
    rows = [recall.pointers for recall in recalls]
    most = max(1, *(len(row) for row in rows))
    return {
        "pointers": torch.stack(
            [torch.stack(_filled([p.memory.pointer for p in row], most, blank)) for row in rows]
        ),
        "pointer_ages": _table(
            [[_pointer_age(recall, p) for p in recall.pointers] for recall in recalls],
            most,
            0,
            blank,
        ),
        "pointer_scales": _table([[p.key_scale for p in row] for row in rows], most, 1.0, blank),
        "no_pointer": _table(
            [[p.memory.presence <= 0 for p in row] for row in rows], most, True, blank
        ),
    }


def _entry(recalled: RecalledMap) -> Entry:
    memory = recalled.memory
    assert memory.image is not None, "memorize() gives every memory its image's keys"
    age = PROMPTED if recalled.prompted else min(NEWEST + recalled.slot, OLDER)
    return Entry(memory.frame_index, age, memory.features, memory.image, recalled.key_scale)


def _pointer_age(recall: Recall, pointer: RecalledPointer) -> int:
    if any(m.prompted and m.memory is pointer.memory for m in recall.maps):
        return PROMPTED
    return min(max(pointer.distance, NEWEST), OLDER)


def _scaled(entry: Entry) -> Tensor:
    return entry.keys if entry.scale == 1 else entry.keys * entry.scale


def _padded(parts: Sequence[Tensor], length: int) -> Tensor:
    joined = torch.cat(list(parts))
    return F.pad(joined, (0, 0, 0, (length - len(parts)) * len(parts[0])))


def _table(rows: Sequence[Sequence[T]], length: int, filler: T, like: Tensor) -> Tensor:
    return torch.tensor([_filled(row, length, filler) for row in rows], device=like.device)


def _filled(values: Sequence[T], length: int, filler: T) -> list[T]:
    return [*values, *[filler] * (length - len(values))]
