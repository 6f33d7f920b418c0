"""The frames from which an object's concept is formed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from segment_concept.tracking.segmenter import Features
from segment_concept.types import Bitmap, Frame


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """A frame with the object's mask on it, (H, W) bool. Kept by identity: never copied."""

    frame: Frame
    mask: Bitmap


@dataclass(frozen=True, slots=True)
class KeyframeBank:
    """The first keyframe forever, and the newest few after it.

    SeC keeps a list that grows without end and reads the first and the last `at_most - 1` of it
    (`mllm_memory_size`, 7 as published); what is never read again is not kept here.
    """

    keyframes: tuple[Keyframe, ...] = ()
    at_most: int = 7

    def __post_init__(self) -> None:
        if self.at_most < 1:
            raise ValueError(f"a keyframe bank holds at least 1 keyframe, got {self.at_most}")

    def add(self, keyframe: Keyframe) -> "KeyframeBank":
        """The bank with `keyframe` as its newest; one of the same frame is replaced in place."""
        index = keyframe.frame.index
        if any(k.frame.index == index for k in self.keyframes):
            kept = tuple(keyframe if k.frame.index == index else k for k in self.keyframes)
            return replace(self, keyframes=kept)
        grown = (*self.keyframes, keyframe)
        too_many = max(0, len(grown) - self.at_most)
        return replace(self, keyframes=(*grown[:1], *grown[1 + too_many :]))


@dataclass(frozen=True, slots=True, eq=False)
class ConceptRequest:
    """One object about which the concept encoder is asked."""

    keyframes: tuple[Keyframe, ...]  # oldest first, at least one
    cut: bool = False  # does the trigger take the query for the first frame of a shot?


class ConceptEncoder(Protocol):
    """Says what an object is, from its keyframes, as seen in the query frame."""

    def encode(
        self, requests: Sequence[ConceptRequest], query: Frame, features: Features
    ) -> Sequence[Tensor | None]:
        """For each object a concept (C,), or None where no usable one could be formed.

        `features` is what the tracker's segmenter made of the query, for encoders that read it.
        """
        ...
