"""A segmenter one can check by hand: an object is whatever has its color.

What an object remembers is its mean color, and it is looked for in the mean of the colors it
recalls; so a memory of another object, or of another frame, changes the mask. All rows of a batch
are computed together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segment_concept.tracking.concept import ConceptRequest
from segment_concept.tracking.memory import MemoryBank, PlaybackPosition, Recall
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sam2long import TreeMemory
from segment_concept.tracking.policies.samurai import MotionMemory
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.segmenter import Concept, Features, Proposals, SelectedMasks
from segment_concept.tracking.session import Session
from segment_concept.types import Bitmap, Box, Frame, FrameResult, Mask, ObjectId, Points, Prompt

RED, GREEN, BLUE = (220, 20, 20), (20, 220, 20), (20, 20, 220)
ONE, TWO, THREE = ObjectId(1), ObjectId(2), ObjectId(3)
FAR = 40.0  # pixels whose color is farther from the object's (summed over R, G, B) are not its own
SIZE = (12, 20)
EVERY_POLICY: list[MemoryPolicy] = [RecentMemory(), ReliableMemory(), MotionMemory(), TreeMemory()]


@dataclass(frozen=True)
class Blob:
    """A square of 4x4 pixels that moves to the right and changes its color."""

    color: tuple[int, int, int]
    top: int = 0
    left: int = 0
    speed: int = 0
    drift: tuple[int, int, int] = (0, 0, 0)
    hidden: frozenset[int] = frozenset()

    def on(self, index: int) -> Bitmap:
        """Its pixels; it comes back on the left when it has left on the right."""
        bitmap = np.zeros(SIZE, np.bool_)
        columns = (self.left + self.speed * index + np.arange(4)) % SIZE[1]
        if index not in self.hidden:
            bitmap[self.top : self.top + 4, columns] = True
        return bitmap

    def paint(self, rgb: Any, index: int) -> None:
        """Into `rgb`, as it looks on frame `index`."""
        shade = np.array(self.color) + index * np.array(self.drift)
        rgb[self.on(index)] = shade.clip(0, 255)

    def mask(self, index: int) -> Mask:
        return Mask(self.on(index))


def video(*blobs: Blob, length: int = 12) -> list[Frame]:
    return list(endless(*blobs, length=length))


def endless(*blobs: Blob, length: int) -> Iterator[Frame]:
    """The blobs on black; later ones in front."""
    for index in range(length):
        rgb = np.zeros((*SIZE, 3), np.uint8)
        for blob in blobs:
            blob.paint(rgb, index)
        yield Frame(index, rgb)


def flat(color: tuple[int, int, int], index: int = 0, size: tuple[int, int] = SIZE) -> Frame:
    return Frame(index, np.full((*size, 3), color, np.uint8))


@dataclass(frozen=True)
class Call:
    """What `segment` or `propose` was given."""

    frame_rows: tuple[int, ...]
    previous: tuple[Tensor | None, ...]
    recalls: tuple[Recall | None, ...]
    concepts: tuple[Concept | None, ...]


@dataclass
class ColorSegmenter:
    """Implements `Segmenter`. The middle one of three masks is the right one.

    Of n pixels of the object's color the presence logit is n / 2 - 1, and the predicted IoU is 1
    where they have exactly that color and 0 at the distance `FAR`.
    """

    encoded: list[int] = field(default_factory=list)  # frames, in the order they were encoded in
    segmented: list[Call] = field(default_factory=list)
    proposed: list[Call] = field(default_factory=list)

    def encode(self, frames: Sequence[Frame]) -> Features:
        self.encoded += [frame.index for frame in frames]
        pixels = torch.stack([torch.from_numpy(frame.rgb.copy()) for frame in frames])
        return Features(pixels.permute(0, 3, 1, 2).float(), frames[0].size)

    def segment(
        self,
        features: Features,
        prompts: Sequence[Prompt],
        previous: Sequence[Tensor | None],
        recalls: Sequence[Recall | None],
        images: Sequence[int],
    ) -> Proposals:
        self.segmented.append(
            Call(tuple(images), tuple(previous), tuple(recalls), (None,) * len(images))
        )
        pictures = features.maps
        logits = torch.stack(
            [
                _shown(pictures[image], prompt, before)
                for prompt, before, image in zip(prompts, previous, images, strict=True)
            ]
        )
        return _proposals(logits, torch.ones(len(logits)))

    def propose(
        self,
        features: Features,
        recalls: Sequence[Recall],
        concepts: Sequence[Concept | None],
        images: Sequence[int],
    ) -> Proposals:
        self.proposed.append(
            Call(tuple(images), (None,) * len(images), tuple(recalls), tuple(concepts))
        )
        colors = torch.stack(
            [
                _recalled_color(recall) if concept is None else concept.embedding
                for recall, concept in zip(recalls, concepts, strict=True)
            ]
        )
        distance = (features.maps[list(images)] - colors[:, :, None, None]).abs().sum(1)
        own = (distance < FAR).float()
        mean = (distance * own).sum((1, 2)) / own.sum((1, 2)).clamp(min=1)
        return _proposals((FAR - distance) / 4, 1 - mean / FAR)

    def encode_memory(
        self, features: Features, selected: SelectedMasks, images: Sequence[int], *, prompted: bool
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """(O, 4): mean color, and 1 where the object is visible; the image lends itself."""
        own = (selected.logits > 0).float()
        count = own.sum((1, 2))[:, None]
        pictures = features.maps[list(images)]
        colors = (pictures * own[:, None]).sum((2, 3)) / count.clamp(min=1)
        return torch.cat((colors, count.clamp(max=1)), dim=1), [features.maps] * len(images)


class Nothing(list[Any]):
    """A list that writes nothing down."""

    def append(self, item: Any) -> None:
        pass

    def __iadd__(self, items: Any) -> "Nothing":  # type: ignore[misc]
        return self


def forgetful() -> ColorSegmenter:
    """One that keeps nothing of what it was queried."""
    return ColorSegmenter(Nothing(), Nothing(), Nothing())


def _proposals(logits: Tensor, quality: Tensor) -> Proposals:
    count = (logits > 0).flatten(1).sum(1)
    masks = torch.stack((logits - 8, logits, -logits), dim=1)
    ious = quality[:, None] * torch.tensor([0.5, 1.0, 0.1])
    pointers = torch.stack((ious, torch.arange(3.0).expand(len(ious), 3)), dim=2)
    return Proposals(masks, ious, pointers, presence=count / 2 - 1)


def _recalled_color(recall: Recall) -> Tensor:
    seen = torch.stack([m.memory.features for m in recall.maps])
    colors, visible = seen[:, :3], seen[:, 3:]
    return (colors * visible).sum(0) / visible.sum(0)


def _shown(picture: Tensor, prompt: Prompt, before: Tensor | None) -> Tensor:
    """(H, W) logits. Clicks add to, or take from, what was believed before."""
    if isinstance(prompt, Mask):
        return torch.from_numpy(prompt.bitmap) * 20.0 - 10.0
    if isinstance(prompt, Box):
        inside = torch.zeros(picture.shape[1:], dtype=torch.bool)
        inside[int(prompt.y0) : int(prompt.y1), int(prompt.x0) : int(prompt.x1)] = True
        return torch.where(inside & (picture.sum(0) > 0), 10.0, -10.0)
    logits = torch.full(picture.shape[1:], -10.0) if before is None else before
    for (x, y), on in zip(prompt.xy, prompt.foreground, strict=True):
        color = picture[:, int(y), int(x)][:, None, None]
        like = (FAR - (picture - color).abs().sum(0)) / 4
        logits = logits.maximum(like) if on else logits.minimum(-like)
    return logits


@dataclass
class RotatingConcept:
    """A concept encoder that says: its color after the cut is (G, B, R) of its color before.

    It answers None for an object whose first keyframe shows one of the `unknown` colors.
    """

    unknown: tuple[tuple[int, int, int], ...] = ()
    queried: list[tuple[int, list[list[int]]]] = field(default_factory=list)

    def encode(
        self, requests: Sequence[ConceptRequest], query: Frame, features: Features
    ) -> list[Concept | None]:
        shown = [[k.frame.index for k in request.keyframes] for request in requests]
        self.queried.append((query.index, shown))
        return [self._concept(request) for request in requests]

    def _concept(self, request: ConceptRequest) -> Concept | None:
        first = request.keyframes[0]
        color = tuple(first.frame.rgb[first.mask].mean(axis=0).tolist())
        return None if color in self.unknown else Concept(torch.tensor(np.roll(color, -1)).float())


@dataclass
class WatchedPolicy:
    """A policy that writes down every recall."""

    policy: MemoryPolicy
    recalls: list[tuple[PlaybackPosition, Recall]] = field(default_factory=list)

    def recall(self, bank: MemoryBank, position: PlaybackPosition) -> Recall:
        self.recalls.append((position, self.policy.recall(bank, position)))
        return self.recalls[-1][1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.policy, name)


def play(session: Session, frames: Sequence[Frame], **how: Any) -> dict[int, FrameResult]:
    return {result.frame_index: result for result in session.track(frames, **how)}


def on(*xy: tuple[float, float]) -> Points:
    return Points.on(*xy)
