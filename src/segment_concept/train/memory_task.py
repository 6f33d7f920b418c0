"""Stage 1 of SeC as a training task: memory attention with 22 temporal embeddings."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.datasets.sav import HELD_OUT, SavVideo
from segment_concept.models.sam2.network import SamNetwork
from segment_concept.models.sam2.segmenter import Sam2Features
from segment_concept.tracking.memory import PlaybackPosition, Track
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.segmenter import Features, Proposals
from segment_concept.tracking.step import track_objects
from segment_concept.train.losses import MASK_TERMS, Losses, LossWeights, mask_losses
from segment_concept.train.memory_budget import Budget, budget_of
from segment_concept.train.memory_data import (
    ClipConfig,
    ClipOrder,
    MemoryClip,
    MemoryClipLoader,
    clip_orders,
    normalized_pixels,
)
from segment_concept.train.memory_validation import HeldOutClips, MemoryRow, report_of
from segment_concept.train.task import Schedule
from segment_concept.train.tell import TrainingModel, tell, training_segmenter

_TRAINED = ("memory_attention.", "memory_temporal_positional_encoding")
_ENCODED = 8  # frames that the image encoder reads at a time


def published_schedule(steps: int = 5000) -> Schedule:
    """Learning rate 5e-6, cosine to a tenth, no warm-up, gradient norm at most 0.1, no average."""
    return Schedule(
        steps=steps,
        rate=5e-6,
        last_rate=0.1,
        warm_up=0,
        weight_decay=0.1,
        clip=0.1,
        betas=(0.9, 0.999),
        average=None,
    )


@dataclass(frozen=True, slots=True)
class MemoryRecipe:
    """A training of stage 1; defaults are published.

    Attributes:
        name: of the recipe.
        clip: how clips are drawn.
        batch: clips of a step.
        schedule: of the optimizer.
        slots: temporal embeddings, and so memory maps that a frame attends to.
        pointers: object pointers that it attends to.
        weights: of the loss terms.
        seed: of data and dropout.
    """

    name: str
    clip: ClipConfig = field(default_factory=ClipConfig)
    batch: int = 32
    schedule: Schedule = field(default_factory=published_schedule)
    slots: int = 22
    pointers: int = 16
    weights: LossWeights = field(default_factory=LossWeights)
    seed: int = 123


class MemoryTask:
    """Implements `TrainingTask`: clips whose frames are partly told and partly predicted.

    Frame 0 is prompted with the true mask. Of the others, the `predicted` ones are segmented from
    memory and cost a loss; of the rest the truth is remembered. Nothing is detached: a predicted
    frame teaches what was remembered of earlier ones.

    Args:
        recipe: what to train on, and how.
        network: SAM 2.1 with as many slots as the recipe; only its memory attention and temporal
            embeddings are trained.
        videos: to train on.
        held_out: to validate on, empty for no validation.
        source: where the initial weights are from, for `recipe.json`.
        recompute: compute the memory attention again in the backward pass.
    """

    name = "memory"
    blocks: tuple[str, ...] = ("Block",)  # of the image encoder

    def __init__(
        self,
        recipe: MemoryRecipe,
        network: SamNetwork,
        videos: Sequence[SavVideo],
        held_out: "HeldOutClips | None",
        source: str,
        *,
        recompute: bool = False,
    ) -> None:
        self._recipe, self.network, self._videos = recipe, network, tuple(videos)
        self._held_out, self._source = held_out, source
        self.schedule, self.seed = recipe.schedule, recipe.seed
        self._recompute = recompute
        self._segmenter = training_segmenter(network, recompute=recompute)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith(_TRAINED))

    @cached_property
    def _policy(self) -> RecentMemory:
        clip = self._recipe.clip
        return RecentMemory(self._recipe.slots, self._recipe.pointers, video_length=clip.frames)

    def recipe(self) -> dict[str, Any]:
        """What must not change when a run is continued, for JSON."""
        recipe = asdict(self._recipe)
        names = [video.name for video in self._videos]
        return {
            **recipe,
            "recipe": recipe.pop("name"),
            "weights": self._source,
            "image_side": self.network.sizes.image_side,
            "videos": {"count": len(names), "sha256": sha256_of(names)},
            "held_out": None if self._held_out is None else f"sha256(name) % {HELD_OUT} == 0",
        }

    def groups(self) -> list[dict[str, Any]]:
        """Biases and norms do not decay, as published."""
        named = [(n, p) for n, p in self.network.named_parameters() if p.requires_grad]
        still = [p for n, p in named if "bias" in n or "norm" in n]
        chosen = {id(p) for p in still}
        return [
            {"params": [p for _, p in named if id(p) not in chosen]},
            {"params": still, "weight_decay": 0.0},
        ]

    def requests(self, step: int) -> Sequence[ClipOrder]:
        """The clips of a step."""
        recipe = self._recipe
        return clip_orders(recipe.clip, len(self._videos), recipe.batch, recipe.seed, step)

    def loader(self) -> MemoryClipLoader:
        """Reads and augments a clip."""
        return MemoryClipLoader(self._videos, self._recipe.clip, self.network.sizes.image_side)

    def counts(self, examples: Sequence[MemoryClip]) -> dict[str, float]:
        """All terms are summed over frames and divided by the objects, visible or not."""
        objects = float(sum(clip.masks.shape[1] for clip in examples))
        return dict.fromkeys(MASK_TERMS, objects)

    def losses(self, examples: Sequence[MemoryClip]) -> Losses:
        """Of some clips side by side."""
        device = self.network.device
        features = self._encoded(examples)
        truth = torch.cat([clip.masks for clip in examples], dim=1).to(device)  # (T, O, S, S)
        images = [n for n, clip in enumerate(examples) for _ in range(clip.masks.shape[1])]
        model = TrainingModel(self._segmenter, self._policy)
        objects: list[tuple[Track, ...]] = [()] * len(images)
        objects = tell(model, features[0], PlaybackPosition(0), truth[0], objects, images)
        predicted = frozenset(examples[0].predicted)
        losses: list[Losses] = []
        for t in range(1, max(predicted) + 1):
            position = PlaybackPosition(t)
            if t not in predicted:
                objects = tell(model, features[t], position, truth[t], objects, images)
                continue
            unknown = [None] * len(images)
            step = track_objects(model, features[t], position, objects, unknown, images)
            objects = [state.tracks for state in step.states]
            losses.append(self._loss(step.proposals, truth[t]))
        return sum(losses[1:], start=losses[0])

    def _loss(self, proposals: Proposals, truth: Tensor) -> Losses:
        """At the size of the input, of masks that are empty where the object is judged absent."""
        silent = proposals.suppress_absent([0.0] * len(proposals))
        large = F.interpolate(silent.logits, truth.shape[-2:], mode="bilinear")
        return mask_losses(
            large, proposals.iou, proposals.presence, truth.float(), self._recipe.weights
        )

    def _encoded(self, clips: Sequence[MemoryClip]) -> list[Features[Sam2Features]]:
        """Features of every frame, of all clips: no gradient reaches the image encoder."""
        frames = len(clips[0].pixels)
        # frame by frame: the clips of a frame are neighbors
        pixels = torch.stack([clip.pixels for clip in clips], dim=1).flatten(0, 1)
        with torch.no_grad():
            parts = [
                self._segmenter.encode_pixels(
                    normalized_pixels(chunk, self.network.device), chunk.shape[-2:]
                ).maps
                for chunk in pixels.split(_ENCODED)
            ]
        levels = [
            torch.cat([getattr(part, name) for part in parts]).unflatten(0, (frames, len(clips)))
            for name in ("quarter", "eighth", "coarse")
        ]
        size = (pixels.shape[-2], pixels.shape[-1])
        return [
            Features(Sam2Features(*(level[t] for level in levels)), size) for t in range(frames)
        ]

    def validation_rows(self, rank: int, ranks: int) -> list[MemoryRow]:
        """Predict frames of held-out clips, and track held-out videos in order."""
        if self._held_out is None:
            return []
        return self._held_out.rows(self.network, self.losses, rank, ranks)

    def report(self, rows: Sequence[MemoryRow]) -> dict[str, float]:
        """See `memory_validation.report_of`."""
        return report_of(rows)

    def budget(self) -> Budget:
        """An estimate of what the training needs."""
        return budget_of(self.network, self._recipe.clip, recompute=self._recompute)

    def describe(self, request: ClipOrder) -> str:
        """The video that was meant first."""
        return f"a clip of {self._videos[request.video].name}"


def sha256_of(names: Sequence[str]) -> str:
    """Of a list of names, one a line."""
    return hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()
