"""The compact network as a `Segmenter`."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.concept import ConceptPath
from segment_concept.models.compact.decoder import CERTAIN, MASKS
from segment_concept.models.compact.memory import PROMPT_CHANNELS
from segment_concept.models.compact.network import CompactNetwork
from segment_concept.models.compact.picture import Picture, Widths
from segment_concept.models.compact.recalled import entries_of, remembered, same_frame
from segment_concept.models.compact.trunk import Trunk
from segment_concept.tracking.memory import Recall
from segment_concept.tracking.segmenter import Features, Proposals, Segmented
from segment_concept.types import Bitmap, Box, Frame, Mask, Points, Prompt

STRIDE = 32  # of the trunk's coarsest level: the network's input is a multiple of it
CLICK_RADIUS = 2.5  # of a click's disc, in pixels of the decoder's grid
# How often a click is answered, each time with the mask of before: a disc says little of an object.
# On held-out frames J is 65, 70, 74, 76 with 1, 2, 4 and 8; boxes lose by it (docs/LOG.md).
_LOOKS = 8
_CLOSER = 1.5  # of a box: what is looked at again, closer (J of held-out boxes: 79.1 to 81.0)
_CLOSEST = 0.15  # of the frame's sides; a smaller piece has too few pixels
_DOUBT = 0.01  # that remains about every cell after both looks


def input_size(video_size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(h, w) of the network's input: multiples of 32 with the video's aspect, about kept."""
    scale = short_side / min(video_size)
    h, w = (max(2, round(side * scale / STRIDE)) * STRIDE for side in video_size)
    return h, w


class CompactSegmenter(nn.Module):
    """Trunk and network under the tracker's protocol.

    Args:
        trunk: the frozen image trunk.
        network: everything behind it.
        concept: the concept path, where the model has one.
        short_side: pixels of the shorter side of the network's input; the aspect is kept.
        mask_bias: added to the mask logits of tracked frames where they leave the network, whose
            memory, pointers and concept go on with its own logits. It calibrates masks that come
            out too small; a prompted frame is what its prompt makes of it.
    """

    def __init__(
        self,
        trunk: Trunk | None = None,
        network: CompactNetwork | None = None,
        concept: ConceptPath | None = None,
        *,
        short_side: int = 256,
        mask_bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.trunk = trunk or Trunk()
        self.network = network or CompactNetwork()
        self.concept = concept
        self.short_side = short_side
        self.mask_bias = mask_bias

    @property
    def widths(self) -> Widths:
        return self.network.widths

    @property
    def on_cpu(self) -> bool:
        """There, objects are worked on side by side (`ops.side_by_side`), elsewhere at once."""
        return next(self.trunk.parameters()).device.type == "cpu"

    def encode(self, frames: Sequence[Frame]) -> Features:
        pixels = torch.from_numpy(np.stack([frame.rgb for frame in frames])).permute(0, 3, 1, 2)
        parameter = next(self.trunk.parameters())
        size = input_size(frames[0].size, self.short_side)
        # Where the frame is: CUDA cannot do it with bytes.
        small = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
        small = small.to(parameter.device, parameter.dtype)
        levels = self.trunk(small.contiguous(memory_format=torch.channels_last))
        return replace(self.describe(levels, frames[0].size), frames=tuple(frames))

    def describe(self, trunk_levels: Sequence[Tensor], video_size: tuple[int, int]) -> Features:
        """The features of images whose trunk levels are known (training keeps and replays them)."""
        return Features(self.network.neck(trunk_levels).levels(), video_size)

    def segment(
        self,
        features: Features,
        prompts: Sequence[Prompt],
        previous: Sequence[Tensor | None],
        recalls: Sequence[Recall | None],
        images: Sequence[int],
    ) -> Proposals:
        picture = _picture(features, images)
        masks = [i for i, p in enumerate(prompts) if isinstance(p, Mask)]
        rest = [i for i in range(len(prompts)) if i not in masks]
        parts: dict[int, Proposals] = {}
        if masks:
            given = [prompts[i] for i in masks]
            parts |= _rows(masks, self._take_masks(features, picture, given, masks))
        if rest:
            asked = picture, prompts, recalls, images
            parts |= _rows(rest, self._take_hints(features, rest, previous, *asked))
            clicked = [i for i in rest if _clicks_alone(prompts[i]) and previous[i] is None]
            for _ in range(0 if self.training or not clicked else _LOOKS - 1):
                seen = {i: _best(parts[i]) for i in clicked}
                rough = [seen.get(i) for i in range(len(prompts))]
                parts |= _rows(clicked, self._take_hints(features, clicked, rough, *asked))
            if features.frames and not self.training:
                for i, prompt in enumerate(prompts):
                    if isinstance(prompt, Box) and previous[i] is None:
                        parts[i] = self._closer(parts[i], features.frames[images[i]], prompt)
        return _join([parts[i] for i in range(len(prompts))])

    def propose(
        self,
        features: Features,
        recalls: Sequence[Recall],
        concepts: Sequence[Tensor | None],
        images: Sequence[int],
    ) -> Proposals:
        picture = _picture(features, images)
        memory = remembered([entries_of(r) for r in recalls], recalls, images, self.widths.pointer)
        inform = None
        if any(concept is not None for concept in concepts):
            inform = partial(self._inform, concepts)
        logits, iou, pointers, presence = self.network.propose(picture, memory, inform)
        presence = self._judged(concepts, picture, logits, iou, presence)
        above = torch.tensor([r.visible_above for r in recalls], device=presence.device)
        pointers = self.network.decoder.conceal(pointers, presence > above)
        return Proposals(logits + self.mask_bias, iou, pointers, presence)

    def memorize(
        self, features: Features, believed: Segmented, images: Sequence[int], *, prompted: bool
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        picture = _picture(features, images)
        visible = (believed.presence > 0).to(believed.logits.dtype)
        own = believed.logits.detach() - (0.0 if prompted else self.mask_bias)
        hints = _mask_hints(own.sigmoid())
        values = self.network.memory_encoder(picture, hints, visible)
        keys = features.levels[4]
        return values, [keys[i] for i in images]

    def _inform(
        self, concepts: Sequence[Tensor | None], o: int, picture: Picture, tokens: Tensor
    ) -> Tensor | None:
        """Memory's tokens of an object, with its concept if it has one."""
        concept = concepts[o]
        if concept is None:
            return None
        assert self.concept is not None, "concepts come from the model's own encoder"
        return self.concept.inject(picture, tokens, concept[None])

    def _judged(
        self,
        concepts: Sequence[Tensor | None],
        picture: Picture,
        logits: Tensor,
        iou: Tensor,
        presence: Tensor,
    ) -> Tensor:
        """(O,) presence, with what concepts make of it where there are any."""
        known = _known(concepts)
        if not known or self.concept is None:
            return presence
        rows = list(known)
        index = torch.tensor(rows, device=presence.device)
        formed = torch.stack(list(known.values()))
        proposed = logits[index], iou[index], presence[index]
        says = self.concept.present(_some(picture, rows), *proposed, formed)
        return presence.index_put((index,), says)

    def _take_masks(
        self, features: Features, picture: Picture, prompts: Sequence[Prompt], rows: Sequence[int]
    ) -> Proposals:
        """A given mask is its own answer; its area on every cell is kept as a probability."""
        size = picture.quarter.shape[-2:]
        like = picture.tokens
        area = torch.stack([_shrink(p.bitmap, size, like) for p in prompts if isinstance(p, Mask)])
        edge = torch.sigmoid(torch.tensor(-CERTAIN)).item()
        masks = area[:, None].expand(-1, MASKS, -1, -1)
        certain = torch.full((len(area),), CERTAIN, device=like.device, dtype=like.dtype)
        return Proposals(
            logits=masks.clamp(edge, 1 - edge).logit(),
            iou=torch.ones(len(area), MASKS, device=like.device, dtype=like.dtype),
            pointers=self.network.decoder.describe(_some(picture, rows), masks),
            presence=certain,
        )

    def _take_hints(
        self,
        features: Features,
        rows: Sequence[int],
        previous: Sequence[Tensor | None],
        picture: Picture,
        prompts: Sequence[Prompt],
        recalls: Sequence[Recall | None],
        images: Sequence[int],
    ) -> Proposals:
        """Of the prompts in these `rows`, which are boxes or clicks.

        Each is a memory of this very frame, with a rough mask.
        """
        hints = torch.stack([self._hints(features, prompts[i], previous[i], picture) for i in rows])
        certain = torch.ones(len(rows), device=hints.device, dtype=hints.dtype)
        seen = _some(picture, rows)
        values = self.network.memory_encoder(seen, hints, certain)
        keys = features.levels[4]
        where = [images[i] for i in rows]
        known = [recalls[i] or Recall() for i in rows]
        entries = [
            [*entries_of(recall), same_frame(value, keys[image])]
            for recall, value, image in zip(known, values, where, strict=True)
        ]
        logits, iou, pointers, _ = self.network.propose(
            seen, remembered(entries, known, where, self.widths.pointer)
        )
        return Proposals(logits, iou, pointers, certain * CERTAIN)

    def _closer(self, seen: Proposals, frame: Frame, box: Box) -> Proposals:
        """The answer to a box, of one row, in the light of another to its part of the frame alone.

        The mean of both, in pixels of the video, becomes its area on every cell, as a given mask
        does.
        """
        x0, y0, x1, y1 = _around(box, frame.size)
        if (y1 - y0, x1 - x0) == frame.size:
            return seen
        near = Frame(frame.index, np.ascontiguousarray(frame.rgb[y0:y1, x0:x1]))
        features = self.encode([near])
        within = Box(box.x0 - x0, box.y0 - y0, box.x1 - x0, box.y1 - y0)
        asked = _picture(features, [0]), [within], [None], [0]
        closer = _best(self._take_hints(features, [0], [None], *asked))
        mean = _resized(_best(seen), frame.size)
        mean[y0:y1, x0:x1] = (mean[y0:y1, x0:x1] + _resized(closer, near.size)) / 2
        best = seen.logits.clone()
        area = _shrink((mean > 0).cpu().numpy(), seen.logits.shape[-2:], seen.logits)
        best[0, seen.iou[0].argmax()] = area.clamp(_DOUBT, 1 - _DOUBT).logit()
        return replace(seen, logits=best)

    def _hints(
        self, features: Features, prompt: Prompt, previous: Tensor | None, picture: Picture
    ) -> Tensor:
        """(PROMPT_CHANNELS, h4, w4): rough mask, its binary form, clicks on and off, box."""
        h, w = picture.quarter.shape[-2:]
        like = picture.tokens
        scale = (w / features.video_size[1], h / features.video_size[0])
        box = prompt if isinstance(prompt, Box) else getattr(prompt, "box", None)
        clicks = prompt if isinstance(prompt, Points) else Points((), (), Box(0, 0, 1, 1))
        on, off = (
            _discs(
                [p for p, fg in zip(clicks.xy, clicks.foreground, strict=True) if fg is want],
                scale,
                (h, w),
                like,
            )
            for want in (True, False)
        )
        inside = torch.zeros(h, w, device=like.device, dtype=like.dtype)
        if box is not None:
            inside = _fill(box, scale, (h, w), like)
        if previous is not None:
            rough = previous.detach().sigmoid()
        else:
            rough = inside if box is not None else on
        return torch.stack([rough, (rough > 0.5).to(like.dtype), on, off, inside])


def _picture(features: Features, images: Sequence[int]) -> Picture:
    """The pictures the objects look at; without a copy where all look at the only one."""
    if len(features) == 1:
        return Picture(*(level.expand(len(images), *level.shape[1:]) for level in features.levels))
    return Picture(*features.levels)[torch.tensor(images, device=features.levels[0].device)]


def _around(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a part of a frame (H, W) around a box, at most twice as long as wide."""
    h, w = size
    across, down = _CLOSER * (box.x1 - box.x0), _CLOSER * (box.y1 - box.y0)
    part_w = round(min(w, max(across, down / 2, _CLOSEST * w, 1)))
    part_h = round(min(h, max(down, across / 2, _CLOSEST * h, 1)))
    x0 = min(max(0, round((box.x0 + box.x1 - part_w) / 2)), w - part_w)
    y0 = min(max(0, round((box.y0 + box.y1 - part_h) / 2)), h - part_h)
    return x0, y0, x0 + part_w, y0 + part_h


def _resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits (h, w) in another size."""
    return F.interpolate(logits[None, None], size, mode="bilinear")[0, 0]


def _clicks_alone(prompt: Prompt) -> bool:
    return isinstance(prompt, Points) and prompt.box is None


def _best(proposals: Proposals) -> Tensor:
    """The logits (h, w) of the best mask of one row."""
    return proposals.logits[0, proposals.iou[0].argmax()]


def _known(concepts: Sequence[Tensor | None]) -> dict[int, Tensor]:
    return {i: concept for i, concept in enumerate(concepts) if concept is not None}


def _some(picture: Picture, rows: Sequence[int]) -> Picture:
    if len(rows) == len(picture.tokens):
        return picture
    return picture[torch.tensor(rows, device=picture.tokens.device)]


def _rows(rows: Sequence[int], p: Proposals) -> dict[int, Proposals]:
    return {
        row: Proposals(
            p.logits[i : i + 1], p.iou[i : i + 1], p.pointers[i : i + 1], p.presence[i : i + 1]
        )
        for i, row in enumerate(rows)
    }


def _join(parts: Sequence[Proposals]) -> Proposals:
    return Proposals(
        torch.cat([p.logits for p in parts]),
        torch.cat([p.iou for p in parts]),
        torch.cat([p.pointers for p in parts]),
        torch.cat([p.presence for p in parts]),
    )


def _mask_hints(masks: Tensor) -> Tensor:
    """(O, PROMPT_CHANNELS, h4, w4) of soft masks (O, h4, w4)."""
    hints = torch.stack([masks, (masks > 0.5).to(masks.dtype)], dim=1)
    return F.pad(hints, (0, 0, 0, 0, 0, PROMPT_CHANNELS - 2))


def _shrink(bitmap: Bitmap, size: Sequence[int], like: Tensor) -> Tensor:
    mask = torch.from_numpy(bitmap).to(like.device, like.dtype)
    return F.adaptive_avg_pool2d(mask[None], (size[0], size[1]))[0]


def _fill(box: Box, scale: tuple[float, float], size: tuple[int, int], like: Tensor) -> Tensor:
    """How much of every cell lies inside the box."""
    spans = []
    for low, high, factor, cells in (
        (box.y0, box.y1, scale[1], size[0]),
        (box.x0, box.x1, scale[0], size[1]),
    ):
        at = torch.arange(cells, device=like.device, dtype=like.dtype)
        spans.append(
            ((at + 1).clamp(max=high * factor) - at.clamp(min=low * factor)).clamp(min=0, max=1)
        )
    return spans[0][:, None] * spans[1]


def _discs(
    points: Sequence[tuple[float, float]],
    scale: tuple[float, float],
    size: tuple[int, int],
    like: Tensor,
) -> Tensor:
    """Soft discs around points; 0 everywhere where there is none."""
    y = torch.arange(size[0], device=like.device, dtype=like.dtype)[:, None] + 0.5
    x = torch.arange(size[1], device=like.device, dtype=like.dtype)[None] + 0.5
    total = torch.zeros(size, device=like.device, dtype=like.dtype)
    for px, py in points:
        distance = ((x - px * scale[0]) ** 2 + (y - py * scale[1]) ** 2).sqrt()
        total = torch.maximum(total, (CLICK_RADIUS + 0.5 - distance).clamp(0, 1))
    return total
