"""The compact network as a `Segmenter`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.backbone import Backbone
from segment_concept.models.compact.backbone_onednn import fused, plain
from segment_concept.models.compact.mask_decoder import CERTAIN, MASKS
from segment_concept.models.compact.memory_batch import (
    batch_memory,
    look_near,
    map_entries,
    same_frame,
)
from segment_concept.models.compact.neck import CompactFeatures, Widths
from segment_concept.models.compact.network import CompactNetwork
from segment_concept.models.compact.prompts import mask_area, mask_maps, prompt_maps
from segment_concept.models.compact.roi import whole_frame
from segment_concept.models.compact.verifier import FEATURES, Verifier, VerifierInput
from segment_concept.ops.holes import lower_islands
from segment_concept.ops.moving import move_float32
from segment_concept.runtime.processor import fast_dtype
from segment_concept.tracking.memory import Recall
from segment_concept.tracking.segmenter import Concept, Features, Proposals, SelectedMasks
from segment_concept.types import Box, Frame, Mask, Points, Prompt

STRIDE = 32  # of the backbone's coarsest level: sides of the network's input are multiples of it
# Regions below this share of their mask are not taken for parts of the object (docs/LOG.md).
ISLANDS, ISLAND_LOGIT = 0.03, -1.0
_LONGEST = 4  # longest aspect ratio with the full short side


def input_size(video_size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(h, w) of the network's input: multiples of 32 that nearly keep the video's aspect.

    Videos longer than 4:1 are scaled down as a whole, so that no input has many more pixels than
    that of 4:1. Beyond about 64:1 the aspect is not kept.
    """
    ratio = max(video_size) / min(video_size)
    scale = short_side / min(video_size) * min(1.0, math.sqrt(_LONGEST / ratio))
    short = max(2, round(min(video_size) * scale / STRIDE))
    most = max(2, round(_LONGEST * short_side**2 / STRIDE**2 / short))
    h, w = (max(2, min(most, round(side * scale / STRIDE))) * STRIDE for side in video_size)
    return h, w


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedProposals:
    """Proposals, and the verifier's inputs for the R objects with a concept."""

    proposals: Proposals
    masks: Tensor  # (R, h4, w4) logits of the verified mask of each
    features: Tensor  # (R, FEATURES), see `Verifier.features`


class CompactSegmenter(nn.Module):
    """Backbone and network behind the tracker's `Segmenter` protocol.

    Args:
        trunk: the frozen backbone.
        network: everything after it.
        verifier: decides about presence where there is a concept, if the model has one.
        short_side: pixels of the shorter side of the network's input; the aspect is kept.
        mask_bias: added to the mask logits of tracked frames; 0 leaves them as they are. It
            corrects masks that are too small. Memory, pointers and verification use the logits
            without it, and so do prompted frames.
    """

    def __init__(
        self,
        trunk: Backbone | None = None,
        network: CompactNetwork | None = None,
        verifier: Verifier | None = None,
        *,
        short_side: int = 256,
        mask_bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.trunk = trunk or Backbone()
        self.network = network or CompactNetwork()
        self.verifier = verifier
        self.short_side = short_side
        self.mask_bias = mask_bias

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.trunk.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""
        return next(self.trunk.parameters()).dtype

    def move(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """See `tracking.placement.Movable`.

        Where float32 is asked for, the backbone, too, computes in it.

        Raises:
            InputError: another number type than float32.
        """
        trunk = plain(self.trunk)
        self.trunk = trunk
        move_float32(self, device, dtype, "the compact model")
        self.trunk = fused(trunk, dtype or fast_dtype())

    @property
    def widths(self) -> Widths:
        """Channel counts of the network."""
        return self.network.widths

    def encode(self, frames: Sequence[Frame]) -> Features[CompactFeatures]:
        """Compute image features of B frames of one size."""
        pixels = torch.from_numpy(np.stack([frame.rgb for frame in frames])).permute(0, 3, 1, 2)
        parameter = next(self.trunk.parameters())
        size = input_size(frames[0].size, self.short_side)
        # Resized before the transfer to the device: CUDA cannot resize bytes.
        small = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
        small = small.to(parameter.device, parameter.dtype)
        levels = self.trunk(small.contiguous(memory_format=torch.channels_last))
        return self.encode_levels(levels, frames[0].size)

    def encode_levels(
        self, levels: Sequence[Tensor], video_size: tuple[int, int]
    ) -> Features[CompactFeatures]:
        """Image features from backbone levels; training stores and reuses these."""
        return Features(self.network.neck(levels), video_size)

    def segment(
        self,
        features: Features[CompactFeatures],
        prompts: Sequence[Prompt],
        previous: Sequence[Tensor | None],
        recalls: Sequence[Recall | None],
        images: Sequence[int],
    ) -> Proposals:
        """Segment prompted objects. A given mask is returned as it is."""
        of_objects = features.maps.of_objects(images)
        masks = {i: p for i, p in enumerate(prompts) if isinstance(p, Mask)}
        hints = {
            i: prompt_maps(p, previous[i], features.video_size, of_objects.quarter)
            for i, p in enumerate(prompts)
            if isinstance(p, Box | Points)
        }
        parts, order = [], [*masks, *hints]
        if masks:
            parts.append(self._take_masks(_select(of_objects, [*masks]), [*masks.values()]))
        if hints:
            known = [recalls[i] or Recall() for i in hints]
            where = [images[i] for i in hints]
            of_hinted = _select(of_objects, [*hints])
            # A click says nothing about how far the object extends.
            clicks = [n for n, i in enumerate(hints) if _has_no_box(prompts[i])]
            maps = torch.stack([*hints.values()])
            parts.append(self._decode_hints(of_hinted, maps, known, where, clicks))
        return Proposals.cat(parts)[sorted(range(len(order)), key=order.__getitem__)]

    def propose(
        self,
        features: Features[CompactFeatures],
        recalls: Sequence[Recall],
        concepts: Sequence[Concept | None],
        images: Sequence[int],
    ) -> Proposals:
        """Segment tracked objects; see the protocol."""
        return self.propose_verified(features, recalls, concepts, images).proposals

    def propose_verified(
        self,
        features: Features[CompactFeatures],
        recalls: Sequence[Recall],
        concepts: Sequence[Concept | None],
        images: Sequence[int],
    ) -> VerifiedProposals:
        """As `propose`, with the inputs of verification, to which it can be fitted."""
        of_objects = features.maps.of_objects(images)
        entries = [map_entries(recall) for recall in recalls]
        memory = batch_memory(entries, recalls, images, self.widths.pointer)
        alternatives = any(recall.alternatives for recall in recalls)
        grid = of_objects.grid
        near = [  # a question about a concept is one about the whole frame
            look_near(recall, grid) if concept is None else whole_frame(grid)
            for recall, concept in zip(recalls, concepts, strict=True)
        ]
        scores = memory.pointers.classify(of_objects)
        proposals = self.network.propose(
            of_objects, memory, scores, alternatives=alternatives, near=near
        )
        presence = proposals.presence
        rows = [i for i, concept in enumerate(concepts) if concept is not None]
        masks, verified = presence.new_zeros(0, 1, 1), presence.new_zeros(0, FEATURES)
        if rows and self.verifier is not None:
            index = torch.tensor(rows, device=presence.device)
            known = [concept for concept in concepts if concept is not None]
            raw = _select(of_objects, rows).descriptor
            given = VerifierInput.of(raw, of_objects.grid, proposals[index], known)
            masks, verified = given.masks, self.verifier.features(given)
            presence = presence.index_put((index,), self.verifier(verified))
        thresholds = torch.tensor([r.presence_threshold for r in recalls], device=presence.device)
        pointers = self.network.decoder.hide_absent(proposals.pointers, presence > thresholds)
        logits = proposals.logits + self.mask_bias  # after verification, which reads its own
        if not self.training:  # what is lowered has no gradient
            higher = scores.amax(1, keepdim=True)
            looks = F.interpolate(higher, size=logits.shape[-2:], mode="bilinear")
            logits = lower_islands(logits, ISLANDS, ISLAND_LOGIT, looks)
        proposals = replace(proposals, logits=logits, pointers=pointers, presence=presence)
        return VerifiedProposals(proposals, masks, verified)

    def encode_memory(
        self,
        features: Features[CompactFeatures],
        masks: SelectedMasks,
        images: Sequence[int],
        *,
        prompted: bool,
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Memory values (O, L, value + CELLS), and the keys (L, 2 * match) of each image."""
        visible = (masks.presence > 0).to(masks.logits.dtype)
        own = masks.logits.detach() - (0.0 if prompted else self.mask_bias)
        hints = mask_maps(own.sigmoid())
        values = self.network.memory_encoder(features.maps.of_objects(images), hints, visible)
        return values, [features.maps.keys[i] for i in images]

    def _take_masks(self, features: CompactFeatures, prompts: Sequence[Mask]) -> Proposals:
        """Given masks as proposals: the score of a cell is the share of it that a mask covers."""
        like = features.quarter
        area = torch.stack([mask_area(p.bitmap, like.shape[-2:], like) for p in prompts])
        edge = torch.sigmoid(torch.tensor(-CERTAIN)).item()
        masks = area[:, None].expand(-1, MASKS, -1, -1)
        pointers = self.network.decoder.describe(features, area[:, None])
        return Proposals(
            logits=masks.clamp(edge, 1 - edge).logit(),
            iou=like.new_ones(len(area), MASKS),
            pointers=pointers.expand(-1, MASKS, -1),
            presence=like.new_full((len(area),), CERTAIN),
        )

    def _decode_hints(
        self,
        features: CompactFeatures,
        hints: Tensor,
        recalls: Sequence[Recall],
        images: Sequence[int],
        clicks: Sequence[int],
    ) -> Proposals:
        """Segment boxes and clicks: each is a memory of this same frame, with a rough mask.

        Args:
            features: one row per prompt.
            hints: (O, PROMPT_CHANNELS, h4, w4).
            recalls: further memories of each object.
            images: row of the features of each object.
            clicks: the prompts whose object may be anywhere in the frame.
        """
        certain = hints.new_ones(len(hints))
        values = self.network.memory_encoder(features, hints, certain)
        entries = [
            [*map_entries(recall), same_frame(value, keys)]
            for recall, value, keys in zip(recalls, values, features.keys, strict=True)
        ]
        memory = batch_memory(entries, recalls, images, self.widths.pointer)
        # In training the best of several is taught. Here a click means the whole object: the mask
        # of a part often has the highest predicted IoU (docs/LOG.md).
        scores = memory.pointers.classify(features)
        proposals = self.network.propose(
            features, memory, scores, clicks, alternatives=self.training
        )
        return replace(proposals, presence=certain * CERTAIN)


def _has_no_box(prompt: Prompt) -> bool:
    return isinstance(prompt, Points) and prompt.box is None


def _select(features: CompactFeatures, rows: Sequence[int]) -> CompactFeatures:
    """Some rows, without a copy if they are all rows."""
    if len(rows) == len(features):
        return features
    return features[torch.tensor(rows, device=features.tokens.device)]
