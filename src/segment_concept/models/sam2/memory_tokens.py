"""Recalled memories as the tokens that memory attention reads."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from segment_concept.models.sam2.memory_attention import MemoryTokens
from segment_concept.models.sam2.positions import grid_sines, time_sines
from segment_concept.tracking.memory import Recall


def memory_tokens(
    recalls: Sequence[Recall],
    slots: Tensor,
    embed_time: Callable[[Tensor], Tensor],
    pointer_width: int,
) -> MemoryTokens:
    """Tokens of the memory maps and pointers of O objects, padded to the longest memory.

    Args:
        recalls: of each object, with at least one memory.
        slots: (slots, M) temporal embedding of each slot.
        embed_time: projects sines of distances (N, C) to (N, M).
        pointer_width: channels C of a pointer, a multiple of M.
    """
    maps = [_maps(recall, slots) for recall in recalls]
    pointers = [_pointers(recall, slots, embed_time, pointer_width) for recall in recalls]
    keys = torch.cat([_pad([k for k, _ in maps]), _pad([k for k, _ in pointers])], dim=1)
    values = torch.cat([_pad([v for _, v in maps]), _pad([v for _, v in pointers])], dim=1)
    placed = max(len(k) for k, _ in maps)
    real = [_real([k for k, _ in part], slots.device) for part in (maps, pointers)]
    mask = torch.cat(real, dim=1)
    same = len({(len(m[0]), len(p[0])) for m, p in zip(maps, pointers, strict=True)}) == 1
    return MemoryTokens(keys, values, placed, None if same else mask)


def concept_tokens(concepts: Tensor, memory_width: int) -> MemoryTokens:
    """A concept (O, C) as C / M tokens without position."""
    tokens = concepts.reshape(len(concepts), -1, memory_width)
    return MemoryTokens(tokens, tokens, placed=0)


def _maps(recall: Recall, slots: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values (maps * h * w, M)."""
    if not recall.maps:
        return slots[:0], slots[:0]
    stacked_NMhw = torch.stack([r.memory.features for r in recall.maps]).to(slots.dtype)
    n, m, h, w = stacked_NMhw.shape
    values = stacked_NMhw.flatten(2).transpose(1, 2)
    slot = torch.tensor([r.slot for r in recall.maps], device=slots.device)
    places = grid_sines(m, h, w, slots.device).to(slots.dtype).flatten(2).transpose(1, 2)
    keys = values + (places + slots[slot][:, None])
    if any(r.key_scale != 1.0 for r in recall.maps):
        scale = torch.tensor([r.key_scale for r in recall.maps], device=slots.device)
        keys = keys * scale.to(slots.dtype)[:, None, None]
    return keys.reshape(n * h * w, m), values.reshape(n * h * w, m)


def _pointers(
    recall: Recall, slots: Tensor, embed_time: Callable[[Tensor], Tensor], width: int
) -> tuple[Tensor, Tensor]:
    """Keys and values (pointers * C / M, M): each pointer is split into tokens of M channels."""
    if not recall.pointers:
        return slots[:0], slots[:0]
    values = torch.stack([r.memory.pointer for r in recall.pointers]).to(slots.dtype)
    distances = torch.tensor(
        [r.distance / recall.horizon for r in recall.pointers], device=slots.device
    )
    tokens = values.reshape(len(values), -1, slots.shape[1])
    keys = tokens + embed_time(time_sines(distances, width))[:, None]
    if any(r.key_scale != 1.0 for r in recall.pointers):
        scale = torch.tensor([r.key_scale for r in recall.pointers], device=slots.device)
        keys = keys * scale.to(slots.dtype)[:, None, None]
    return keys.flatten(0, 1), tokens.flatten(0, 1)


def _pad(rows: Sequence[Tensor]) -> Tensor:
    return pad_sequence(list(rows), batch_first=True)


def _real(rows: Sequence[Tensor], device: torch.device) -> Tensor:
    """(O, N) bool: False for padding."""
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return torch.arange(max(len(row) for row in rows), device=device) < lengths[:, None]
