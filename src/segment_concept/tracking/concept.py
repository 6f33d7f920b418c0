"""Keyframes of an object, and the interface of concept encoders."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from segment_concept.tracking.segmenter import Concept, Features
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
    held: tuple[int, ...] = ()  # frames whose keyframes newer ones do not push out

    def __post_init__(self) -> None:
        if self.at_most < 1:
            raise ValueError(f"a keyframe bank holds at least 1 keyframe, got {self.at_most}")

    def add(self, keyframe: Keyframe) -> "KeyframeBank":
        """The bank with `keyframe` as its newest; one of the same frame is replaced in place."""
        index = keyframe.frame.index
        if any(k.frame.index == index for k in self.keyframes):
            kept = tuple(keyframe if k.frame.index == index else k for k in self.keyframes)
            return replace(self, keyframes=kept)
        grown = [*self.keyframes, keyframe]
        while len(grown) > self.at_most:
            free = (n for n, k in enumerate(grown) if n and k.frame.index not in self.held)
            del grown[next(free, min(1, len(grown) - 1))]
        return replace(self, keyframes=tuple(grown))

    def hold(self, keyframe: Keyframe) -> "KeyframeBank":
        """The bank with a keyframe that stays in it, as the first one does."""
        index = keyframe.frame.index
        held = (*(i for i in self.held if i != index), index)
        return replace(self, held=held[1 - self.at_most :] if self.at_most > 1 else ()).add(
            keyframe
        )


@dataclass(frozen=True, slots=True, eq=False)
class ConceptRequest:
    """One object whose concept is to be computed."""

    keyframes: tuple[Keyframe, ...]  # oldest first, at least one


class ConceptEncoder(Protocol):
    """Computes what an object is, from its keyframes and the frame where it is searched."""

    def encode(
        self, requests: Sequence[ConceptRequest], query: Frame, features: Features[Any]
    ) -> Sequence[Concept | None]:
        """Compute one concept per request; None where no usable one was found.

        Args:
            requests: the objects.
            query: the frame where they are searched.
            features: of the query, by the tracker's segmenter, for encoders that read them.
        """
        ...
