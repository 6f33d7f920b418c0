"""Recalled memories as the tensors that the compact network attends to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from segment_concept.models.compact.memory_attention import (
    CELLS,
    NEWEST,
    OLDER,
    PROMPTED,
    SAME_FRAME,
    MemoryBatch,
    Pointers,
    RememberedFrame,
)
from segment_concept.models.compact.roi import Roi, around, whole_frame
from segment_concept.tracking.memory import Recall, RecalledMap, RecalledPointer

T = TypeVar("T")

DOUBTFUL = 0.5  # predicted IoU, as where frames are carried


@dataclass(frozen=True, slots=True, eq=False)
class MemoryEntry:
    """One memory map to attend to."""

    frame_index: int
    age: int
    values: Tensor  # (L, value + CELLS)
    keys: Tensor  # (L, 2 * match) of the image; the same for every object on the frame
    scale: float = 1.0  # factor on the keys


def map_entries(recall: Recall) -> list[MemoryEntry]:
    """The memory maps of a recall."""
    return [_entry(m) for m in recall.maps]


def look_near(recall: Recall, grid: tuple[int, int]) -> Roi:
    """Where to look for an object first: around where it was a moment ago.

    The whole frame if that is not known, or the mask of that time is doubtful.
    """
    previous = recall.previous
    if previous is None or previous.iou <= DOUBTFUL:
        return whole_frame(grid)
    return around(previous.features[:, -CELLS:], grid)


def same_frame(values: Tensor, keys: Tensor) -> MemoryEntry:
    """A prompt on the frame that is segmented, as a memory map."""
    return MemoryEntry(-1, SAME_FRAME, values, keys)


def batch_memory(
    entries: Sequence[Sequence[MemoryEntry]],
    recalls: Sequence[Recall],
    images: Sequence[int],
    pointer_width: int,
) -> MemoryBatch:
    """Batch the memories of O objects. Objects of one image share the frames they both remember.

    Args:
        entries: memory maps of each object, at least one.
        recalls: with the pointers of each object.
        images: row of the features in which each object is segmented.
        pointer_width: channels of a pointer.
    """
    shared: dict[tuple[int, int, float], list[tuple[int, MemoryEntry]]] = {}
    for o, (image, maps) in enumerate(zip(images, entries, strict=True)):
        for entry in maps:
            shared.setdefault((image, entry.frame_index, entry.scale), []).append((o, entry))
    like = entries[0][0].values
    return MemoryBatch(
        tuple(_frame(each) for each in shared.values()),
        _pointers(recalls, like.new_zeros(pointer_width)),
    )


def _frame(entries: Sequence[tuple[int, MemoryEntry]]) -> RememberedFrame:
    """One frame, from the (object index, memory map) of each object that remembers it."""
    keys, scale = entries[0][1].keys, entries[0][1].scale
    return RememberedFrame(
        keys=keys if scale == 1 else keys * scale,
        objects=tuple(o for o, _ in entries),
        ages=tuple(entry.age for _, entry in entries),
        values=torch.stack([entry.values for _, entry in entries]),
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
    assert memory.image is not None, "encode_memory() gives every memory its image's keys"
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
