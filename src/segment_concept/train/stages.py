"""Named, complete training runs of the compact model."""

from dataclasses import replace
from pathlib import Path

import torch

from segment_concept.checkpoints.compact import load_compact
from segment_concept.checkpoints.efficientnet import imagenet_backbone
from segment_concept.models.compact.concept import ConceptPath
from segment_concept.models.compact.network import CompactNetwork
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.synthetic import ClipSpec, load, render_clip
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.train.concept import ConceptTask, RecognitionTask
from segment_concept.train.data import SamplerConfig
from segment_concept.train.loop import (
    Schedule,
    Stage,
    averaged,
    measure_levels,
    read_state,
    take_over,
)
from segment_concept.train.losses import LossWeights
from segment_concept.train.unroll import MemoryLesson, PresenceLesson, TrainingTask
from segment_concept.types import InputError

_CUT_CLIP = ClipSpec(
    frames=8, height=320, width=576, cut=1.0, absent=0.5, absent_by_cut=0.9, lookalike=0.8
)
_FEW = 200  # fine clips whose features are kept to be replayed: 1.7 GB of them a process


def base(steps: int = 3000) -> Stage:
    """From nothing, on small wide frames: cheap steps first."""
    return Stage(
        name="base",
        sampler=SamplerConfig(ClipSpec(frames=5, height=192, width=320), fresh=1, replayed=2),
        schedule=Schedule(steps=steps),
    )


def fine(steps: int = 1500) -> Stage:
    """Goes on with larger frames and longer clips."""
    clip = ClipSpec(frames=6, height=256, width=448)
    return _further("fine", clip, Schedule(steps=steps, rate=3e-4, warm_up=50), seed=2)


def longer(steps: int = 1700) -> Stage:
    """Goes on from `fine`, with more absences and cuts, and presence weighing more."""
    clip = ClipSpec(frames=6, height=256, width=448, cut=0.45, absent=0.45, absent_by_cut=0.6)
    stage = _further("longer", clip, Schedule(steps=steps, rate=5e-4, warm_up=50), seed=3)
    return replace(stage, task=TrainingTask(weights=LossWeights(presence=2.0)))


def steady(steps: int = 2400) -> Stage:
    """Goes on from `longer` at a finer size, with objects in the colors of their place."""
    size = ClipSpec(frames=8, height=320, width=576, camouflage=0.4)
    clip = replace(size, frames=6, cut=0.35, absent=0.4, least_area=200)
    stage = _further("steady", clip, Schedule(steps=steps, rate=5e-4, warm_up=50), seed=6)
    return replace(stage, validation=size, validation_clips=48, short_side=320)


def finer(steps: int = 1800) -> Stage:
    """Goes on from `steady` on still finer frames, with more cuts and absences."""
    size = ClipSpec(frames=8, height=384, width=672, camouflage=0.4)
    clip = replace(size, frames=6, cut=0.45, absent=0.45, absent_by_cut=0.6, least_area=300)
    stage = _further("finer", clip, Schedule(steps=steps, rate=4e-4, warm_up=50), seed=9)
    return replace(
        stage,
        sampler=replace(stage.sampler, stock=_FEW),
        task=TrainingTask(weights=LossWeights(presence=2.0)),
        validation=size,
        validation_clips=48,
        validate_every=900,
        short_side=384,
    )


def polish(steps: int = 1700) -> Stage:
    """Goes on from the mean of `steady` and `finer` at a low rate."""
    stage = finer(steps)
    clip = replace(stage.sampler.clip, cut=0.35, absent=0.4)
    return replace(
        stage,
        name="polish",
        sampler=replace(stage.sampler, clip=clip),
        schedule=Schedule(steps=steps, rate=2.5e-4, warm_up=50, average=0.999),
        validate_every=steps,
        seed=10,
    )


def turning(steps: int = 2400) -> Stage:
    """Goes on from `polish` among things that turn and move in all three dimensions."""
    stage = polish(steps)
    return replace(
        stage,
        name="turning",
        sampler=replace(stage.sampler, clip=replace(stage.sampler.clip, solid=0.5)),
        schedule=replace(stage.schedule, rate=3e-4),
        seed=11,
    )


def edited(steps: int = 400) -> Stage:
    """Goes on from `turning` among clips that are cut as films are.

    Meant for eight processes that share a GPU, so that a step has 48 clips.
    """
    stage = turning(steps)
    clip = replace(
        stage.sampler.clip, frames=8, solid=0.35, cut=0.5, absent=0.45, absent_by_cut=0.7
    )
    return replace(
        stage,
        name="edited",
        sampler=replace(stage.sampler, clip=_edited(clip), fresh=2, replayed=4),
        schedule=replace(stage.schedule, rate=8e-4, average=0.99),
        validate_every=steps,
        save_every=50,
        seed=12,
    )


def settled(steps: int = 2000) -> Stage:
    """Goes on from the mean of `turning` and `edited` at a low rate, with fewer cuts."""
    stage = turning(steps)
    clip = replace(stage.sampler.clip, solid=0.35, cut=0.4, absent=0.45, absent_by_cut=0.7)
    return replace(
        stage,
        name="settled",
        sampler=replace(stage.sampler, clip=_edited(clip)),
        schedule=replace(stage.schedule, rate=2.5e-4),
        seed=13,
    )


def at_448(steps: int = 540) -> Stage:
    """Goes on from the mean of `settled` and where it began, at the size that is tracked at.

    Meant for eight processes that share a GPU, so that a step has 40 clips.
    """
    stage = settled(steps)
    clip = replace(stage.sampler.clip, height=448, width=768, least_area=400)
    size = replace(stage.validation, height=448, width=768)
    return replace(
        stage,
        name="at_448",
        sampler=replace(stage.sampler, clip=clip, fresh=2, replayed=3),
        schedule=replace(stage.schedule, rate=6e-4, average=0.99),
        validation=size,
        save_every=50,
        seed=14,
        short_side=448,
    )


def shots(steps: int = 300) -> Stage:
    """SeC's first stage: long clips of several shots under its memory of 22."""
    size = ClipSpec(frames=24, height=256, width=448, camouflage=0.3)
    clip = replace(size, cut=1.0, absent=0.5, absent_by_cut=0.8)
    schedule = Schedule(steps=steps, rate=2e-4, warm_up=20, average=0.98)
    return replace(
        _further("shots", clip, schedule, seed=7, replayed=0),
        task=MemoryLesson(weights=LossWeights(presence=2.0)),
        policy=ReliableMemory(slots=22, pointers=16),
        validation=size,
        validate_every=100,
        log_every=5,
        save_every=25,
    )


def presence(steps: int = 600) -> Stage:
    """The judgement of presence alone, on finer long clips."""
    stage = shots(steps)
    spec = replace(stage.sampler.clip, height=320, width=576, least_area=200)
    return replace(
        stage,
        name="presence",
        sampler=replace(stage.sampler, clip=spec),
        schedule=Schedule(steps=steps, rate=1e-3, warm_up=20, average=0.99),
        task=PresenceLesson(),
        policy=ReliableMemory(slots=12, pointers=12),
        validate_every=steps,
        seed=8,
        short_side=320,
    )


def recognise(steps: int = 3000) -> Stage:
    """The concept network by itself."""
    clip = _edited(replace(_CUT_CLIP, absent=0.6, camouflage=0.3, solid=0.3))
    return Stage(
        name="recognise",
        sampler=SamplerConfig(clip, fresh=1, replayed=3, stock=_FEW),
        schedule=Schedule(steps=steps, rate=6e-4, warm_up=50, average=0.995),
        task=RecognitionTask(),
        validate_every=steps,
        seed=4,
        short_side=384,
    )


def concept(steps: int = 400) -> Stage:
    """What tracking makes of concepts; all else is frozen."""
    return Stage(
        name="concept",
        sampler=SamplerConfig(_CUT_CLIP, fresh=1, replayed=1, stock=_FEW),
        schedule=Schedule(steps=steps, rate=1e-3, warm_up=30, average=0.99),
        task=ConceptTask(),
        policy=ReliableMemory(slots=7, pointers=8),
        validate_every=steps,
        seed=5,
        short_side=384,
    )


_ORDER = (
    base,
    fine,
    longer,
    steady,
    finer,
    polish,
    turning,
    edited,
    settled,
    at_448,
    shots,
    presence,
    recognise,
    concept,
)
STAGES = {stage.__name__: stage for stage in _ORDER}


def _edited(clip: ClipSpec) -> ClipSpec:
    """Cut as films are: back to where a scene is, and away to another one."""
    return replace(clip, same_place=0.6, interlude=0.6)


def _further(
    name: str, clip: ClipSpec, schedule: Schedule, *, seed: int, replayed: int = 1
) -> Stage:
    """A stage that goes on with everything behind the trunk."""
    return Stage(name, SamplerConfig(clip, fresh=1, replayed=replayed), schedule, seed=seed)


def find_stage(name: str, steps: int | None = None, seed: int | None = None) -> Stage:
    """The stage of that name, with another number of steps or another seed where given.

    Raises:
        InputError: there is no such stage.
    """
    if name not in STAGES:
        raise InputError(f"there is no training stage {name!r}: there are {', '.join(STAGES)}")
    stage = STAGES[name]() if steps is None else STAGES[name](steps)
    return stage if seed is None else replace(stage, seed=seed)


def begun(stage: Stage, assets: Path, start: Path | None = None) -> CompactSegmenter:
    """The model that a stage trains on: with weights to start from, or from nothing.

    An exported model brings its trunk; for a state.pt or best.pt, and from nothing, the ImageNet
    trunk's package is needed.
    """
    if start is not None and start.suffix == ".safetensors":
        torch.manual_seed(stage.seed)
        model = load_compact(start, short_side=stage.short_side)
        if stage.task.part == "concept" and model.concept is None:
            model.concept = ConceptPath(model.widths)
        return model
    model = fresh_model(assets, stage)
    if start is not None:
        take_over(model, averaged(read_state(start)))
    return model


def fresh_model(assets: Path, stage: Stage) -> CompactSegmenter:
    """An untrained network over the ImageNet trunk, its input levels measured on some clips."""
    torch.manual_seed(stage.seed)
    network = CompactNetwork()
    path = ConceptPath(network.widths) if stage.task.part == "concept" else None
    segmenter = CompactSegmenter(
        imagenet_backbone().channels_last(), network, path, short_side=stage.short_side
    )
    cutouts = load(assets, "train")
    clips = [render_clip(cutouts, stage.sampler.clip, seed) for seed in range(24)]
    pixels = [torch.from_numpy(clip.rgb).permute(0, 3, 1, 2).float() for clip in clips]
    measure_levels(segmenter, pixels)
    return segmenter
