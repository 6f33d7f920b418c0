"""What of the compact concept network recognises: arms trained on the same questions, some seeds.

    python benchmarks/concept_arms.py ASSETS [--steps 400] [--seeds 1,2,3] [--height 192]

ASSETS is the cache that `segment-concept train assets` writes. All arms begin untrained and see
the same clips, keyframes and queries in the same order, in frames smaller than those of the stage
`recognise` (a step costs with the square of their area); they are then asked about clips of
held-out cut-outs and backgrounds. A question is whether an object, known from keyframes, is in a
frame (half of them begin a shot, most shots without it hold another of its kind), and where.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.checkpoints.efficientnet import imagenet_backbone
from segment_concept.models.compact.concept import (
    ConceptNetwork,
    ConceptPath,
    ConceptWidths,
    KeyframeDescriptor,
)
from segment_concept.models.compact.layers import Linear
from segment_concept.models.compact.neck import Widths
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.synthetic import load
from segment_concept.train.data import ReplayBuffer, clip_requests
from segment_concept.train.loop import Stage
from segment_concept.train.stages import find_stage, fresh_model

HELD_OUT_SEED = 77  # clips of the questions that are only asked


class WithFeatures(ConceptNetwork):
    """The transformer also sees frozen features: the query's, and the mean of the keyframes'."""

    def __init__(self, widths: Widths, concept: ConceptWidths) -> None:
        super().__init__(widths, concept)
        self.features = Linear(widths.descriptor, concept.tokens)

    def _sequence(
        self, keyframes: Sequence[KeyframeDescriptor], query: Tensor, grid: tuple[int, int]
    ) -> Tensor:
        cells_32 = -(-grid[0] // 2) * -(-grid[1] // 2)
        seg, cells = super()._sequence(keyframes, query, grid).split([1, cells_32])
        on_grid = query.T.reshape(1, -1, *grid)
        pooled = F.avg_pool2d(on_grid, 2, ceil_mode=True).flatten(2)[0].T
        means = [
            torch.stack([getattr(each, part) for each in keyframes]).mean(0)
            for part in ("inside", "outside")
        ]
        return torch.cat([seg, cells + self.features(pooled), self.features(torch.stack(means))])


class FeaturesAlone(WithFeatures):
    """Features without similarity maps: the transformer has to compare them itself."""

    def _similarities(self, keyframes: Sequence[KeyframeDescriptor], query: Tensor) -> Tensor:
        return torch.zeros_like(super()._similarities(keyframes, query))


class WithoutTransformer(ConceptNetwork):
    """Maximum and mean of every similarity map, and two layers on these."""

    def __init__(self, widths: Widths, concept: ConceptWidths) -> None:
        super().__init__(widths, concept)
        self.read = Linear(8, self.widths.tokens)

    def forward(
        self,
        keyframes: Sequence[Sequence[KeyframeDescriptor]],
        query: Tensor,
        grid: tuple[int, int],
    ) -> Tensor:
        each = [self._similarities(*both) for both in zip(keyframes, query, strict=True)]
        read = torch.stack([torch.cat([maps.amax(0), maps.mean(0)]) for maps in each])
        concepts: Tensor = self.out(self.norm(self.read(read)))
        return concepts


ARMS: Mapping[str, type[ConceptNetwork]] = {
    "likeness maps": ConceptNetwork,
    "and features": WithFeatures,
    "features alone": FeaturesAlone,
    "maps, no transformer": WithoutTransformer,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("assets", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument(
        "--clips", type=int, default=100, help="held-out clips that are asked about"
    )
    parser.add_argument("--height", type=int, default=192, help="of frames, in 5 : 3")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    stage = find_stage("recognise", options.steps)
    size = {"height": options.height, "width": options.height * 5 // 3 // 32 * 32}
    stage = replace(stage, sampler=replace(stage.sampler, clip=replace(stage.sampler.clip, **size)))
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ARMS}
    for seed in (int(each) for each in options.seeds.split(",")):
        for name, figures in run(options.assets, stage, seed, options.clips).items():
            found[name].append(figures)
            print(f"seed {seed}  {name:30s} {_line([figures])}", flush=True)
    for name, each in found.items():
        print(f"{len(each)} seeds {name:30s} {_line(each)}")


def run(assets: Path, stage: Stage, seed: int, clips: int) -> dict[str, tuple[float, float]]:
    """Presence right and dice of the place, of held-out questions, for every arm."""
    world = fresh_model(assets, stage)
    arms = {name: _with_arm(world, network, seed) for name, network in ARMS.items()}
    optimizers = {
        name: torch.optim.AdamW(arm.concept.parameters(), lr=stage.schedule.rate, betas=(0.9, 0.98))
        for name, arm in arms.items()
        if arm.concept is not None
    }
    stock = ReplayBuffer(load(assets, "train"), stage.sampler, world.trunk)
    for step in range(stage.schedule.steps):
        drawn = clip_requests(stage.sampler, seed, step, 0, 1)
        for name, arm in arms.items():
            for group in optimizers[name].param_groups:
                group["lr"] = stage.schedule.rate_at(step)
            taken = [stock.take(portion) for portion in drawn]
            losses = stage.task.losses(arm, stage.policy, taken, stage.sampler.targets)
            optimizers[name].zero_grad()
            losses.total.backward()
            optimizers[name].step()
    return _asked(assets, stage, arms, clips)


def _with_arm(
    world: CompactSegmenter, network: type[ConceptNetwork], seed: int
) -> CompactSegmenter:
    torch.manual_seed(seed)
    path = ConceptPath(world.widths)
    path.network = network(world.widths, path.widths)
    arm = CompactSegmenter(imagenet_backbone(), world.network, path, short_side=world.short_side)
    arm.trunk.requires_grad_(False)
    return arm


def _asked(
    assets: Path, stage: Stage, arms: Mapping[str, CompactSegmenter], clips: int
) -> dict[str, tuple[float, float]]:
    fresh = replace(stage.sampler, fresh=1, replayed=0)
    stock = ReplayBuffer(load(assets, "held_out"), fresh, next(iter(arms.values())).trunk)
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for step in range(clips):
        for name, arm in arms.items():
            taken = [stock.take(p) for p in clip_requests(fresh, HELD_OUT_SEED, step, 0, 1)]
            with torch.inference_mode():
                measured = stage.task.losses(arm, stage.policy, taken, 4).measured
            figures[name].append((measured["presence_right"], 1 - measured["where"]))
    return {
        name: (float(np.mean([f[0] for f in each])), float(np.mean([f[1] for f in each])))
        for name, each in figures.items()
    }


def _line(figures: Sequence[tuple[float, float]]) -> str:
    said = []
    columns = zip(*figures, strict=True)
    for name, column in zip(("presence right", "dice of the place"), columns, strict=True):
        spread = f" +- {100 * statistics.stdev(column):.1f}" if len(column) > 1 else ""
        said.append(f"{name} {100 * statistics.mean(column):.1f}{spread}")
    return "  ".join(said)


if __name__ == "__main__":
    main()
