"""Give a network another number of temporal embeddings."""

from dataclasses import replace

import torch.nn.functional as F
from torch import nn

from segment_concept.models.sam2.network import SamNetwork


def stretch_slots(network: SamNetwork, slots: int) -> None:
    """Interpolate temporal embeddings linearly along time, in place; the first and last are kept.

    SeC makes the 22 of its stage 1 from the 7 of SAM 2.1 in this way.
    """
    old = network.memory_temporal_positional_encoding
    if len(old) == slots:
        return
    along = old.detach().flatten(1).T[None].float()
    stretched = F.interpolate(along, slots, mode="linear", align_corners=True)[0].T
    shaped = stretched.reshape(slots, *old.shape[1:]).to(old.dtype)
    network.memory_temporal_positional_encoding = nn.Parameter(
        shaped.contiguous(), requires_grad=old.requires_grad
    )
    network.sizes = replace(network.sizes, slots=slots)
