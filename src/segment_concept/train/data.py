"""What a step trains on, as a function of (seed, step): nothing has to be saved to resume.

Every step takes a few clips never seen before and replays some of the latest with other targets
and prompts, or played backwards. The trunk is frozen, so its features are kept and replayed.
"""

from collections import OrderedDict
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
from segment_concept.synthetic.variation import vary_frames

_BITS = 32  # of a clip's seed for its number; the seed of the stage is above them
_NUMBER = (1 << _BITS) - 1


@dataclass(frozen=True, slots=True)
class SamplerConfig:
    """How clips are drawn.

    A step has `fresh` and `replayed` clips of every stream; replays come from the last `stock`
    fresh ones of their stream. A process that trains on whole streams keeps what it replays.
    """

    clip: ClipSpec
    fresh: int = 1
    replayed: int = 2
    stock: int = 600
    targets: int = 2  # objects of a clip that are followed, at most
    photos: PhotoClipSpec | None = None  # same number and size of frames as `clip`
    photo_share: float = 0.0  # share of clips made of photographs
    varied: float = 0.0  # share of clips whose frames differ more, see `synthetic/variation.py`
    streams: int = 1

    def __post_init__(self) -> None:
        if self.photo_share and self.photos is None:
            raise ValueError("photo_share above 0 needs a PhotoClipSpec: set `photos`")


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """The material that clips are made of."""

    assets: Assets
    photos: Photos | None = None

    def clip(self, sampler: SamplerConfig, seed: int) -> Clip:
        """The clip of a seed: rendered or made of photographs, its frames varied or not."""
        # Independent of the renderers, whose streams start with [seed, 0].
        rng = np.random.default_rng([seed, 1, 0])
        photos, spec = self.photos, sampler.photos
        if photos is not None and spec is not None and rng.random() < sampler.photo_share:
            clip = render_photo_clip(photos, spec, seed)
        else:
            clip = render_clip(self.assets, sampler.clip, seed)
        return vary_frames(clip, rng) if rng.random() < sampler.varied else clip


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
    composed: tuple[int, ...] = ()  # objects of two things: a click or box cannot show them

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
            self.composed,
        )


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """A clip of a step: which one, and the seed of the choices made with it."""

    clip_seed: int
    choice_seed: int
    replay: bool


def step_requests(sampler: SamplerConfig, seed: int, step: int) -> list[ClipRequest]:
    """The clips of a step, stream by stream."""
    return [
        request
        for stream in range(sampler.streams)
        for request in clip_requests(sampler, seed, step, stream)
    ]


def clip_requests(sampler: SamplerConfig, seed: int, step: int, stream: int) -> list[ClipRequest]:
    """The clips of a step in one stream."""
    rng = np.random.default_rng([seed, step, stream])
    first = step * sampler.fresh

    def clip_seed(number: int) -> int:
        return (seed << _BITS) + number * sampler.streams + stream

    fresh = [clip_seed(first + i) for i in range(sampler.fresh)]
    known = range(max(0, first - sampler.stock), first)
    old = [
        clip_seed(int(rng.integers(known.start, known.stop)))
        for _ in range(sampler.replayed if len(known) else 0)
    ]
    choices = [int(c) for c in rng.integers(0, 2**31, len(fresh) + len(old))]
    flags = [False] * len(fresh) + [True] * len(old)
    return [ClipRequest(s, c, r) for s, c, r in zip((*fresh, *old), choices, flags, strict=True)]


class ReplayBuffer:
    """The latest clips with their trunk features; one that is gone is rendered again."""

    def __init__(self, world: World, sampler: SamplerConfig, trunk: Backbone) -> None:
        self._world, self._sampler, self._trunk = world, sampler, trunk
        self._device = next(trunk.parameters()).device
        self._kept: list[OrderedDict[int, Sample]] = [OrderedDict() for _ in range(sampler.streams)]

    def add(self, clip_seed: int, clip: Clip) -> None:
        """Keep a clip that was rendered elsewhere."""
        pixels = torch.from_numpy(clip.rgb).permute(0, 3, 1, 2).to(self._device).float()
        with torch.inference_mode():
            levels = self._trunk(pixels.contiguous(memory_format=torch.channels_last))
        half = tuple(level.half().contiguous().clone() for level in levels)
        kept = self._stream(clip_seed)
        kept[clip_seed] = Sample(half, clip.labels, clip.targets, clip.cuts, clip.composed)
        while len(kept) > self._sampler.stock + self._sampler.fresh:
            kept.popitem(last=False)

    def _stream(self, clip_seed: int) -> "OrderedDict[int, Sample]":
        return self._kept[(clip_seed & _NUMBER) % self._sampler.streams]

    def take(self, request: ClipRequest) -> tuple[Sample, Generator]:
        """The clip of a request, and the generator of the choices to be made with it."""
        kept = self._stream(request.clip_seed)
        if request.clip_seed not in kept:
            self.add(request.clip_seed, self._world.clip(self._sampler, request.clip_seed))
        sample = kept[request.clip_seed]
        rng = np.random.default_rng(request.choice_seed)
        if request.replay and rng.random() < 0.5:
            sample = sample.reversed(self._sampler.clip.least_area) or sample
        return sample, rng


class ClipLoader:
    """Renders fresh clips, in a worker process; replayed ones come from the stock."""

    def __init__(self, data: Path, sampler: SamplerConfig) -> None:
        self._data, self._sampler = data, sampler
        self._world: World | None = None

    def __call__(self, request: ClipRequest) -> tuple[ClipRequest, Clip | None]:
        if request.replay:
            return request, None
        if self._world is None:
            self._world = load_world(self._data, self._sampler, "train")
        return request, self._world.clip(self._sampler, request.clip_seed)
