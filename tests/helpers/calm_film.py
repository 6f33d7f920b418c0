"""A film that is calm enough for frames to be carried, and a tracker that carries them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helpers.tracking_toy import BLUE, ONE, RED, TWO, ColorSegmenter
from segment_concept import Frame, Mask, Tracker
from segment_concept.tracking.api import FramePrompts
from segment_concept.tracking.concept import ConceptRequest
from segment_concept.tracking.segmenter import Concept
from segment_concept.tracking.triggers.base import Never, Trigger
from segment_concept.types import Bitmap, Image

SIZE = 64, 96
BLOCK = 20  # pixels of a side of an object


@dataclass(frozen=True)
class Film:
    """A camera that moves over a ground on which two blocks of another color lie."""

    steps: Sequence[int]  # how far it moves to the right before each frame, in pixels
    colors: Sequence[tuple[int, int, int]] = (RED, BLUE)
    lefts: Sequence[int] = (20, 50)
    other_ground: int = 1000  # the frame from which everything lies on another ground
    hidden: frozenset[int] = frozenset()  # frames on which the first block is missing

    def frames(self) -> list[Frame]:
        return [Frame(index, self._picture(index)) for index in range(len(self.steps))]

    def mask(self, index: int, number: int = 0) -> Mask:
        return Mask(self._block(index, number))

    def _block(self, index: int, number: int) -> Bitmap:
        mask = np.zeros(SIZE, np.bool_)
        left = self.lefts[number] - self._offset(index)
        mask[20 : 20 + BLOCK, max(0, left) : max(0, left + BLOCK)] = True
        return mask

    def _offset(self, index: int) -> int:
        return sum(self.steps[: index + 1])

    def _picture(self, index: int) -> Image:
        ground = _texture(7 if index < self.other_ground else 8)
        left = self._offset(index) + 40
        rgb = ground[:, left : left + SIZE[1]].repeat(3, axis=2).copy()
        for number, color in enumerate(self.colors):
            if number or index not in self.hidden:
                rgb[self._block(index, number)] = color
        return rgb


def _texture(seed: int) -> Image:
    """(64, 400, 1) uint8: gray blotches of 4 x 4 pixels."""
    drawn = np.random.default_rng(seed).integers(60, 160, (SIZE[0] // 4, 100, 1), np.uint8)
    return drawn.repeat(4, axis=0).repeat(4, axis=1)


CALM = Film([0] + [1] * 13)


def carrying_tracker(trigger: Trigger | None = None) -> Tracker:
    concept = None if trigger is None else NoConcept()
    return Tracker(ColorSegmenter(), trigger=trigger or Never(), concept=concept, every="auto")


class NoConcept:
    """A concept encoder that is asked and knows nothing."""

    def encode(self, requests: Sequence[ConceptRequest], *args) -> list[Concept | None]:
        return [None] * len(requests)


def prompts_of(film: Film) -> FramePrompts:
    """The masks of both blocks on frame 0."""
    return {ONE: film.mask(0), TWO: film.mask(0, 1)}
