"""Memories of true masks, for frames of a training clip that are not predicted."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.models.sam2.network import SamNetwork
from segment_concept.models.sam2.segmenter import (
    MASK_BIAS,
    MASK_SCALE,
    Sam2Features,
    Sam2Options,
    Sam2Segmenter,
)
from segment_concept.tracking.memory import Memory, PlaybackPosition, Track
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.segmenter import Features, SelectedMasks

_GRID = 4  # pixels of the network's input per pixel of the mask decoder's grid


@dataclass(frozen=True, slots=True, eq=False)
class TrainingModel:
    """A segmenter whose memories keep gradients, with the policy of a training."""

    segmenter: Sam2Segmenter
    policy: MemoryPolicy


def training_segmenter(network: SamNetwork, *, recompute: bool = False) -> Sam2Segmenter:
    """With memories as SAM 2's trainer makes them: in float32, of masks as they are."""
    options = Sam2Options(memory_dtype=torch.float32, binary_prompts=False, recompute=recompute)
    return Sam2Segmenter(network, options)


def tell(
    model: TrainingModel,
    features: Features[Sam2Features],
    position: PlaybackPosition,
    masks: Tensor,
    objects: Sequence[tuple[Track, ...]],
    images: Sequence[int],
) -> list[tuple[Track, ...]]:
    """Remember true masks: as prompted frames of new objects, else as if they had been tracked.

    Nothing is predicted, no memory is recalled. As in SAM 2's trainer the memory is encoded from
    the mask at full size, and an empty mask is remembered as an absent object.

    Args:
        model: network and policy.
        features: B encoded frames; object i is in frame `images[i]`.
        position: index of the frame.
        masks: (O, S, S) bool, at the size of the network's input.
        objects: the hypothesis about each object; empty for a new one.
        images: for each object a row of `features`.
    """
    segmenter = model.segmenter
    visible = masks.flatten(1).any(1)
    logits = masks.float() * MASK_SCALE + MASK_BIAS
    presence = torch.where(visible, MASK_SCALE + MASK_BIAS, MASK_BIAS)
    pointers = segmenter.mask_pointers(features, masks.float(), visible, images)
    given = SelectedMasks(logits, presence, pointers)
    maps, shared = segmenter.encode_memory(features, given, images, prompted=not objects[0])
    coarse = F.avg_pool2d(logits[:, None], _GRID)[:, 0]
    told: list[tuple[Track, ...]] = []
    for o, tracks in enumerate(objects):
        memory = Memory(
            frame_index=position.frame_index,
            features=maps[o],
            pointer=pointers[o],
            iou=1.0,
            presence=float(presence[o]),
            logits=coarse[o],
            image=shared[o],
        )
        if tracks:
            bank = model.policy.forget(tracks[0].bank.remember(memory), position)
        else:
            bank = Track().bank.prompt(memory)
        told.append((Track(bank),))
    return told
