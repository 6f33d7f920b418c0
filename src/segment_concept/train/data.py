"""What a step trains on, as a function of (seed, step, rank): nothing has to be saved to resume.

Every step takes a few clips never seen before and replays some of the latest with other targets
and prompts, or played backwards. The trunk is frozen, so its features are kept and replayed.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from segment_concept.models.compact.backbone import Backbone
from segment_concept.synthetic import Assets, Clip, ClipSpec, load, render_clip
from segment_concept.synthetic.photo_clip import PhotoClipSpec, render_photo_clip
from segment_concept.synthetic.photos import Part, Photos, load_photos


@dataclass(frozen=True, slots=True)
class SamplerConfig:
    """How clips are drawn.

    `fresh` and `replayed` clips a step and rank; replays come from the last `stock` fresh ones.
    """

    clip: ClipSpec
    fresh: int = 1
    replayed: int = 2
    stock: int = 600
    targets: int = 2  # objects of a clip that are followed, at most
    photos: PhotoClipSpec | None = None  # same number and size of frames as `clip`
    photo_share: float = 0.0  # share of clips made of photographs

    def __post_init__(self) -> None:
        if self.photo_share and self.photos is None:
            raise ValueError("photo_share above 0 needs a PhotoClipSpec: set `photos`")


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """The material that clips are made of."""

    assets: Assets
    photos: Photos | None = None

    def clip(self, sampler: SamplerConfig, seed: int) -> Clip:
        """The clip of a seed: rendered or made of photographs."""
        if sampler.photos is None or self.photos is None:
            return render_clip(self.assets, sampler.clip, seed)
        # Independent of the renderers, whose streams start with [seed, 0].
        if np.random.default_rng([seed, 1, 0]).random() >= sampler.photo_share:
            return render_clip(self.assets, sampler.clip, seed)
        return render_photo_clip(self.photos, sampler.photos, seed)


def load_world(data: Path, sampler: SamplerConfig, part: Part) -> World:
    """The training or held-out part of a data folder: `assets.npz`, and `photos` if needed.

    Raises:
        InputError: a file that the sampler needs is missing.
    """
    photos = load_photos(data / "photos", part) if sampler.photo_share else None
    return World(load(data / "assets.npz", part), photos)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One clip as the network sees it."""

    levels: tuple[Tensor, ...]  # each (T, C, h, w) float16, trunk features
    labels: NDArray[np.uint8]  # (T, H, W)
    targets: tuple[int, ...]  # visible enough on the first frame
    cuts: tuple[int, ...] = ()  # first frame of every shot but the first

    def reversed(self, least_area: int) -> "Sample | None":
        """Played backwards, if anything is visible enough on the last frame."""
        areas = np.bincount(self.labels[-1].ravel(), minlength=2)
        targets = tuple(i for i in range(1, len(areas)) if areas[i] >= least_area)
        if not targets:
            return None
        return Sample(
            tuple(level.flip(0) for level in self.levels),
            self.labels[::-1].copy(),
            targets,
            tuple(len(self.labels) - cut for cut in reversed(self.cuts)),
        )


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """A clip of a step: which one, and the seed of the choices made with it."""

    clip_seed: int
    choice_seed: int
    replay: bool


def clip_requests(
    sampler: SamplerConfig, seed: int, step: int, rank: int, ranks: int
) -> list[ClipRequest]:
    """The clips of a step."""
    rng = np.random.default_rng([seed, step, rank])
    first = step * sampler.fresh
    fresh = [_clip_seed(seed, rank, ranks, first + i) for i in range(sampler.fresh)]
    known = range(max(0, first - sampler.stock), first)
    old = [
        _clip_seed(seed, rank, ranks, int(rng.integers(known.start, known.stop)))
        for _ in range(sampler.replayed if len(known) else 0)
    ]
    choices = [int(c) for c in rng.integers(0, 2**31, len(fresh) + len(old))]
    flags = [False] * len(fresh) + [True] * len(old)
    return [ClipRequest(s, c, r) for s, c, r in zip((*fresh, *old), choices, flags, strict=True)]


def _clip_seed(seed: int, rank: int, ranks: int, number: int) -> int:
    return (seed << 32) + number * ranks + rank


class ReplayBuffer:
    """The latest clips with their trunk features; one that is gone is rendered again."""

    def __init__(self, world: World, sampler: SamplerConfig, trunk: Backbone) -> None:
        self._world, self._sampler, self._trunk = world, sampler, trunk
        self._device = next(trunk.parameters()).device
        self._kept: OrderedDict[int, Sample] = OrderedDict()

    def add(self, clip_seed: int, clip: Clip) -> None:
        """Keep a clip that was rendered elsewhere."""
        pixels = torch.from_numpy(clip.rgb).permute(0, 3, 1, 2).to(self._device).float()
        with torch.inference_mode():
            levels = self._trunk(pixels.contiguous(memory_format=torch.channels_last))
        half = tuple(level.half().contiguous().clone() for level in levels)
        self._kept[clip_seed] = Sample(half, clip.labels, clip.targets, clip.cuts)
        while len(self._kept) > self._sampler.stock + self._sampler.fresh:
            self._kept.popitem(last=False)

    def take(self, portion: ClipRequest) -> tuple[Sample, Generator]:
        """The clip of a portion, and the generator of the choices to be made with it."""
        if portion.clip_seed not in self._kept:
            self.add(portion.clip_seed, self._world.clip(self._sampler, portion.clip_seed))
        sample = self._kept[portion.clip_seed]
        rng = np.random.default_rng(portion.choice_seed)
        if portion.replay and rng.random() < 0.5:
            sample = sample.reversed(self._sampler.clip.least_area) or sample
        return sample, rng


class ClipPrefetcher(torch.utils.data.IterableDataset[list[tuple[int, Clip]]]):
    """Renders the fresh clips of each step ahead of it, in a worker process."""

    def __init__(
        self,
        data: str,
        sampler: SamplerConfig,
        seed: int,
        steps: range,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__()
        self._data, self._sampler, self._seed, self._steps = data, sampler, seed, steps
        self._rank, self._ranks = rank, ranks

    def __iter__(self) -> Iterator[list[tuple[int, Clip]]]:
        import cv2

        cv2.setNumThreads(1)
        world = load_world(Path(self._data), self._sampler, "train")
        for step in self._steps:
            wanted = clip_requests(self._sampler, self._seed, step, self._rank, self._ranks)
            yield [
                (p.clip_seed, world.clip(self._sampler, p.clip_seed))
                for p in wanted
                if not p.replay
            ]
