"""What the compact network makes of memories, with random weights."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from segment_concept.models.compact.memory import (
    CELLS,
    NEWEST,
    OLDER,
    PROMPTED,
    SECOND,
    MemoryAttention,
    Remembered,
    _similar,
)
from segment_concept.models.compact.picture import Picture, Widths

WIDTHS = Widths()
GRID = (2, 3)
L = GRID[0] * GRID[1]


def _picture(objects: int) -> Picture:
    h, w = GRID
    one = Picture(
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


def _memory(ages: list[list[int]], missing: list[list[bool]]) -> Remembered:
    """A set of frames for each object."""
    objects, maps = len(ages), len(ages[0])
    return Remembered(
        keys=torch.cat([_keys(objects, maps * L), _keys(objects, maps * L)], dim=-1),
        set_of=torch.arange(objects),
        values=torch.randn(objects, maps * L, WIDTHS.value + CELLS),
        ages=torch.tensor(ages),
        missing=torch.tensor(missing),
        pointers=torch.randn(objects, 1, WIDTHS.pointer),
        pointer_ages=torch.zeros(objects, 1, dtype=torch.long),
        pointer_scales=torch.ones(objects, 1),
        no_pointer=torch.zeros(objects, 1, dtype=torch.bool),
    )


@pytest.fixture
def attention() -> MemoryAttention:
    torch.manual_seed(0)
    return MemoryAttention(WIDTHS).eval()


@torch.no_grad()
def test_the_second_attention_asks_prompts_and_the_two_newest_frames_alone(attention):
    picture = _picture(1)
    memory = _memory([[PROMPTED, OLDER, OLDER, SECOND, NEWEST]], [[False] * 5])
    plain = attention(picture, memory)[0]
    for number, age in enumerate(memory.ages[0].tolist()):
        keys = memory.keys.clone()
        keys[:, number * L : (number + 1) * L, WIDTHS.match :] = _keys(1, L)
        changed = attention(picture, replace(memory, keys=keys))[0]
        assert torch.equal(changed, plain) == (age == OLDER)


@torch.no_grad()
def test_objects_with_other_frames_are_what_they_are_alone(attention):
    ages = [[PROMPTED, OLDER, SECOND, NEWEST], [PROMPTED, NEWEST, 0, 0]]
    missing = [[False] * 4, [False, False, True, True]]
    picture, memory = _picture(2), _memory(ages, missing)
    together = attention(picture, memory)
    for o, maps in enumerate((4, 2)):
        alone = Remembered(
            keys=memory.keys[o : o + 1, : maps * L],
            set_of=torch.zeros(1, dtype=torch.long),
            values=memory.values[o : o + 1, : maps * L],
            ages=memory.ages[o : o + 1, :maps],
            missing=memory.missing[o : o + 1, :maps],
            pointers=memory.pointers[o : o + 1],
            pointer_ages=memory.pointer_ages[o : o + 1],
            pointer_scales=memory.pointer_scales[o : o + 1],
            no_pointer=memory.no_pointer[o : o + 1],
        )
        found = attention(picture[torch.tensor([o])], alone)
        for whole, part in zip(together, found, strict=True):
            torch.testing.assert_close(whole[o], part[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.8, 1.0])
def test_the_best_match_is_found_inside_the_object_and_outside(share):
    torch.manual_seed(0)
    likeness = torch.rand(30, 40) * 2 - 1
    inside = torch.rand(3, 40) < share
    found = _similar(likeness, inside)
    for part, maps in zip(inside, found, strict=True):
        for column, keys in enumerate((part, ~part)):
            expected = likeness.masked_fill(~keys, -1.0).amax(1)
            assert torch.equal(maps[:, column], expected)
