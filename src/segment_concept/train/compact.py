"""The stages of the compact model as training tasks of the loop."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from segment_concept.checkpoints.strict_keys import refuse_unknown_keys
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.recipes.catalog import sec_compact
from segment_concept.synthetic import Clip
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.tracker import Tracker
from segment_concept.train.data import (
    ClipLoader,
    ClipRequest,
    ReplayBuffer,
    SamplerConfig,
    load_world,
    step_requests,
)
from segment_concept.train.losses import Losses
from segment_concept.train.run_state import trained_weights
from segment_concept.train.task import LoopOptions, Schedule
from segment_concept.train.unroll import TrackingTask
from segment_concept.train.validation import ValidationRow, report_of, validate, validation_clips

Rendered: TypeAlias = tuple[ClipRequest, Clip | None]  # None: of the stock


@dataclass(frozen=True, slots=True)
class Stage:
    """A complete, frozen description of one training run of the compact model."""

    name: str
    sampler: SamplerConfig
    schedule: Schedule
    task: TrackingTask = field(default_factory=TrackingTask)
    policy: MemoryPolicy = field(default_factory=lambda: RecentMemory(slots=7, pointers=8))
    validation_clips: int = 24
    validate_every: int = 400
    save_every: int = 100
    log_every: int = 20
    seed: int = 1
    short_side: int = 256
    kept: float = 0.0  # share of the initial weights in those that it passes on

    def options(self, device: str) -> LoopOptions:
        """How the loop runs the stage."""
        return LoopOptions(
            prefetch=4,
            device=device,
            save_every=self.save_every,
            validate_every=self.validate_every,
            log_every=self.log_every,
        )


class CompactTraining:
    """Implements `TrainingTask`: the network behind the trunk.

    The losses of a micro-batch are means over its clips, as the recipes were tuned: a step is the
    same only if every process takes its share of the clips at once.

    Args:
        segmenter: the model; trunk and verifier are frozen.
        stage: what to train and how.
        data: folder of the training world.
    """

    blocks: tuple[str, ...] = ()

    def __init__(self, segmenter: CompactSegmenter, stage: Stage, data: Path) -> None:
        self.segmenter, self.stage, self._data = segmenter, stage, data
        self.name, self.schedule, self.seed = stage.name, stage.schedule, stage.seed
        self.network = segmenter.network
        segmenter.requires_grad_(False)
        self.network.requires_grad_(True)

    @cached_property
    def _stock(self) -> ReplayBuffer:
        sampler = self.stage.sampler
        world = load_world(self._data, sampler, "train")
        return ReplayBuffer(world, sampler, self.segmenter.trunk)

    @cached_property
    def _held_out(self) -> list[Clip]:
        world = load_world(self._data, self.stage.sampler, "held_out")
        return validation_clips(world, self.stage.sampler, self.stage.validation_clips)

    def recipe(self) -> dict[str, Any]:
        stage = self.stage
        return {
            "sampler": asdict(stage.sampler),
            "schedule": asdict(stage.schedule),
            "training": asdict(stage.task),
            "seed": stage.seed,
            "short_side": stage.short_side,
        }

    def groups(self) -> list[dict[str, Any]]:
        """Matrices decay; biases, norms, embeddings and gains do not."""
        named = [(n, p) for n, p in self.network.named_parameters() if p.requires_grad]
        matrices = [p for n, p in named if p.ndim > 1 and "queries" not in n and "age" not in n]
        chosen = {id(p) for p in matrices}
        return [
            {"params": matrices},
            {"params": [p for _, p in named if id(p) not in chosen], "weight_decay": 0.0},
        ]

    def requests(self, step: int) -> Sequence[ClipRequest]:
        return step_requests(self.stage.sampler, self.seed, step)

    def loader(self) -> ClipLoader:
        return ClipLoader(self._data, self.stage.sampler)

    def counts(self, examples: Sequence[Rendered]) -> dict[str, float]:
        return {"loss": float(len(examples))}

    def losses(self, examples: Sequence[Rendered]) -> Losses:
        self.segmenter.train()
        for request, clip in examples:
            if clip is not None:
                self._stock.add(request.clip_seed, clip)
        clips = [self._stock.take(request) for request, _ in examples]
        stage = self.stage
        found = stage.task.losses(self.segmenter, stage.policy, clips, stage.sampler.targets)
        count = float(len(clips))
        measured = {name: (value * count, count) for name, value in found.measured.items()}
        return Losses({"loss": found.total * count}, {"loss": count}, measured)

    def validation_rows(self, rank: int, ranks: int) -> list[ValidationRow]:
        tracker = tracker_of(self.segmenter.eval(), self.stage)
        return validate(tracker, list(enumerate(self._held_out))[rank::ranks])

    def report(self, rows: Sequence[ValidationRow]) -> dict[str, float]:
        found = asdict(report_of(rows))
        return {"score": found["j"], **found}

    def describe(self, request: ClipRequest) -> str:
        return f"clip {request.clip_seed}"


def tracker_of(segmenter: CompactSegmenter, stage: Stage) -> Tracker:
    """The tracker to validate, with the recipe's refiner and no concepts."""
    return Tracker(segmenter, stage.policy, refiner=sec_compact().refiner)


def take_over(segmenter: CompactSegmenter, run: Path) -> None:
    """Load the weights that a run of a stage made, or their average.

    Raises:
        CheckpointError: there is no state in `run`, or it is of another network, or of another
            version of this one.
    """
    given, expected = trained_weights(run), set(segmenter.network.state_dict())
    refuse_unknown_keys(
        unknown=given.keys() - expected,
        missing=expected - given.keys(),
        network="the network of this version's compact model",
        hint="Go on from an exported model, or train it again.",
    )
    segmenter.network.load_state_dict(given)


def measure_levels(segmenter: CompactSegmenter, clips: Sequence[Tensor]) -> None:
    """Set the neck's channel means and deviations from frames (T, 3, H, W) of some clips."""
    neck = segmenter.network.neck
    with torch.inference_mode():
        levels = [segmenter.trunk(clip) for clip in clips]
    for i in range(len(levels[0])):
        flat = torch.cat([level[i].transpose(0, 1).flatten(1) for level in levels], dim=1)
        getattr(neck, f"mean{i}").copy_(flat.mean(1)[None, :, None, None])
        getattr(neck, f"deviation{i}").copy_(flat.std(1)[None, :, None, None] + 1e-3)
