"""The training loop: resumable from any interruption, on one process or several."""

import json
import logging
import math
import os
import pickle
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from segment_concept.checkpoints.strict_keys import refuse_unknown_keys
from segment_concept.models.compact.concept_encoder import CompactConceptEncoder
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.recipes.catalog import sec_compact
from segment_concept.runtime.files import locked
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import Trigger
from segment_concept.train.concept import RecognitionTask
from segment_concept.train.data import (
    ClipPrefetcher,
    ReplayBuffer,
    SamplerConfig,
    clip_requests,
    load_world,
)
from segment_concept.train.unroll import TrainingTask
from segment_concept.train.validation import Report, validate, validation_clips
from segment_concept.types import CheckpointError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Schedule:
    """AdamW with a linear warm-up and a cosine to `last_rate` of the learning rate."""

    steps: int
    rate: float = 6e-4
    last_rate: float = 0.03
    warm_up: int = 100
    weight_decay: float = 0.02
    clip: float = 1.0
    average: float = 0.998  # of the weights, exponential

    def rate_at(self, step: int) -> float:
        warm = min(1.0, (step + 1) / max(1, self.warm_up))
        wave = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        return self.rate * warm * (self.last_rate + (1 - self.last_rate) * wave)


@dataclass(frozen=True, slots=True)
class Stage:
    """A complete, frozen description of one training run."""

    name: str
    sampler: SamplerConfig
    schedule: Schedule
    task: TrainingTask | RecognitionTask = field(default_factory=TrainingTask)
    policy: MemoryPolicy = field(default_factory=lambda: RecentMemory(slots=7, pointers=8))
    trigger: Trigger = field(default_factory=lambda: sec_compact().trigger)  # of validation
    validation_clips: int = 24
    validate_every: int = 400
    save_every: int = 100
    log_every: int = 20
    seed: int = 1
    short_side: int = 256
    kept: float = 0.0  # share of the initial weights in those that it passes on


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of how many processes this is, as `torchrun` says it."""

    rank: int
    count: int

    @classmethod
    def from_environment(cls) -> "Ranks":
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def train(segmenter: CompactSegmenter, stage: Stage, data: Path, out: Path) -> Report:
    """Train everything behind the trunk, or the concept path alone; what is in `out` is continued.

    Writes `out/state.pt` (weights, their average, optimizer, step), `out/log.jsonl`, and events
    for TensorBoard if that is installed. Returns scores of the averaged weights on held-out clips.

    Raises:
        InputError: another run is writing to `out`.
    """
    ranks = Ranks.from_environment()
    if ranks.count > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")
    out.mkdir(parents=True, exist_ok=True)
    # Two runs in one folder would overwrite each other's state; one process speaks for a run.
    guard = locked(out / ".lock", out) if ranks.rank == 0 else nullcontext()
    with guard:
        run = _Run(segmenter, stage, data, out, ranks)
        run.resume()
        report = run.go()
    if ranks.count > 1:
        dist.barrier()
        dist.destroy_process_group()
    return report


class _Run:
    """The mutable state of a run."""

    def __init__(
        self, segmenter: CompactSegmenter, stage: Stage, data: Path, out: Path, ranks: Ranks
    ) -> None:
        self.segmenter, self.stage, self.out, self.ranks = segmenter, stage, out, ranks
        self.data = data
        self.trained = _trained(segmenter, stage)
        segmenter.requires_grad_(False)
        task = stage.task
        for name, parameter in self.trained.named_parameters():
            parameter.requires_grad_(
                name.startswith(task.taught) and not name.startswith(task.frozen)
            )
        self.optimizer = torch.optim.AdamW(
            _decayed(self.trained, stage.schedule.weight_decay),
            lr=stage.schedule.rate,
            betas=(0.9, 0.98),
        )
        self.average = {k: v.detach().clone() for k, v in self.trained.state_dict().items()}
        self.step, self.seconds = 0, 0.0
        self.stock = ReplayBuffer(
            load_world(data, stage.sampler, "train"), stage.sampler, segmenter.trunk
        )
        self.held_out = (
            validation_clips(
                load_world(data, stage.sampler, "held_out"), stage.sampler, stage.validation_clips
            )
            if ranks.rank == 0
            else []
        )
        self.board = _board(out) if ranks.rank == 0 else None

    def resume(self) -> None:
        path = self.out / "state.pt"
        if path.exists():
            state = read_state(path)
            take_over(self.segmenter, state)
            saved = state["average"]
            self.average = {k: saved[k].to(v.device) for k, v in self.average.items()}
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]
            log.info("continuing %s at step %d", self.out, self.step)

    def go(self) -> Report:
        stage, ranks = self.stage, self.ranks
        steps = range(self.step, stage.schedule.steps)
        fresh = DataLoader(
            ClipPrefetcher(
                str(self.data), stage.sampler, stage.seed, steps, ranks.rank, ranks.count
            ),
            batch_size=None,
            num_workers=1,
            prefetch_factor=4,
            multiprocessing_context="spawn",  # a fork inherits OpenCV's dead thread pool
        )
        measured: list[dict[str, float]] = []
        began, mark = time.monotonic() - self.seconds, time.monotonic()
        for step, rendered in zip(steps, fresh, strict=True):
            for clip_seed, clip in rendered:
                self.stock.add(clip_seed, clip)
            measured.append(self._learn(step))
            self.step, self.seconds = step + 1, time.monotonic() - began
            if ranks.rank == 0 and self.step % stage.log_every == 0:
                self._log(
                    "train",
                    _means(measured) | {"s_per_step": (time.monotonic() - mark) / len(measured)},
                )
                measured, mark = [], time.monotonic()
            if self.step % stage.validate_every == 0 and self.step < stage.schedule.steps:
                self._validate()
            if ranks.rank == 0 and self.step % stage.save_every == 0:
                self._save()
        report = self._validate()
        if ranks.rank == 0:
            self._save()
        return report

    def _learn(self, step: int) -> dict[str, float]:
        stage = self.stage
        self.segmenter.train()
        clips = [
            self.stock.take(portion)
            for portion in clip_requests(
                stage.sampler, stage.seed, step, self.ranks.rank, self.ranks.count
            )
        ]
        for group in self.optimizer.param_groups:
            group["lr"] = stage.schedule.rate_at(step)
        losses = stage.task.losses(self.segmenter, stage.policy, clips, stage.sampler.targets)
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        if self.ranks.count > 1:
            _average_gradients(self.trained, self.ranks.count)
        norm = nn.utils.clip_grad_norm_(self.trained.parameters(), stage.schedule.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
        else:
            log.warning("step %d: the gradient is not finite, the step is skipped", step)
        self._update_average()
        return losses.measured | {"loss": losses.total.item(), "gradient": norm.item()}

    def _update_average(self) -> None:
        keep = min(self.stage.schedule.average, (self.step + 1) / (self.step + 20))
        weights = self.trained.state_dict()
        with torch.no_grad():
            for name, mean in self.average.items():
                mean.lerp_(weights[name], 1 - keep)

    def _validate(self) -> Report:
        """Validate the averaged weights; other ranks wait at their next step's gradients."""
        if self.ranks.rank != 0:
            return Report(*[math.nan] * 7)
        kept = {k: v.clone() for k, v in self.trained.state_dict().items()}
        self.trained.load_state_dict(self.average)
        report = validate(tracker_of(self.segmenter.eval(), self.stage), self.held_out)
        self._log("held_out", asdict(report))
        self.trained.load_state_dict(kept)
        return report

    def _weights(self) -> dict[str, Any]:
        """Of every part behind the trunk that there is."""
        parts = {"network": self.segmenter.network, "concept": self.segmenter.concept}
        return {name: part.state_dict() for name, part in parts.items() if part is not None}

    def _save(self) -> None:
        _write(
            self.out / "state.pt",
            {
                **self._weights(),
                "part": self.stage.task.part,
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "seconds": self.seconds,
            },
        )

    def _log(self, kind: str, values: dict[str, float]) -> None:
        row = {"kind": kind, "step": self.step, "seconds": round(self.seconds, 1)}
        row |= {k: round(v, 5) for k, v in values.items()}
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        log.info("%s", row)
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(f"{kind}/{name}", value, self.step)


def _trained(segmenter: CompactSegmenter, stage: Stage) -> nn.Module:
    """What a stage trains; the rest is frozen."""
    parts = {"network": segmenter.network, "concept": segmenter.concept}
    part = parts[stage.task.part]
    if part is None:
        raise ValueError(f"stage {stage.name} trains a concept path: give the model one")
    return part


def tracker_of(segmenter: CompactSegmenter, stage: Stage) -> Tracker:
    """The tracker to validate: with the recipe's refiner, and with concepts if they are trained."""
    tracker = Tracker(segmenter, stage.policy, refiner=sec_compact().refiner)
    if stage.task.part != "concept":
        return tracker
    encoder = CompactConceptEncoder(segmenter)
    return replace(tracker, trigger=stage.trigger, concept=encoder)


def read_state(path: Path) -> dict[str, Any]:
    """The state.pt of a run.

    Raises:
        CheckpointError: there is no such file, or it is none of a training run.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}: check the name") from None
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged, or no checkpoint of a training run") from error
    if not isinstance(state, dict) or not {"network", "step"} <= state.keys():
        raise CheckpointError(f"{path} is no state.pt of a training run")
    return state


def averaged(state: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """The weights to use of a state.pt, by part: `network`, and `concept` if it has one.

    Of the part that was being trained, its average.
    """
    parts = {part: state[part] for part in ("network", "concept") if part in state}
    if "average" in state:
        parts[state.get("part", "network")] = state["average"]
    return parts


def take_over(segmenter: CompactSegmenter, parts: Mapping[str, Any]) -> None:
    """Load the parts that both have.

    Raises:
        CheckpointError: a part is of another network, or of another version of this one.
    """
    for part in ("network", "concept"):
        module = getattr(segmenter, part)
        if module is None or part not in parts:
            continue
        expected, given = set(module.state_dict()), set(parts[part])
        refuse_unknown_keys(
            unknown=given - expected,
            missing=expected - given,
            network=f"the {part} of this version's compact model",
            hint="Go on from an exported model, or train it again.",
        )
        module.load_state_dict(parts[part])


def _decayed(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms, embeddings and gains do not."""
    named = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
    matrices = [p for n, p in named if p.ndim > 1 and "queries" not in n and "age" not in n]
    chosen = {id(p) for p in matrices}
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": [p for _, p in named if id(p) not in chosen], "weight_decay": 0.0},
    ]


def _average_gradients(network: nn.Module, count: int) -> None:
    learning = [p for p in network.parameters() if p.requires_grad]
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in learning]
    flat = torch.cat([g.flatten() for g in grads])
    shared = flat.cpu()  # processes that share a GPU can only meet there
    dist.all_reduce(shared)
    flat = shared.to(flat.device)
    start = 0
    for p in learning:
        p.grad = (flat[start : start + p.numel()] / count).view_as(p)
        start += p.numel()


def measure_levels(segmenter: CompactSegmenter, clips: Sequence[Tensor]) -> None:
    """Set the neck's channel means and deviations from frames (T, 3, H, W) of some clips."""
    neck = segmenter.network.neck
    with torch.inference_mode():
        levels = [segmenter.trunk(clip) for clip in clips]
    for i in range(len(levels[0])):
        flat = torch.cat([level[i].transpose(0, 1).flatten(1) for level in levels], dim=1)
        getattr(neck, f"mean{i}").copy_(flat.mean(1)[None, :, None, None])
        getattr(neck, f"deviation{i}").copy_(flat.std(1)[None, :, None, None] + 1e-3)


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for row in rows for name in row})
    return {
        name: sum(row[name] for row in rows if name in row) / sum(name in row for row in rows)
        for name in names
    }


def _write(path: Path, state: dict[str, Any]) -> None:
    """Atomically: an interruption leaves the old file whole."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _board(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("TensorBoard is not installed; figures go to %s only", out / "log.jsonl")
        return None
    return SummaryWriter(str(out / "events"))
