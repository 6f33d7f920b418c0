"""SAM 2.1 as the tracker's `Segmenter`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from segment_concept.models.sam2.memory_tokens import concept_tokens, equally_long
from segment_concept.models.sam2.network import Decoded, SamNetwork
from segment_concept.models.sam2.parts import Compiled, NetworkParts
from segment_concept.models.sam2.prompts import Clicks, clicks
from segment_concept.ops.device_values import device_values, indices
from segment_concept.ops.holes import fill_holes
from segment_concept.ops.moving import move_weights
from segment_concept.ops.resize import mask_square, normalized_squares
from segment_concept.tracking.memory import Recall
from segment_concept.tracking.segmenter import Concept, Features, Proposals, SelectedMasks
from segment_concept.types import Box, Frame, InputError, Mask, Points, Prompt

MASK_SCALE, MASK_BIAS = 20.0, -10.0  # logits of a given mask: +10 inside, -10 outside
PREVIOUS_LIMIT = 32.0  # logits that a click corrects are clamped to this
STABLE_SHARE, STABLE_MARGIN = 0.98, 0.05  # SAM 2's dynamic multimask constants


@dataclass(frozen=True, slots=True, eq=False)
class Sam2Features:
    """Image features of B frames; S is the side of the network's square input."""

    quarter: Tensor  # (B, C / 8, S / 4, S / 4), projected for the mask decoder
    eighth: Tensor  # (B, C / 4, S / 8, S / 8), the same
    coarse: Tensor  # (B, C, S / 16, S / 16)


@dataclass(frozen=True, slots=True)
class Sam2Options:
    """How the weights are used.

    Args:
        stability_fallback: replace a single mask that depends strongly on its threshold by the
            best of three (`dynamic_multimask_via_stability`). It never fires while tracking.
        binary_prompts: on prompted frames masks are encoded into memory as 0 and 1 instead of
            probabilities (`binarize_mask_from_pts_for_mem_enc`).
        fill_hole_area: regions of at most so many background pixels of a prompted mask, on the
            grid of the mask decoder, become foreground; 8 in SAM 2's demos, 0 for none.
        memory_dtype: of stored memory maps; bfloat16 as published.
        compiled: how the network runs, see `parts.Compiled`.
        recompute: in training, compute the memory attention again in the backward pass and keep
            only its inputs.
    """

    stability_fallback: bool = True
    binary_prompts: bool = True
    fill_hole_area: int = 0
    memory_dtype: torch.dtype = torch.bfloat16
    compiled: Compiled = "no"
    recompute: bool = False

    @classmethod
    def benchmark(cls) -> "Sam2Options":
        """The settings of SAM 2's own benchmark script: `apply_postprocessing=False`.

        The default is the release's otherwise, without its hole filling.
        """
        return cls(stability_fallback=False, binary_prompts=False)


class Sam2Segmenter:
    """Implements `tracking.segmenter.Segmenter`; holds no state of any video."""

    def __init__(self, network: SamNetwork, options: Sam2Options | None = None) -> None:
        self.network = network
        self.options = options or Sam2Options()
        self._parts = NetworkParts(network, self.options.compiled)

    def with_options(self, options: Sam2Options) -> "Sam2Segmenter":
        """The same network with other options."""
        return Sam2Segmenter(self.network, options)

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and deepcopy: compiled functions belong to one network, and are made again."""
        return type(self), (self.network, self.options)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.network.device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""
        return self.network.dtype

    def move(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """See `tracking.placement.Movable`."""
        self._parts.clear()
        move_weights(self.network, device, dtype)

    @property
    def slots(self) -> int:
        """Number of temporal embeddings, an upper bound for a policy's slots."""
        return self.network.sizes.slots

    def encode(self, frames: Sequence[Frame]) -> Features[Sam2Features]:
        """Features of frames resized to the network's square; the aspect is not kept."""
        network = self.network
        pixels = normalized_squares(
            [frame.rgb for frame in frames], network.sizes.image_side, network.device, network.dtype
        )
        return self.encode_pixels(pixels, frames[0].size)

    def encode_pixels(self, pixels: Tensor, video_size: tuple[int, int]) -> Features[Sam2Features]:
        """Features of images (B, 3, S, S) that are already resized and normalized."""
        return Features(Sam2Features(*self._parts.encode_image(pixels)), video_size)

    def segment(
        self,
        features: Features[Sam2Features],
        prompts: Sequence[Prompt],
        previous: Sequence[Tensor | None],
        recalls: Sequence[Recall | None],
        images: Sequence[int],
    ) -> Proposals:
        """One mask per row, or three if a row is a single click; see the protocol.

        Rows with a single mask repeat it.
        """
        with_mask = [i for i, prompt in enumerate(prompts) if isinstance(prompt, Mask)]
        side = self.network.sizes.image_side
        of_clicks = {
            i: clicks(prompt, features.video_size, side)
            for i, prompt in enumerate(prompts)
            if isinstance(prompt, Box | Points)
        }
        parts: list[Proposals] = []
        order: list[int] = []
        if with_mask:
            bitmaps = [p.bitmap for p in prompts if isinstance(p, Mask)]
            masks = torch.stack([mask_square(bitmap, side) for bitmap in bitmaps])
            parts.append(self._take_masks(features, masks, [images[i] for i in with_mask]))
            order += with_mask
        for count in sorted({len(c.labels) for c in of_clicks.values()}):
            rows = [i for i, c in of_clicks.items() if len(c.labels) == count]
            coarse = self.condition(
                features,
                [recalls[i] for i in rows],
                [None] * len(rows),
                [images[i] for i in rows],
            )
            answer = self._decode_clicks(
                coarse,
                self._fine(features, [images[i] for i in rows]),
                [of_clicks[i] for i in rows],
                [None if (p := previous[i]) is None else self._filled(p) for i in rows],
            )
            parts.append(answer)
            order += rows
        whole = Proposals.cat(parts)[sorted(range(len(order)), key=order.__getitem__)]
        return replace(whole, logits=self._filled(whole.logits))

    def propose(
        self,
        features: Features[Sam2Features],
        recalls: Sequence[Recall],
        concepts: Sequence[Concept | None],
        images: Sequence[int],
    ) -> Proposals:
        """Three masks per row; see the protocol.

        Raises:
            InputError: a concept is given to weights that have no `token_attn`.
        """
        coarse = self.condition(features, recalls, concepts, images)
        fine = self._fine(features, images)
        decoded = self._parts.decode(coarse, fine, self.network.no_prompt(), several=True)
        thresholds = tuple(r.presence_threshold for r in recalls)
        least = device_values(thresholds, decoded.presence.device, torch.float32)
        return self._with_pointers(decoded, decoded.presence > least)

    def encode_memory(
        self,
        features: Features[Sam2Features],
        masks: SelectedMasks,
        images: Sequence[int],
        *,
        prompted: bool,
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """(O, M, h, w) memory maps; nothing is shared by the objects of an image."""
        side = self.network.sizes.image_side
        logits = _resize(masks.logits.float()[:, None], side)
        binary = prompted and self.options.binary_prompts
        scores = (logits > 0).float() if binary else logits.sigmoid()
        coarse = _select(features.maps.coarse, images)
        maps = self._parts.remember(coarse, scores, masks.presence > 0)
        return maps.to(self.options.memory_dtype), [None] * len(maps)

    def condition(
        self,
        features: Features[Sam2Features],
        recalls: Sequence[Recall | None],
        concepts: Sequence[Concept | None],
        images: Sequence[int],
    ) -> Tensor:
        """(O, C, h, w) coarse features, conditioned on memories and concepts.

        For an object with a concept: the mean of memory- and concept-conditioned features (SeC).
        """
        coarse = features.maps.coarse
        known = {i: r for i, r in enumerate(recalls) if r and (r.maps or r.pointers)}
        parts: list[tuple[list[int], Tensor]] = []
        new = [i for i in range(len(recalls)) if i not in known]
        if new:
            at = indices(tuple(images[i] for i in new), coarse.device)
            parts.append((new, self.network.without_memory(coarse)[at]))
        remembering = list(known)
        for group in equally_long(list(known.values())):
            rows = [remembering[i] for i in group]
            at = indices(tuple(images[i] for i in rows), coarse.device)
            parts.append((rows, self._attend_memory(coarse, [known[i] for i in rows], at)))
        conditioned = _in_order(parts)
        named = {i: c.embedding for i, c in enumerate(concepts) if c is not None}
        if named:
            at = indices(tuple(images[i] for i in named), coarse.device)
            recognized = self._attend_concepts(coarse, list(named.values()), at)
            rows_at = indices(tuple(named), coarse.device)
            both = (recognized + conditioned[rows_at]) / 2
            conditioned = conditioned.index_copy(0, rows_at, both)
        return conditioned

    def _attend_memory(self, coarse: Tensor, recalls: Sequence[Recall], at: Tensor) -> Tensor:
        """For rows whose memories are equally long."""
        tokens = self.network.memory_tokens(recalls)
        if self.options.recompute:
            attended: Tensor = checkpoint(
                self._parts.attend, coarse, tokens, at, use_reentrant=False
            )
            return attended
        return self._parts.attend(coarse, tokens, at)

    def _attend_concepts(self, coarse: Tensor, concepts: Sequence[Tensor], at: Tensor) -> Tensor:
        network = self.network
        if network.token_attn is None:
            raise InputError(
                "these weights have no `token_attn`, so no concept can be used: load SeC's, or "
                "track without a concept encoder"
            )
        stacked = torch.stack([c.to(coarse.device, network.dtype) for c in concepts])
        tokens = concept_tokens(stacked, network.sizes.memory_width)
        return self._parts.recognize(coarse, tokens, at)

    def _take_masks(
        self, features: Features[Sam2Features], masks_OSS: Tensor, images: Sequence[int]
    ) -> Proposals:
        """Return given masks as they are; the decoder only computes their pointers.

        As in the release, the pointer is that of the single-mask token, on features without
        `no_memory_embedding`.
        """
        decoded = self._decode_masks(features, masks_OSS, images)
        masks = masks_OSS[:, None].to(self.network.device)
        logits = _resize(masks * MASK_SCALE + MASK_BIAS, masks.shape[-1] // 4, antialias=True)
        given = replace(decoded, logits=logits, iou=torch.ones_like(decoded.iou))
        proposals = self._with_pointers(given, decoded.presence > 0)
        certain = torch.full_like(decoded.presence, MASK_SCALE + MASK_BIAS)
        return replace(proposals, presence=certain)

    def mask_pointers(
        self,
        features: Features[Sam2Features],
        masks_OSS: Tensor,
        visible: Tensor,
        images: Sequence[int],
    ) -> Tensor:
        """(O, C) pointers of given masks; that of no object where `visible` (O,) is False.

        So it is where the decoder judges an object to be absent. Training uses this.
        """
        decoded = self._decode_masks(features, masks_OSS, images)
        return self.network.point(decoded.tokens, (decoded.presence > 0) & visible)[:, 0]

    def _decode_masks(
        self, features: Features[Sam2Features], masks_OSS: Tensor, images: Sequence[int]
    ) -> Decoded:
        """The decoder's output for masks as prompts, on features without `no_memory_embedding`."""
        network = self.network
        masks = masks_OSS[:, None].to(network.device)
        sparse, _ = network.no_prompt()
        _, dense = network.embed_no_points(
            len(masks), network.mask_downsample(masks.to(network.dtype))
        )
        coarse = features.maps.coarse[indices(tuple(images), network.device)]
        return network.decode(coarse, self._fine(features, images), (sparse, dense), several=False)

    def _decode_clicks(
        self,
        coarse: Tensor,
        fine: tuple[Tensor, Tensor],
        given: Sequence[Clicks],
        previous: Sequence[Tensor | None],
    ) -> Proposals:
        """Segment O prompts with the same number of points each."""
        network = self.network
        xy = torch.tensor([c.xy for c in given], device=network.device)
        labels = torch.tensor([c.labels for c in given], device=network.device)
        sparse, dense = network.embed_prompts(xy, labels, None)
        corrected = {i: p for i, p in enumerate(previous) if p is not None}
        if corrected:
            rows = torch.tensor(list(corrected), device=network.device)
            logits = torch.stack(list(corrected.values()))[:, None].to(network.device)
            logits = logits.clamp(-PREVIOUS_LIMIT, PREVIOUS_LIMIT)
            _, embedded = network.embed_prompts(xy[rows], labels[rows], logits)
            dense = dense.expand(len(given), -1, -1, -1).index_copy(0, rows, embedded)
        ambiguous = given[0].ambiguous
        decoded = network.decode(coarse, fine, (sparse, dense), several=ambiguous)
        if not ambiguous and self.options.stability_fallback:
            several = network.decode(coarse, fine, (sparse, dense), several=True)
            decoded = fall_back_to_stable(decoded, several)
        return self._with_pointers(decoded, decoded.presence > 0)

    def _filled(self, logits: Tensor) -> Tensor:
        return fill_holes(logits, self.options.fill_hole_area)

    def _with_pointers(self, decoded: Decoded, visible: Tensor) -> Proposals:
        pointers = self.network.point(decoded.tokens, visible)
        return Proposals(decoded.logits, decoded.iou, pointers, decoded.presence)

    def _fine(
        self, features: Features[Sam2Features], images: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        return _select(features.maps.quarter, images), _select(features.maps.eighth, images)


def _select(level: Tensor, images: Sequence[int]) -> Tensor:
    """(O, ...) features of each row's image; (1, ...), not copied, if all share one."""
    if len(set(images)) == 1:
        return level[images[0] : images[0] + 1]
    return level[indices(tuple(images), level.device)]


def _in_order(parts: Sequence[tuple[Sequence[int], Tensor]]) -> Tensor:
    """The rows of all parts, each given with the places of its rows, in the order of the places."""
    places = [place for rows, _ in parts for place in rows]
    together = parts[0][1] if len(parts) == 1 else torch.cat([rows for _, rows in parts])
    if places == sorted(places):
        return together
    order = sorted(range(len(places)), key=places.__getitem__)
    return together[indices(tuple(order), together.device)]


def _resize(images: Tensor, side: int, *, antialias: bool = False) -> Tensor:
    return F.interpolate(images, (side, side), mode="bilinear", antialias=antialias)


def fall_back_to_stable(single: Decoded, several: Decoded) -> Decoded:
    """Replace single masks that are not stable by the best of three; pointers' tokens stay."""
    flat = single.logits.flatten(1)
    inner = (flat > STABLE_MARGIN).sum(dim=1)
    outer = (flat > -STABLE_MARGIN).sum(dim=1)
    stable_O = torch.where(outer > 0, inner / outer, 1.0) >= STABLE_SHARE
    best_O1 = several.iou.argmax(dim=1, keepdim=True)
    best_logits = torch.take_along_dim(several.logits, best_O1[..., None, None], dim=1)
    best_iou = torch.take_along_dim(several.iou, best_O1, dim=1)
    return replace(
        single,
        logits=torch.where(stable_O[:, None, None, None], single.logits, best_logits),
        iou=torch.where(stable_O[:, None], single.iou, best_iou),
    )
