"""Named, complete training runs of the compact model."""

from dataclasses import replace
from pathlib import Path

import torch

from segment_concept.checkpoints.compact import load_compact
from segment_concept.checkpoints.trunk import imagenet_trunk
from segment_concept.data.synthetic import ClipSpec, load, render_clip
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.train.loop import Schedule, Stage, measure_levels
from segment_concept.train.samples import Diet
from segment_concept.types import InputError


def base(steps: int = 3000) -> Stage:
    """From nothing, on small wide frames: cheap steps first."""
    return Stage(
        name="base",
        diet=Diet(ClipSpec(frames=5, height=192, width=320), fresh=1, replayed=2),
        schedule=Schedule(steps=steps),
    )


def fine(steps: int = 1500) -> Stage:
    """Goes on at the size of inference, with longer clips."""
    stage = base(steps)
    return replace(
        stage,
        name="fine",
        diet=Diet(ClipSpec(frames=6, height=256, width=448), fresh=1, replayed=1),
        schedule=Schedule(steps=steps, rate=3e-4, warm_up=50),
        seed=2,
    )


STAGES = {stage.__name__: stage for stage in (base, fine)}


def find_stage(name: str, steps: int | None = None) -> Stage:
    """The stage of that name, with another number of steps where given.

    Raises:
        InputError: there is no such stage.
    """
    if name not in STAGES:
        raise InputError(f"there is no training stage {name!r}: there are {', '.join(STAGES)}")
    return STAGES[name]() if steps is None else STAGES[name](steps)


def continue_from(segmenter: CompactSegmenter, state: Path) -> None:
    """Take over the averaged weights of an earlier stage's state.pt, or an exported model."""
    if state.suffix == ".safetensors":
        segmenter.load_state_dict(load_compact(state).state_dict())
        return
    known = torch.load(state, map_location="cpu", weights_only=True)
    segmenter.network.load_state_dict(known["average"])


def fresh_model(assets: Path, stage: Stage) -> CompactSegmenter:
    """An untrained network over the ImageNet trunk, its input levels measured on some clips."""
    torch.manual_seed(stage.seed)
    segmenter = CompactSegmenter(imagenet_trunk().channels_last(), short_side=stage.short_side)
    cutouts = load(assets, "train")
    clips = [render_clip(cutouts, stage.diet.clip, seed) for seed in range(24)]
    pixels = [torch.from_numpy(clip.rgb).permute(0, 3, 1, 2).float() for clip in clips]
    measure_levels(segmenter, pixels)
    return segmenter
