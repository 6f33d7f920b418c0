"""EdgeTAM's condensed memories as the tokens that memory attention reads.

A memory of one frame is N + S * S tokens: N that read the whole memory map, without position, and
S x S that read a window of it each, on a grid of their own (Zhou et al. 2025, arXiv 2501.07256).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from segment_concept.models.edgetam.sizes import EdgeTamSizes
from segment_concept.models.sam2.memory_attention import MemoryTokens
from segment_concept.models.sam2.memory_tokens import scaled
from segment_concept.models.sam2.positions import grid_rotation, grid_sines
from segment_concept.ops.device_values import indices
from segment_concept.tracking.memory import Recall


def condensed_memory_tokens(
    recalls: Sequence[Recall], slots: Tensor, sizes: EdgeTamSizes
) -> MemoryTokens:
    """Tokens of the memories and pointers of O objects.

    Tokens with a grid come first, in whole grids; then those of whole maps and of pointers.

    Args:
        recalls: of each object, equally long (`equally_long`), with at least one memory.
        slots: (slots, M) temporal embedding of each slot.
        sizes: of the network.
    """
    rows, side, width = len(recalls), sizes.side, slots.shape[1]
    tokens = [slots.new_zeros(2, rows, 0, width)]  # keys and values
    placed = 0
    if recalls[0].maps:
        whole, windows = _maps(recalls, slots, sizes)
        tokens += [windows.view(2, rows, -1, width), whole.view(2, rows, -1, width)]
        placed = tokens[1].shape[2]
    if recalls[0].pointers:
        tokens.append(_pointers(recalls, slots).view(2, rows, -1, width))
    keys, values = torch.cat(tokens, dim=2)
    rotation = grid_rotation(side, side, sizes.width, slots.device)
    return MemoryTokens(keys, values, placed, rotation)


def _maps(recalls: Sequence[Recall], slots: Tensor, sizes: EdgeTamSizes) -> tuple[Tensor, Tensor]:
    """Keys and values of the tokens of whole maps and of windows, each (2, memories, N, M)."""
    recalled = [r for recall in recalls for r in recall.maps]
    values = torch.stack([r.memory.features for r in recalled]).to(slots.dtype)
    side, width = sizes.side, slots.shape[1]
    sines = grid_sines(width, side, side, slots.device, slots.dtype).flatten(2).transpose(1, 2)
    places = torch.cat([sines.new_zeros(1, sizes.latents, width), sines], dim=1)
    times = slots[indices(tuple(r.slot for r in recalled), slots.device)]
    keys = scaled(values + (places + times[:, None]), recalled)
    both = torch.stack([keys, values])
    return both[:, :, : sizes.latents].contiguous(), both[:, :, sizes.latents :].contiguous()


def _pointers(recalls: Sequence[Recall], slots: Tensor) -> Tensor:
    """(2, pointers, C / M, M) keys and values: pointers have no position."""
    recalled = [r for recall in recalls for r in recall.pointers]
    values = torch.stack([r.memory.pointer for r in recalled]).to(slots.dtype)
    tokens = values.reshape(len(values), -1, slots.shape[1])
    return torch.stack([scaled(tokens, recalled), tokens])
