"""Named, complete training runs of the compact model."""

from dataclasses import replace
from pathlib import Path

import torch

from segment_concept.checkpoints.trunk import imagenet_trunk
from segment_concept.data.synthetic import ClipSpec, load, render_clip
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.train.loop import Schedule, Stage, measure_levels
from segment_concept.train.samples import Diet


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


def fresh_model(assets: Path, stage: Stage) -> CompactSegmenter:
    """An untrained network over the ImageNet trunk, its input levels measured on some clips."""
    torch.manual_seed(stage.seed)
    segmenter = CompactSegmenter(imagenet_trunk().channels_last(), short_side=stage.short_side)
    cutouts = load(assets, "train")
    clips = [render_clip(cutouts, stage.diet.clip, seed) for seed in range(24)]
    pixels = [torch.from_numpy(clip.rgb).permute(0, 3, 1, 2).float() for clip in clips]
    measure_levels(segmenter, pixels)
    return segmenter
