"""What tracking asks of a network. A segmenter has no memory of its own and decides nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from segment_concept.tracking.memory import Recall
from segment_concept.types import Frame, Prompt

NO_OBJECT_LOGIT = -1024.0  # SAM 2's NO_OBJ_SCORE: the mask of an object that is not there


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the image encoder made of B frames of one size; only its own segmenter reads it."""

    levels: tuple[Tensor, ...]  # each (B, ...)
    video_size: tuple[int, int]  # (H, W)
    frames: tuple[Frame, ...] = ()  # the B themselves, for segmenters that look at one again

    def __len__(self) -> int:
        return len(self.levels[0])


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """The mask decoder's answer for O rows (objects, or hypotheses about them)."""

    logits: Tensor  # (O, M, h, w), as decoded: not yet silenced where the object is absent
    iou: Tensor  # (O, M) scores
    pointers: Tensor  # (O, M, C)
    presence: Tensor  # (O,) logits

    def suppress_absent(self, presence_threshold: Sequence[float]) -> "Proposals":
        """Every mask of an object that is not visible becomes empty, as SAM 2 does."""
        above = torch.tensor(presence_threshold, device=self.presence.device)
        hidden_O = self.presence <= above.to(self.presence.dtype)
        return replace(
            self, logits=self.logits.masked_fill(hidden_O[:, None, None, None], NO_OBJECT_LOGIT)
        )


@dataclass(frozen=True, slots=True, eq=False)
class SelectedMasks:
    """O masks that were believed, ready to be remembered."""

    logits: Tensor  # (O, h, w)
    presence: Tensor  # (O,) logits
    pointers: Tensor  # (O, C)


class Segmenter(Protocol):
    """A network under the tracker.

    Contract, held by one test suite over every implementation: calls are functions of their
    arguments; `images[i]` names the row of `features` that object i looks at; a batch gives what
    its objects would give one by one (within 1e-4); device and dtype follow the weights.
    """

    def encode(self, frames: Sequence[Frame]) -> Features:
        """Image features of B frames of one size."""
        ...

    def segment(
        self,
        features: Features,
        prompts: Sequence[Prompt],
        previous: Sequence[Tensor | None],
        recalls: Sequence[Recall | None],
        images: Sequence[int],
    ) -> Proposals:
        """The prompted objects.

        `previous[i]` (h, w) are the logits that prompt i corrects, `recalls[i]` what the object
        remembers where the corrected frame had been tracked; both None for a first prompt.
        """
        ...

    def propose(
        self,
        features: Features,
        recalls: Sequence[Recall],
        concepts: Sequence[Tensor | None],
        images: Sequence[int],
    ) -> Proposals:
        """The tracked objects, each from its own recall (and its concept, where there is one)."""
        ...

    def memorize(
        self, features: Features, believed: SelectedMasks, images: Sequence[int], *, prompted: bool
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """(O, ...) memory features, and for every object what it shares with its whole image."""
        ...
