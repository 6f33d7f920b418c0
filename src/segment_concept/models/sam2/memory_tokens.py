"""Recalled memories as the tokens that memory attention reads."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from segment_concept.models.sam2.memory_attention import MemoryTokens
from segment_concept.models.sam2.positions import grid_sines, time_sines
from segment_concept.ops.device_values import indices, upload
from segment_concept.tracking.memory import Recall, RecalledMap, RecalledPointer


def equally_long(recalls: Sequence[Recall]) -> list[list[int]]:
    """The rows of `recalls`, grouped by the numbers of their maps and pointers."""
    groups: dict[tuple[int, int], list[int]] = {}
    for row, recall in enumerate(recalls):
        groups.setdefault((len(recall.maps), len(recall.pointers)), []).append(row)
    return list(groups.values())


def memory_tokens(
    recalls: Sequence[Recall],
    slots: Tensor,
    embed_time: Callable[[Tensor], Tensor],
    pointer_width: int,
) -> MemoryTokens:
    """Tokens of the memory maps and pointers of O objects.

    Args:
        recalls: of each object, equally long (`equally_long`), with at least one memory.
        slots: (slots, M) temporal embedding of each slot.
        embed_time: projects sines of distances (N, C) to (N, M).
        pointer_width: channels C of a pointer, a multiple of M.
    """
    parts = []
    if recalls[0].maps:
        parts.append(_maps([r for recall in recalls for r in recall.maps], slots))
    placed = parts[0][0].shape[0] * parts[0][0].shape[1] // len(recalls) if parts else 0
    if recalls[0].pointers:
        parts.append(_pointers(recalls, slots, embed_time, pointer_width))
    rows, width = len(recalls), slots.shape[1]
    keys, values = (
        torch.cat([tokens[kind].reshape(rows, -1, width) for tokens in parts], dim=1)
        for kind in (0, 1)
    )
    return MemoryTokens(keys, values, placed)


def concept_tokens(concepts: Tensor, memory_width: int) -> MemoryTokens:
    """A concept (O, C) as C / M tokens without position."""
    tokens = concepts.reshape(len(concepts), -1, memory_width)
    return MemoryTokens(tokens, tokens, placed=0)


def _maps(recalled: Sequence[RecalledMap], slots: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values (maps, h * w, M) of all objects' maps."""
    stacked_NMhw = torch.stack([r.memory.features for r in recalled]).to(slots.dtype)
    _, m, h, w = stacked_NMhw.shape
    values = stacked_NMhw.flatten(2).transpose(1, 2)
    slot = indices(tuple(r.slot for r in recalled), slots.device)
    places = grid_sines(m, h, w, slots.device, slots.dtype).flatten(2).transpose(1, 2)
    keys = values + (places + slots[slot][:, None])
    return scaled(keys, recalled), values


def _pointers(
    recalls: Sequence[Recall], slots: Tensor, embed_time: Callable[[Tensor], Tensor], width: int
) -> tuple[Tensor, Tensor]:
    """Keys and values (pointers, C / M, M): each pointer is split into tokens of M channels."""
    recalled = [r for recall in recalls for r in recall.pointers]
    values = torch.stack([r.memory.pointer for r in recalled]).to(slots.dtype)
    # the distance to a prompt grows with every frame, so these values do not recur
    distances = torch.tensor(
        [r.distance / recall.horizon for recall in recalls for r in recall.pointers]
    )
    tokens = values.reshape(len(values), -1, slots.shape[1])
    times = embed_time(time_sines(upload(distances, slots.device), width))
    return scaled(tokens + times[:, None], recalled), tokens


def scaled(keys: Tensor, recalled: Sequence[RecalledMap] | Sequence[RecalledPointer]) -> Tensor:
    """Keys (N, tokens, M), each of the N rows times its scale."""
    scales = [r.key_scale for r in recalled]
    if all(scale == 1.0 for scale in scales):
        return keys
    scale = upload(torch.tensor(scales), keys.device).to(keys.dtype)
    return keys * scale[:, None, None]
