"""What stage 1 trains on: clips of SA-V, as SeC's release draws them.

A clip of the published recipe is 30 random frames of a video in random order, so that nearly every
step is a cut. Of frames and objects only numbers are drawn here; `ClipLoader` reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from segment_concept.datasets.masklets import NULL, ROW_STEP
from segment_concept.datasets.sav import SavReader, SavVideo
from segment_concept.ops.resize import normalized
from segment_concept.train.augment import Augmentation, AugmentationConfig
from segment_concept.types import InputError

Order = Literal["shuffled", "in order"]
_VIDEOS_TRIED = 100  # for one clip, as published
_WINDOWS_TRIED = 1000  # in one video, as published
_CLIP, _PREDICTED, _EPOCH = 0, 1, 2  # streams of random numbers


@dataclass(frozen=True, slots=True)
class ClipConfig:
    """How clips are drawn; defaults are published.

    Attributes:
        frames: of a clip.
        stride: of the annotated frames every so many are used: 2 leaves 3 a second.
        order: "shuffled", as published, or "in order" with one cut: the clip begins in the middle
            of a window of successive frames, and goes on with the beginning of the window.
        objects: at most so many of a clip, visible on its first frame.
        predicted: so many frames of a clip are predicted; of the others the truth is told.
        repeats: how often every video is used in an epoch.
        augmentation: of frames and masks; None for none.
    """

    frames: int = 30
    stride: int = 2
    order: Order = "shuffled"
    objects: int = 2
    predicted: int = 8
    repeats: int = 2
    augmentation: AugmentationConfig | None = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        if not 0 < self.predicted < self.frames:
            raise ValueError(f"of {self.frames} frames, {self.predicted} cannot be predicted")


@dataclass(frozen=True, slots=True)
class ClipOrder:
    """One clip of a step, before its video is opened."""

    video: int  # number in the list
    seed: tuple[int, ...]  # of all choices
    predicted: tuple[int, ...]  # places in the clip, the same for all clips of a step


@dataclass(frozen=True, slots=True)
class DrawnClip:
    """Rows of an annotation, and columns of its objects."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MemoryClip:
    """A clip as the network sees it."""

    pixels: Tensor  # (T, 3, S, S) uint8
    masks: Tensor  # (T, O, S, S) bool
    predicted: tuple[int, ...]
    name: str  # of the video
    refused: tuple[tuple[str, str], ...] = ()


def clip_orders(clip: ClipConfig, videos: int, batch: int, seed: int, step: int) -> list[ClipOrder]:
    """The clips of a step: every video `repeats` times an epoch, in random order."""
    rng = np.random.default_rng([seed, _PREDICTED, step])
    places = rng.choice(np.arange(1, clip.frames), clip.predicted, replace=False)
    predicted = tuple(sorted(places.tolist()))
    length = videos * clip.repeats
    orders = []
    for number in range(step * batch, (step + 1) * batch):
        epoch, place = divmod(number, length)
        video = int(_shuffled(seed, epoch, length)[place]) % videos
        orders.append(ClipOrder(video, (seed, _CLIP, number), predicted))
    return orders


@lru_cache(maxsize=4)
def _shuffled(seed: int, epoch: int, length: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, _EPOCH, epoch]).permutation(length)


def draw_clip(areas: NDArray[np.int64], clip: ClipConfig, rng: Generator) -> DrawnClip | None:
    """Rows and columns of a clip; None if the video has too few frames, or no object begins one.

    Args:
        areas: (rows, columns) pixels of every mask, -1 where one is null.
        clip: how to draw.
        rng: of the choices.
    """
    rows = np.arange(0, len(areas), clip.stride)
    rows = rows[(areas[rows] != NULL).all(axis=1)]
    if clip.order == "shuffled":
        rows = rng.permutation(rows)
    if len(rows) < clip.frames:
        return None
    for _ in range(_WINDOWS_TRIED):
        start = int(rng.integers(0, len(rows) - clip.frames + 1))
        window = rows[start : start + clip.frames]
        if clip.order == "in order":
            window = np.roll(window, int(rng.integers(1, clip.frames)))
        visible = np.flatnonzero(areas[window[0]] > 0)
        if len(visible):
            columns = sorted(rng.permutation(visible)[: clip.objects].tolist())
            return DrawnClip(tuple(window.tolist()), tuple(columns))
    return None


class MemoryClipLoader:
    """Reads the clip of an order in a worker process.

    A video that is too short is replaced by a random other one, as published; so is one that
    cannot be read, which the clip then names.

    Args:
        videos: the list that orders refer to.
        clip: how clips are drawn.
        side: pixels of the network's square input.
    """

    def __init__(self, videos: Sequence[SavVideo], clip: ClipConfig, side: int) -> None:
        self._videos, self._clip, self._side = tuple(videos), clip, side
        self._reader: SavReader | None = None

    def __call__(self, order: ClipOrder) -> MemoryClip:
        rng = np.random.default_rng(order.seed)
        refused: list[tuple[str, str]] = []
        video = self._videos[order.video]
        for _ in range(_VIDEOS_TRIED):
            try:
                found = self._load(video, order, rng, tuple(refused))
            except InputError as error:
                refused.append((video.name, str(error)))
                found = None
            if found is not None:
                return found
            video = self._videos[int(rng.integers(len(self._videos)))]
        why = f"; the last one that cannot be read: {refused[-1][1]}" if refused else ""
        raise InputError(
            f"none of {_VIDEOS_TRIED} videos in a row has {self._clip.frames} frames at "
            f"{24 // ROW_STEP / self._clip.stride:g} a second with an object{why}: give longer "
            "videos, or another list with --videos"
        )

    def _load(
        self,
        video: SavVideo,
        order: ClipOrder,
        rng: Generator,
        refused: tuple[tuple[str, str], ...],
    ) -> MemoryClip | None:
        if self._reader is None:
            self._reader = SavReader(kept=0)  # clips share no frames
        masklets = self._reader.masklets(video)
        drawn = draw_clip(masklets.areas, self._clip, rng)
        if drawn is None:
            return None
        frames = self._reader.frames(video, [row * ROW_STEP for row in drawn.rows])
        masks = [[masklets.mask(row, column) for column in drawn.columns] for row in drawn.rows]
        config = self._clip.augmentation or _NOTHING
        pixels, squares = Augmentation.draw(config, len(frames), rng).apply(
            frames, masks, self._side
        )
        return MemoryClip(pixels, squares, order.predicted, video.name, refused)


_NOTHING = AugmentationConfig.none()


def normalized_pixels(pixels: Tensor, device: torch.device) -> Tensor:
    """(N, 3, S, S) float32 of bytes, with ImageNet's mean and deviation."""
    return normalized(pixels.to(device).float().div(255))
