"""What the compact network makes of memories, with random weights."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.models.compact.backbone import CHANNELS
from segment_concept.models.compact.memory_attention import (
    CELLS,
    NEWEST,
    OLDER,
    PROMPTED,
    SECOND,
    MemoryAttention,
    MemoryBatch,
    MemoryReadout,
    Pointers,
    RememberedFrame,
)
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
        descriptor=torch.randn(1, L, WIDTHS.descriptor),
        fine=torch.randn(1, sum(CHANNELS[:2]), 2 * h, 2 * w),
        coarse=torch.randn(1, WIDTHS.descriptor, h, w),
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
    everywhere = [WHOLE] * len(picture)
    for o, attended in enumerate(attention.attend_frames(picture, memory, everywhere)):
        readout = attention.read_memory(attended, WHOLE)
        pointers = memory.pointers[o : o + 1]
        scores = pointers.classify(picture[o : o + 1])
        made = attention(picture[o : o + 1], Rois((WHOLE,)), readout, [attended], pointers, scores)
        found.append([made.tokens[0], made.prior[0], made.similarity[0]])
    return found


def _tensors(readout: MemoryReadout) -> tuple[Tensor, Tensor, Tensor]:
    return readout.values, readout.prior, readout.similarity


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
def test_a_readout_is_one_softmax_over_all_frames(attention):
    """Checked against attention to all tokens of all frames at once."""
    attention.age_bias.normal_()
    attention.age.normal_()
    picture, memory = _picture(1), _memory([[PROMPTED, OLDER, NEWEST]])
    (attended,) = attention.attend_frames(picture, memory, [WHOLE])
    found = attention.read_memory(attended, WHOLE)
    k, v = WIDTHS.match, WIDTHS.value
    cosines = torch.cat([picture.query[0] @ f.keys[:, :k].T for f in memory.frames], dim=1)
    ages = torch.tensor([f.ages[0] for f in memory.frames]).repeat_interleave(L)
    logits = cosines * attention.log_sharpness[0].exp() + attention.age_bias[0][ages]
    values = torch.cat([f.values[0] for f in memory.frames])
    aged = values + F.pad(attention.age[ages], (0, CELLS))
    expected = logits.softmax(-1) @ aged
    torch.testing.assert_close(found.values[0], expected[:, :v], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.prior[0], expected[:, v:], rtol=1e-4, atol=1e-4)
    inside = values[:, v:].mean(-1) > 0
    for column, part in enumerate((inside, ~inside)):
        best = cosines.masked_fill(~part, -1.0).amax(-1)
        torch.testing.assert_close(found.similarity[0, :, column], best, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_tokens_of_a_region_attend_as_in_the_whole_frame(attention):
    shared = _frame((0, 1, 2), (PROMPTED, SECOND, NEWEST))
    own = [_frame((1,), (NEWEST,)), _frame((0, 2), (OLDER, OLDER))]
    picture, memory = _picture(3), MemoryBatch((shared, *own), _pointers(3))
    rois = [Roi(0, 2, 0, 2, GRID), None, Roi(1, 2, 1, 4, GRID)]
    whole = attention.attend_frames(picture, memory, [WHOLE] * 3)
    part = attention.attend_frames(picture, memory, rois)
    assert part[1] == []
    for o in (0, 2):
        expected = attention.read_memory(whole[o], WHOLE)
        found = attention.read_memory(part[o], rois[o])
        rows = rois[o].rows()
        for a, b in zip(_tensors(found), _tensors(expected), strict=True):
            torch.testing.assert_close(a[0, rows], b[0, rows], rtol=1e-4, atol=1e-5)
        outside = torch.ones(L, dtype=torch.bool).index_fill(0, rows, False)
        assert (found.prior[0, outside] == -1).all()
        assert (found.similarity[0, outside] == -1).all()


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


def test_an_object_without_a_remembered_place_gets_a_finite_gradient(attention):
    picture, memory = _picture(1), _memory([[PROMPTED]])
    values = memory.frames[0].values.clone()
    values[..., WIDTHS.value :] = -1.0  # nothing of it is seen
    absent = replace(memory, frames=(replace(memory.frames[0], values=values),))
    tokens, prior, similarity = _asked(attention, picture, absent)[0]
    assert similarity[:, 0].max() == -1
    (tokens.sum() + prior.sum() + similarity.sum()).backward()
    gradients = [p.grad for p in attention.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
