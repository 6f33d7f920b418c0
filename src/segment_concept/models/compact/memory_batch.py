"""From what a policy recalls to the tensors that the compact network attends to."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from segment_concept.models.compact.memory_attention import (
    NEWEST,
    OLDER,
    PROMPTED,
    SAME_FRAME,
    MemoryBatch,
    PaddedMemory,
    Pointers,
    RememberedFrame,
)
from segment_concept.tracking.memory import Recall, RecalledMap, RecalledPointer

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class MemoryEntry:
    """One map to attend to."""

    frame_index: int
    age: int
    values: Tensor  # (L, value + CELLS)
    keys: Tensor  # (L, 2 * match), the picture's; the same for every object on the frame
    scale: float = 1.0  # factor on the keys


def entries_of(recall: Recall) -> list[MemoryEntry]:
    """The maps of a recall."""
    return [_entry(m) for m in recall.maps]


def same_frame(values: Tensor, keys: Tensor) -> MemoryEntry:
    """A prompt on the very frame that is looked at, as a map."""
    return MemoryEntry(-1, SAME_FRAME, values, keys)


def remembered(
    entries: Sequence[Sequence[MemoryEntry]],
    recalls: Sequence[Recall],
    images: Sequence[int],
    pointer_width: int,
) -> MemoryBatch:
    """What O objects remember. Objects that look at one picture share the frames they both have.

    Args:
        entries: the maps of each object, at least one.
        recalls: whose pointers they have.
        images: the row of the features at which each object is looked for.
        pointer_width: channels of a pointer.
    """
    shared: dict[tuple[int, int, float], list[tuple[int, MemoryEntry]]] = {}
    for o, (image, maps) in enumerate(zip(images, entries, strict=True)):
        for entry in maps:
            shared.setdefault((image, entry.frame_index, entry.scale), []).append((o, entry))
    like = entries[0][0].values
    return MemoryBatch(
        tuple(_frame(having) for having in shared.values()),
        _pointers(recalls, like.new_zeros(pointer_width)),
    )


def stacked(memory: MemoryBatch, objects: int, without: Container[int] = ()) -> PaddedMemory:
    """The frames of each of O `objects` in a row, those of the ages `without` left out."""
    own: list[list[tuple[Tensor, Tensor, int]]] = [[] for _ in range(objects)]
    for frame in memory.frames:
        for o, age, values in zip(frame.objects, frame.ages, frame.values.unbind(), strict=True):
            if age not in without:
                own[o].append((frame.keys, values, age))
    most = max(1, *(len(frames) for frames in own))
    first = memory.frames[0]
    blank = torch.zeros_like(first.keys), torch.zeros_like(first.values[0]), 0
    rows = [_filled(frames, most, blank) for frames in own]
    missing = [[n >= len(frames) for n in range(most)] for frames in own]
    return PaddedMemory(
        keys=torch.stack([torch.cat([keys for keys, _, _ in row]) for row in rows]),
        values=torch.stack([torch.cat([values for _, values, _ in row]) for row in rows]),
        ages=torch.tensor([[age for _, _, age in row] for row in rows], device=first.keys.device),
        missing=torch.tensor(missing, device=first.keys.device),
    )


def _frame(having: Sequence[tuple[int, MemoryEntry]]) -> RememberedFrame:
    """A frame, of the objects that have it and what each of them remembers of it."""
    _, any_of_them = having[0]
    keys, scale = any_of_them.keys, any_of_them.scale
    return RememberedFrame(
        keys=keys if scale == 1 else keys * scale,
        objects=tuple(o for o, _ in having),
        ages=tuple(entry.age for _, entry in having),
        values=torch.stack([entry.values for _, entry in having]),
    )


def _pointers(recalls: Sequence[Recall], blank: Tensor) -> Pointers:
    rows = [recall.pointers for recall in recalls]
    most = max(1, *(len(row) for row in rows))
    vectors = [torch.stack(_filled([p.memory.pointer for p in row], most, blank)) for row in rows]
    ages = [[_pointer_age(recall, p) for p in recall.pointers] for recall in recalls]
    return Pointers(
        vectors=torch.stack(vectors),
        ages=_table(ages, most, 0, blank),
        scales=_table([[p.key_scale for p in row] for row in rows], most, 1.0, blank),
        hidden=_table([[p.memory.presence <= 0 for p in row] for row in rows], most, True, blank),
    )


def _entry(recalled: RecalledMap) -> MemoryEntry:
    memory = recalled.memory
    assert memory.image is not None, "memorize() gives every memory its image's keys"
    age = PROMPTED if recalled.prompted else min(NEWEST + recalled.slot, OLDER)
    return MemoryEntry(memory.frame_index, age, memory.features, memory.image, recalled.key_scale)


def _pointer_age(recall: Recall, pointer: RecalledPointer) -> int:
    if any(m.prompted and m.memory is pointer.memory for m in recall.maps):
        return PROMPTED
    return min(max(pointer.distance, NEWEST), OLDER)


def _table(rows: Sequence[Sequence[T]], length: int, filler: T, like: Tensor) -> Tensor:
    return torch.tensor([_filled(row, length, filler) for row in rows], device=like.device)


def _filled(values: Sequence[T], length: int, filler: T) -> list[T]:
    return [*values, *[filler] * (length - len(values))]
