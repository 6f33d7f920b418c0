"""The interface between tracking and a segmentation network.

A segmenter has no memory of its own and makes no decisions. `Features` and `Concept` are made by
networks and read by networks; tracking only passes them on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from segment_concept.ops.device_values import device_values, indices
from segment_concept.tracking.memory import Recall
from segment_concept.types import Frame, Prompt

NO_OBJECT_LOGIT = -1024.0  # SAM 2's NO_OBJ_SCORE: the mask logit of an absent object

ImageRecord = TypeVar("ImageRecord")


@dataclass(frozen=True, slots=True, eq=False)
class Features(Generic[ImageRecord]):
    """Image features of B frames of one size."""

    maps: ImageRecord  # the segmenter's own frozen record of tensors, each (B, ...)
    video_size: tuple[int, int]  # (H, W)


@dataclass(frozen=True, slots=True, eq=False)
class Concept:
    """What identifies one object, computed from its keyframes by a concept encoder."""

    embedding: Tensor  # (C,)


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Output of the mask decoder for O rows (objects, or hypotheses about objects)."""

    logits: Tensor  # (O, M, h, w), as decoded: masks of absent objects are not empty yet
    iou: Tensor  # (O, M) predicted scores
    pointers: Tensor  # (O, M, C)
    presence: Tensor  # (O,) logits

    def __len__(self) -> int:
        return len(self.presence)

    def __getitem__(self, rows: Sequence[int] | Tensor | slice) -> "Proposals":
        """The given rows, in the given order."""
        if not isinstance(rows, slice | Tensor):
            rows = indices(tuple(rows), self.presence.device)
        return Proposals(
            self.logits[rows], self.iou[rows], self.pointers[rows], self.presence[rows]
        )

    @classmethod
    def cat(cls, parts: Sequence["Proposals"]) -> "Proposals":
        """All rows of `parts`, in order.

        Parts may have one mask per row while others have M: their only mask is repeated.
        """
        masks = max(part.iou.shape[1] for part in parts)

        def joined(tensors: Sequence[Tensor]) -> Tensor:
            return torch.cat([t.expand(-1, masks, *t.shape[2:]) for t in tensors])

        return cls(
            joined([part.logits for part in parts]),
            joined([part.iou for part in parts]),
            joined([part.pointers for part in parts]),
            torch.cat([part.presence for part in parts]),
        )

    def lower_presence(self, margins: Sequence[float]) -> "Proposals":
        """The proposals with presence logits reduced by one margin per row."""
        if not any(margins):
            return self
        presence = self.presence
        lower = device_values(tuple(margins), presence.device, presence.dtype)
        return replace(self, presence=presence - lower)

    def suppress_absent(self, presence_threshold: Sequence[float]) -> "Proposals":
        """Empty all masks of rows whose presence is at most the row's threshold, as SAM 2 does."""
        presence = self.presence
        above = device_values(tuple(presence_threshold), presence.device, presence.dtype)
        hidden_O = presence <= above
        return replace(
            self, logits=self.logits.masked_fill(hidden_O[:, None, None, None], NO_OBJECT_LOGIT)
        )


@dataclass(frozen=True, slots=True, eq=False)
class SelectedMasks:
    """One selected mask for each of O rows, ready to be encoded into memory."""

    logits: Tensor  # (O, h, w)
    presence: Tensor  # (O,) logits
    pointers: Tensor  # (O, C)


class Segmenter(Protocol):
    """A segmentation network.

    Contract, checked by one test suite for every implementation: results depend only on the
    arguments; `images[i]` is the row of `features` in which object i is segmented; a batch gives
    the same results as its objects one by one (within 1e-4); device and dtype follow the weights.
    """

    def encode(self, frames: Sequence[Frame]) -> Features[Any]:
        """Compute image features of B frames of one size."""
        ...

    def segment(
        self,
        features: Features[Any],
        prompts: Sequence[Prompt],
        previous: Sequence[Tensor | None],
        recalls: Sequence[Recall | None],
        images: Sequence[int],
    ) -> Proposals:
        """Segment prompted objects, in one decoder pass.

        Args:
            features: B encoded frames.
            prompts: one per object.
            previous: mask logits (h, w) that the prompt refines, or None.
            recalls: memories of the object if it has been tracked on this frame, else None.
            images: for each object a row of `features`.
        """
        ...

    def propose(
        self,
        features: Features[Any],
        recalls: Sequence[Recall],
        concepts: Sequence[Concept | None],
        images: Sequence[int],
    ) -> Proposals:
        """Segment tracked objects, each from its own recalled memories and optional concept."""
        ...

    def encode_memory(
        self,
        features: Features[Any],
        masks: SelectedMasks,
        images: Sequence[int],
        *,
        prompted: bool,
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Encode selected masks into memory.

        Returns:
            Memory features (O, ...), and for each object the tensor that it shares with all
            objects of its image, or None.
        """
        ...


class DelegatingSegmenter:
    """A segmenter that passes every call to another one. Base of wrappers that change one call."""

    def __init__(self, inner: Segmenter) -> None:
        self._inner = inner

    def encode(self, frames: Sequence[Frame]) -> Features[Any]:
        """See `Segmenter`."""
        return self._inner.encode(frames)

    def segment(
        self,
        features: Features[Any],
        prompts: Sequence[Prompt],
        previous: Sequence[Tensor | None],
        recalls: Sequence[Recall | None],
        images: Sequence[int],
    ) -> Proposals:
        """See `Segmenter`."""
        return self._inner.segment(features, prompts, previous, recalls, images)

    def propose(
        self,
        features: Features[Any],
        recalls: Sequence[Recall],
        concepts: Sequence[Concept | None],
        images: Sequence[int],
    ) -> Proposals:
        """See `Segmenter`."""
        return self._inner.propose(features, recalls, concepts, images)

    def encode_memory(
        self,
        features: Features[Any],
        masks: SelectedMasks,
        images: Sequence[int],
        *,
        prompted: bool,
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """See `Segmenter`."""
        return self._inner.encode_memory(features, masks, images, prompted=prompted)
