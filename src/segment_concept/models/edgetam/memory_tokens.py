"""EdgeTAM's condensed memories as the tokens that memory attention reads.

A memory of one frame is N + S * S tokens: N that read the whole memory map, without position, and
S x S that read a window of it each, on a grid of their own (Zhou et al. 2025, arXiv 2501.07256).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from segment_concept.models.edgetam.sizes import EdgeTamSizes
from segment_concept.models.sam2.memory_attention import MemoryTokens
from segment_concept.models.sam2.positions import grid_rotation, grid_sines
from segment_concept.tracking.memory import Recall, RecalledMap, RecalledPointer

Tokens = tuple[Tensor, Tensor]  # keys and values (N, M)


def condensed_memory_tokens(
    recalls: Sequence[Recall], slots: Tensor, sizes: EdgeTamSizes
) -> MemoryTokens:
    """Tokens of the memories and pointers of O objects, padded to the longest memory.

    Tokens with a grid come first, in whole grids; then those of whole maps and of pointers.

    Args:
        recalls: of each object, with at least one memory.
        slots: (slots, M) temporal embedding of each slot.
        sizes: of the network.
    """
    side = sizes.side
    sines = grid_sines(slots.shape[1], side, side, slots.device).to(slots.dtype)
    places = sines[0].flatten(1).T
    parts = [
        (
            _maps(r.maps, slots, slice(sizes.latents, None), places),
            _joined(
                [
                    _maps(r.maps, slots, slice(sizes.latents), places.new_zeros(())),
                    _pointers(r.pointers, slots),
                ]
            ),
        )
        for r in recalls
    ]
    keys, values, real = zip(*(_padded([part[i] for part in parts]) for i in (0, 1)), strict=True)
    lengths = {tuple(len(keys) for keys, _ in part) for part in parts}
    return MemoryTokens(
        torch.cat(keys, dim=1),
        torch.cat(values, dim=1),
        placed=keys[0].shape[1],
        real=None if len(lengths) == 1 else torch.cat(real, dim=1),
        rotation=grid_rotation(side, side, sizes.width, slots.device),
    )


def _maps(maps: Sequence[RecalledMap], slots: Tensor, rows: slice, places: Tensor) -> Tokens:
    """Some of the tokens of each memory, with the embedding of its slot and their places added."""
    if not maps:
        return slots[:0], slots[:0]
    values = torch.stack([m.memory.features[rows] for m in maps]).to(slots.dtype)
    times = torch.stack([slots[m.slot] for m in maps])
    keys = values + (places + times[:, None])
    return _scaled(keys, [m.key_scale for m in maps]), values.flatten(0, 1)


def _pointers(pointers: Sequence[RecalledPointer], slots: Tensor) -> Tokens:
    """Each pointer as C / M tokens, without any position."""
    if not pointers:
        return slots[:0], slots[:0]
    values = torch.stack([p.memory.pointer for p in pointers]).to(slots.dtype)
    tokens = values.reshape(len(values), -1, slots.shape[1])
    return _scaled(tokens, [p.key_scale for p in pointers]), tokens.flatten(0, 1)


def _scaled(keys: Tensor, scales: Sequence[float]) -> Tensor:
    """(n * k, M): keys (n, k, M), each of the n scaled by its factor."""
    if any(scale != 1.0 for scale in scales):
        keys = torch.stack([key * scale for key, scale in zip(keys, scales, strict=True)])
    return keys.flatten(0, 1)


def _joined(parts: Sequence[Tokens]) -> Tokens:
    return torch.cat([keys for keys, _ in parts]), torch.cat([values for _, values in parts])


def _padded(rows: Sequence[Tokens]) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and values (O, N, M), and (O, N) bool, False for padding."""
    keys, values = (pad_sequence([row[i] for row in rows], batch_first=True) for i in (0, 1))
    real = pad_sequence([row[0].new_ones(len(row[0])) for row in rows], batch_first=True)
    return keys, values, real > 0
