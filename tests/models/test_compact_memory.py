"""What the compact network makes of memories, with random weights."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.models.compact.memory_attention import (
    CELLS,
    FAR,
    NEWEST,
    OLDER,
    PROMPTED,
    SECOND,
    MemoryAttention,
    MemoryBatch,
    Pointers,
    RememberedFrame,
)
from segment_concept.models.compact.memory_batch import stacked
from segment_concept.models.compact.neck import CompactFeatures, Widths
from segment_concept.models.compact.roi import Roi, Rois

WIDTHS = Widths()
GRID = (2, 4)
L = GRID[0] * GRID[1]


def _picture(objects: int) -> CompactFeatures:
    h, w = GRID
    one = CompactFeatures(
        tokens=torch.randn(1, L, WIDTHS.tokens),
        eighth=torch.randn(1, WIDTHS.eighth, 2 * h, 2 * w),
        quarter=torch.randn(1, WIDTHS.quarter, 4 * h, 4 * w),
        query=_keys(1, L),
        keys=torch.randn(1, L, 2 * WIDTHS.match),
        raw=torch.randn(1, L, WIDTHS.raw),
    )
    return one[torch.zeros(objects, dtype=torch.long)]


def _keys(objects: int, tokens: int) -> torch.Tensor:
    return F.normalize(torch.randn(objects, tokens, WIDTHS.match), dim=-1)


def _memory(ages: list[list[int]]) -> MemoryBatch:
    """Frames of every object's own."""
    objects = len(ages)
    frames = [_frame((o,), (age,)) for o, each in enumerate(ages) for age in each]
    return MemoryBatch(tuple(frames), _pointers(objects))


def _frame(objects: tuple[int, ...], ages: tuple[int, ...]) -> RememberedFrame:
    keys = torch.cat([_keys(1, L), _keys(1, L)], dim=-1)[0]
    values = torch.randn(len(objects), L, WIDTHS.value + CELLS)
    return RememberedFrame(keys, objects, ages, values)


def _pointers(objects: int) -> Pointers:
    return Pointers(
        vectors=torch.randn(objects, 1, WIDTHS.pointer),
        ages=torch.zeros(objects, 1, dtype=torch.long),
        scales=torch.ones(objects, 1),
        hidden=torch.zeros(objects, 1, dtype=torch.bool),
    )


WHOLE = Roi(0, GRID[0], 0, GRID[1], GRID)


def _asked(
    attention: MemoryAttention, picture: CompactFeatures, memory: MemoryBatch
) -> list[list[Tensor]]:
    """Of every object, in a window that is the whole picture: tokens, prior, similarity maps."""
    found = []
    for o, heard in enumerate(attention.attend_frames(picture, memory)):
        read = attention.read(picture.query[o], heard)
        again = attention.answers(heard, memory.pointers[o : o + 1])
        tokens, prior = attention(picture[o : o + 1], Rois((WHOLE,)), read, again)
        found.append([tokens[0], prior[0], read.similar[0]])
    return found


def _asked_at_once(
    attention: MemoryAttention, picture: CompactFeatures, memory: MemoryBatch
) -> list[list[Tensor]]:
    count = len(picture.tokens)
    read = attention.read_memory_batched(picture.query, stacked(memory, count))
    again = attention.answers_batched(stacked(memory, count, without=FAR), memory.pointers)
    tokens, prior = attention(picture, Rois((WHOLE,) * count), read, again)
    return [list(each) for each in zip(tokens, prior, read.similar, strict=True)]


@pytest.fixture
def attention() -> MemoryAttention:
    torch.manual_seed(0)
    return MemoryAttention(WIDTHS).eval()


@torch.no_grad()
def test_the_second_attention_asks_prompts_and_the_newest_frame_alone(attention):
    picture = _picture(1)
    memory = _memory([[PROMPTED, OLDER, OLDER, SECOND, NEWEST]])
    plain = _asked(attention, picture, memory)[0][0]
    for number, frame in enumerate(memory.frames):
        keys = torch.cat([frame.keys[:, : WIDTHS.match], _keys(1, L)[0]], dim=1)
        frames = list(memory.frames)
        frames[number] = replace(frame, keys=keys)
        changed = _asked(attention, picture, replace(memory, frames=tuple(frames)))[0][0]
        assert torch.equal(changed, plain) == (frame.ages in ((SECOND,), (OLDER,)))


@torch.no_grad()
def test_objects_with_other_frames_are_what_they_are_alone(attention):
    shared = _frame((0, 1), (PROMPTED, SECOND))
    own = [_frame((0,), (OLDER,)), _frame((1,), (PROMPTED,)), _frame((0,), (NEWEST,))]
    picture, memory = _picture(2), MemoryBatch((shared, *own), _pointers(2))
    group_rois = _asked(attention, picture, memory)
    for o in range(2):
        frames = [
            RememberedFrame(f.keys, (0,), f.ages[n : n + 1], f.values[n : n + 1])
            for f in memory.frames
            for n, whose in enumerate(f.objects)
            if whose == o
        ]
        alone = MemoryBatch(tuple(frames), memory.pointers[o : o + 1])
        (found,) = _asked(attention, picture[o : o + 1], alone)
        for whole, part in zip(group_rois[o], found, strict=True):
            torch.testing.assert_close(whole, part, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_objects_asked_at_once_are_answered_as_one_after_another(attention):
    shared = _frame((0, 1), (PROMPTED, SECOND))
    own = [_frame((0,), (OLDER,)), _frame((0, 1), (NEWEST, NEWEST)), _frame((2,), (PROMPTED,))]
    picture, memory = _picture(3), MemoryBatch((shared, *own), _pointers(3))
    one_by_one = _asked(attention, picture, memory)
    at_once = _asked_at_once(attention, picture, memory)
    for each, alone in zip(at_once, one_by_one, strict=True):
        for found, expected in zip(each, alone, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_pointer_that_is_hidden_says_nothing(attention):
    picture, memory = _picture(1), _memory([[PROMPTED]])
    hidden = replace(memory.pointers, hidden=torch.ones(1, 1, dtype=torch.bool))
    plain = _asked(attention, picture, replace(memory, pointers=hidden))[0][0]
    others = replace(hidden, vectors=torch.randn(1, 1, WIDTHS.pointer))
    unmoved = _asked(attention, picture, replace(memory, pointers=others))[0][0]
    assert torch.equal(unmoved, plain)
    shown = _asked(attention, picture, memory)[0][0]
    assert not torch.allclose(shown, plain)
