"""Memory attention of the compact network: image features conditioned on remembered frames.

Two cross-attentions. The first compares image with image: its weights do not depend on the object,
and are computed once for all objects that remember a frame. The second runs per object, inside its
region of interest, and reads only prompted frames, the newest frame and the object pointers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.compact.classifier import CLASSIFIER, classify
from segment_concept.models.compact.layers import (
    Attention,
    FeedForward,
    Linear,
    grid_rotation,
    rotate,
)
from segment_concept.models.compact.neck import CompactFeatures, Widths
from segment_concept.models.compact.roi import Roi, Rois, union
from segment_concept.models.compact.streaming_attention import (
    AttentionOutput,
    KeyGroups,
    attend,
    merge_softmax,
)
from segment_concept.runtime.parallel import side_by_side

AGES = 5  # embeddings of the age of a memory, which is one of these; the last is a prompt's own
PROMPTED, NEWEST, SECOND, OLDER, SAME_FRAME = range(AGES)
CELLS = 4  # 2x2 mask cells of a token
SCORES = 2  # of a place: by the classifiers of prompted frames, and of tracked ones
FAR = SECOND, OLDER  # ages that the second attention does not read
_HIDDEN = -1e4  # added to the logits of absent keys


@dataclass(frozen=True, slots=True, eq=False)
class RememberedFrame:
    """One remembered frame, for all objects of one image that remember it."""

    keys: Tensor  # (L, 2 * match), for the first and the second attention
    objects: tuple[int, ...]  # n indices of objects
    ages: tuple[int, ...]  # n indices of age embeddings
    values: Tensor  # (n, L, value + CELLS)


@dataclass(frozen=True, slots=True, eq=False)
class Pointers:
    """Object pointers of O objects, padded to P >= 1 each."""

    vectors: Tensor  # (O, P, pointer)
    ages: Tensor  # (O, P) indices of age embeddings
    scales: Tensor  # (O, P) factors on their keys
    hidden: Tensor  # (O, P) bool: padding, or the object was absent

    def __getitem__(self, rows: slice | Tensor) -> "Pointers":
        return Pointers(self.vectors[rows], self.ages[rows], self.scales[rows], self.hidden[rows])

    def classify(self, features: CompactFeatures) -> Tensor:
        """Scores (O, SCORES, h8, w8) by the mean classifiers of two kinds of frames.

        Prompted ones, which are right, and tracked ones, which know the object of today; where one
        kind is missing, both are by the other.

        Args:
            features: of the image of each object.
        """
        classifiers = self.vectors[..., -CLASSIFIER:]
        is_prompted = self.ages == PROMPTED
        kinds = torch.stack([is_prompted & ~self.hidden, ~is_prompted & ~self.hidden], dim=1)
        kinds = torch.where(kinds.any(-1, keepdim=True), kinds, kinds.flip(1))
        shares = kinds.to(classifiers.dtype)
        means = (shares @ classifiers) / shares.sum(-1, keepdim=True).clamp(min=1)
        return classify(features.fine, features.coarse, means)


@dataclass(frozen=True, slots=True, eq=False)
class MemoryBatch:
    """Memories of O objects, at least one frame each."""

    frames: tuple[RememberedFrame, ...]
    pointers: Pointers


@dataclass(frozen=True, slots=True, eq=False)
class FrameAttention:
    """One frame that an object remembers, and the result of the first attention to it."""

    keys: Tensor  # (L, 2 * match) of the frame
    values: Tensor  # (L, value + CELLS) of the frame
    age: int
    read: Tensor  # (l, value + CELLS) mean values for the l tokens of the region
    weight: Tensor  # (l,) logarithmic weight of the frame, see `AttentionOutput`
    best: Tensor  # (l, 2) largest logit of a key inside the object, and outside


@dataclass(frozen=True, slots=True, eq=False)
class MemoryReadout:
    """Result of the first attention for O objects, over all frames."""

    values: Tensor  # (O, L, value)
    prior: Tensor  # (O, L, CELLS) remembered mask cells, in [-1, 1]
    similarity: Tensor  # (O, L, 2) largest cosine with a key inside the object, and outside

    def __getitem__(self, rows: slice | Tensor) -> "MemoryReadout":
        return MemoryReadout(self.values[rows], self.prior[rows], self.similarity[rows])

    @classmethod
    def cat(cls, parts: Sequence["MemoryReadout"]) -> "MemoryReadout":
        """All objects of `parts`, in order."""
        return cls(
            torch.cat([part.values for part in parts]),
            torch.cat([part.prior for part in parts]),
            torch.cat([part.similarity for part in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ConditionedTokens:
    """Tokens of the regions of interest of O objects, conditioned on memory."""

    tokens: Tensor  # (O, l, tokens)
    prior: Tensor  # (O, l, CELLS) in [-1, 1]
    similarity: Tensor  # (O, L, 2) of the whole image, see `MemoryReadout`
    scores: Tensor  # (O, SCORES, h8, w8) of the whole image, see `Pointers.classify`


class MemoryAttention(nn.Module):
    """Conditions image features on what each object remembers."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        d, k, v = widths.tokens, widths.match, widths.value
        self.widths = widths
        self.age = nn.Parameter(torch.zeros(AGES, v))
        self.age_bias = nn.Parameter(torch.zeros(2, AGES))
        self.log_sharpness = nn.Parameter(torch.tensor([3.3, 3.3]))  # e^3.3 = 27
        self.out_first = Linear(v, d)
        self.similar = Linear(2, d)
        self.score = Linear(SCORES, d, bias=False)
        nn.init.zeros_(self.score.weight)
        self.mlp_first = FeedForward(d, 2 * d)
        self.norm_self = nn.LayerNorm(d)
        self.attention = Attention(d, d)
        self.norm_query = nn.LayerNorm(d)
        self.query = Linear(d, k)
        self.pointer_age = nn.Parameter(torch.zeros(AGES, widths.description))
        self.pointer_key = Linear(widths.description, k)
        self.pointer_value = Linear(widths.description, v)
        self.out_second = Linear(v, d)
        self.mlp_second = FeedForward(d, 2 * d)
        self.norm_out = nn.LayerNorm(d)
        self.prior_mix = nn.Parameter(torch.zeros(2))

    def attend_frames(
        self, features: CompactFeatures, memory: MemoryBatch, rois: Sequence[Roi | None]
    ) -> list[list[FrameAttention]]:
        """First attention: for each object, one result per remembered frame.

        Args:
            features: one row per object; rows of objects that share a frame are equal.
            memory: of the objects.
            rois: region of each object, whose tokens attend; objects without one get no result.
        """
        sharpness = self.log_sharpness[0].exp()

        def attend_frame(frame: RememberedFrame) -> list[tuple[int, FrameAttention]]:
            return self._attend_frame(features.query[frame.objects[0]] * sharpness, frame, rois)

        attended: list[list[FrameAttention]] = [[] for _ in range(len(features))]
        frames = [frame for frame in memory.frames if any(rois[o] for o in frame.objects)]
        for of_frame in side_by_side(attend_frame, frames):
            for o, result in of_frame:
                attended[o].append(result)
        return attended

    def _attend_frame(
        self, query: Tensor, frame: RememberedFrame, rois: Sequence[Roi | None]
    ) -> list[tuple[int, FrameAttention]]:
        """(object, result) of all objects with a region that remember a frame; query (L, match)."""
        k, v = self.widths.match, self.widths.value
        known = [(n, o, roi) for n, o in enumerate(frame.objects) if (roi := rois[o]) is not None]
        values = frame.values
        if len(known) < len(values):
            values = values[[n for n, _, _ in known]]
        groups = KeyGroups.of(values[..., v:].mean(-1) > 0)
        rows, own_rows = union([roi for _, _, roi in known], query.device)
        output = attend(
            query.index_select(0, rows),
            frame.keys[:, :k].index_select(0, groups.order),
            values.index_select(1, groups.order),
            sizes=groups.sizes,
        )
        return [
            (
                o,
                FrameAttention(
                    frame.keys,
                    frame.values[n],
                    frame.ages[n],
                    read=output.values[i, own],
                    weight=output.weight[own],
                    best=groups.best(output.best[own], i),
                ),
            )
            for i, ((n, o, _), own) in enumerate(zip(known, own_rows, strict=True))
        ]

    def read_memory(self, attended: Sequence[FrameAttention], roi: Roi) -> MemoryReadout:
        """Merge the first attention of one object over its frames.

        Tokens outside its region have a prior and similarities of -1.
        """
        v = self.widths.value
        merged = self._merge(0, attended, [(each.read, each.weight) for each in attended])
        best = torch.stack([each.best for each in attended]).amax(0)
        similarity = (best / self.log_sharpness[0].exp()).clamp(min=-1.0)
        parts = (merged[:, :v], 0.0), (merged[:, v:], -1.0), (similarity, -1.0)
        return MemoryReadout(*(roi.place(part, outside)[None] for part, outside in parts))

    def forward(
        self,
        features: CompactFeatures,
        rois: Rois,
        readout: MemoryReadout,
        attended: Sequence[Sequence[FrameAttention]],
        pointers: Pointers,
        scores: Tensor,
    ) -> ConditionedTokens:
        """Condition the regions of interest of O objects, l tokens each.

        Args:
            features: of the regions of interest.
            rois: the regions.
            readout: of the whole images.
            attended: remembered frames of each object.
            pointers: of each object.
            scores: (O, SCORES, h8, w8) of the whole images.
        """
        v, grid = self.widths.value, rois.size
        x = features.tokens + self.out_first(rois.tokens(readout.values))
        x = x + self.similar(rois.tokens(readout.similarity))
        x = x + self.score(rois.tokens(F.avg_pool2d(scores, 2).flatten(2).transpose(1, 2)))
        x = x + self.mlp_first(x)
        normed = self.norm_self(x)
        rotation = grid_rotation(*grid, self.widths.pairs // 2, x)
        x = x + self.attention(normed, normed, normed, rotation, pooled=grid)
        cos, sin = (
            rois.tokens(each.expand(len(x), -1, -1))
            for each in grid_rotation(*rois.grid, self.widths.pairs, x)
        )
        query = rotate(F.normalize(self.query(self.norm_query(x)), dim=-1), (cos, sin))
        second = self._read_near(query * self.log_sharpness[1].exp(), attended, pointers)
        x = x + self.out_second(second[..., :v])
        x = x + self.mlp_second(x)
        mix = self.prior_mix.softmax(0)
        prior = mix[0] * rois.tokens(readout.prior) + mix[1] * second[..., v:]
        return ConditionedTokens(self.norm_out(x), prior, readout.similarity, scores)

    def _read_near(
        self, query: Tensor, attended: Sequence[Sequence[FrameAttention]], pointers: Pointers
    ) -> Tensor:
        """Second attention (O, l, value + CELLS): prompted frames, newest frame and pointers.

        Older frames changed nothing here (docs/LOG.md), and the cost is per object.
        """
        k = self.widths.match
        described = pointers.vectors[..., : self.widths.description]
        described = described + self.pointer_age[pointers.ages]
        keys = F.normalize(self.pointer_key(described), dim=-1) * pointers.scales[..., None]
        values = F.pad(self.pointer_value(described), (0, CELLS))
        bias = torch.zeros_like(pointers.scales).masked_fill(pointers.hidden, _HIDDEN)
        rows = []
        for o, frames in enumerate(attended):
            near = [each for each in frames if each.age not in FAR]
            outputs = [attend(query[o], each.keys[:, k:], each.values[None]) for each in near]
            read = [(output.values[0], output.weight) for output in outputs]
            from_pointers = attend(query[o], keys[o], values[o : o + 1], bias[o])
            rows.append(self._merge(1, near, read, from_pointers))
        return torch.stack(rows)

    def _merge(
        self,
        layer: int,
        frames: Sequence[FrameAttention],
        read: Sequence[tuple[Tensor, Tensor]],
        pointers: AttentionOutput | None = None,
    ) -> Tensor:
        """(L, value + CELLS): one softmax over all frames (and pointers) of one object.

        Every frame adds its age embedding, and the bias of its age to its logits.

        Args:
            layer: 0 for the first attention, 1 for the second.
            frames: that were read.
            read: mean values (L, value + CELLS) and logarithmic weight (L,) of each frame.
            pointers: result of attention to the object pointers.
        """
        ages = torch.tensor([frame.age for frame in frames], device=self.age.device)
        biases = self.age_bias[layer][ages].unbind()
        values = [value for value, _ in read]
        weights = [weight + bias for (_, weight), bias in zip(read, biases, strict=True)]
        if pointers is not None:
            values.append(pointers.values[0])
            weights.append(pointers.weight)
        merged, shares = merge_softmax(values, weights)
        return merged + F.pad(shares[:, : len(frames)] @ self.age[ages], (0, CELLS))
