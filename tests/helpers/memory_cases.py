"""Memories without pixels: policies decide by indices and scores alone."""

from collections.abc import Iterable

import torch

from segment_concept.tracking.memory import Memory, MemoryBank, Recall

NOTHING = torch.empty(0)


def remembered(index: int, iou: float = 0.9, presence: float = 5.0) -> Memory:
    return Memory(index, NOTHING, NOTHING, iou, presence, NOTHING)


def bad(index: int) -> Memory:
    return remembered(index, iou=0.1)


def bank(prompted: Iterable[int], tracked: Iterable[int | Memory] = ()) -> MemoryBank:
    """Frames given as a number were segmented well."""
    return MemoryBank(
        tuple(map(remembered, prompted)),
        tuple(m if isinstance(m, Memory) else remembered(m) for m in tracked),
    )


def maps(recall: Recall) -> list[tuple[int, int]]:
    """(frame, slot) in the order of attention."""
    return [(m.memory.frame_index, m.slot) for m in recall.maps]


def pointers(recall: Recall) -> list[tuple[int, int]]:
    """(frame, distance) in the order of attention."""
    return [(p.memory.frame_index, p.distance) for p in recall.pointers]
