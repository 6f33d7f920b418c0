"""Train the compact model in two named stages.

`clips` is trained (`stages.py`); `calibrate` fits the mask bias and the verifier while the model
tracks. A finished stage is not run again, and an interrupted one continues.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segment_concept.checkpoints.compact import save_compact
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.recipes import find_recipe
from segment_concept.synthetic.subjects import load_subjects
from segment_concept.tracking.tracker import Tracker
from segment_concept.train.calibration import (
    annotated_clips,
    annotated_videos,
    best_bias,
    mean_overlap,
)
from segment_concept.train.compact import CompactTraining, Stage, take_over
from segment_concept.train.data import load_world
from segment_concept.train.fit_verifier import fit_verification
from segment_concept.train.loop import train
from segment_concept.train.processes import own_rank
from segment_concept.train.run_state import Progress, newest_state
from segment_concept.train.stages import STAGES, clips, find_stage, initial_model
from segment_concept.train.validation import validation_clips
from segment_concept.types import InputError

CALIBRATE = "calibrate"
CURRICULUM = (*STAGES, CALIBRATE)
RESULT = "model.safetensors"  # in the folder of the last stage
_CALIBRATION_CLIPS = 24
_SUBJECT_CLIPS = 100  # to which the verifier is fitted, if the plan has no number for it
_FIRST_SEED = 800_000_000  # no other clips of training have these


@dataclass(frozen=True, slots=True)
class Plan:
    """One training of the compact model.

    Attributes:
        data: folder with `assets.npz` and `photos`, and `subjects` to calibrate.
        out: folder of the run, with one folder per stage; a run in it is continued.
        start: an exported model to start from; None to start from the ImageNet backbone alone.
        stages: the stages to run; weights that only the others train stay as in `start`.
        steps: numbers of steps by stage, instead of the stages' own; of `calibrate`: the clips to
            which the verifier is fitted.
        videos: annotated videos in the layout of DAVIS, by which the mask bias is chosen too.
        device: the device to train on.

    Raises:
        InputError: a stage has an unknown name.
    """

    data: Path
    out: Path
    start: Path | None = None
    stages: tuple[str, ...] = CURRICULUM
    steps: tuple[tuple[str, int], ...] = ()
    videos: Path | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        unknown = {*self.stages, *(name for name, _ in self.steps)} - set(CURRICULUM)
        if unknown or not self.stages:
            raise InputError(
                f"no training stage {', '.join(sorted(unknown)) or 'was named'}: "
                f"there are {', '.join(CURRICULUM)}"
            )

    def trained_stages(self) -> list[Stage]:
        """The stages with an optimizer, in order."""
        steps = dict(self.steps)
        return [find_stage(name, steps.get(name)) for name in STAGES if name in self.stages]


def run(plan: Plan) -> Path:
    """Run the stages of a plan. Returns the calibrated model's file, or the last stage's folder.

    Under torchrun every process trains on its share of the clips; the first one calibrates.
    """
    model = initial_model(plan.data, plan.start).to(plan.device)
    last = plan.out
    for stage in plan.trained_stages():
        last = plan.out / stage.name
        model.short_side = stage.short_side
        before = {name: weight.clone() for name, weight in model.state_dict().items()}
        if not finished(last, stage):
            training = CompactTraining(model, stage, plan.data)
            train(training, last, stage.options(plan.device))
        take_over(model, last)
        blend_weights(model, before, stage.kept)
    if CALIBRATE not in plan.stages or own_rank()[0] != 0:
        return last
    result = plan.out / CALIBRATE / RESULT
    result.parent.mkdir(parents=True, exist_ok=True)
    found = calibrate(model.eval().requires_grad_(False), plan)
    save_compact(model, result, card_of(plan) | {"calibration": found})
    return result


def blend_weights(model: CompactSegmenter, before: Mapping[str, Tensor], share: float) -> None:
    """Replace weights by `share` of those before and `1 - share` of the present ones, in place.

    A mean of the weights before and after fine-tuning generalizes better than either (Wortsman et
    al., "Robust fine-tuning of zero-shot models", CVPR 2022), because few clips per step make noisy
    weights.
    """
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            weight.lerp_(before[name], share)


def finished(folder: Path, stage: Stage) -> bool:
    """Whether all steps of a stage are done."""
    state = newest_state(folder)
    return state is not None and Progress.read(state).step >= stage.schedule.steps


def calibrate(model: CompactSegmenter, plan: Plan) -> dict[str, Any]:
    """Fit the mask bias and the verifier of a model, in place.

    The bias has the highest mean J on held-out clips and, if the plan has videos, on these; both
    sets have the same weight. The verifier is fitted to clips of the training subjects.
    """
    recipe = find_recipe("sec_compact")
    model.short_side, model.mask_bias = recipe.short_side, 0.0
    tracker = Tracker(model, recipe.policy)
    sampler = clips().sampler
    held_out = load_world(plan.data, sampler, "held_out")
    measured = [
        mean_overlap(
            tracker, annotated_clips(validation_clips(held_out, sampler, _CALIBRATION_CLIPS))
        )
    ]
    if plan.videos is not None:
        measured.append(mean_overlap(tracker, annotated_videos(plan.videos)))
    model.mask_bias = best_bias(measured)
    world = load_world(plan.data, sampler, "train")
    subjects = load_subjects(plan.data / "subjects", "train")
    generated = (world.clip(sampler, seed) for seed in count(_FIRST_SEED))
    clips_of_subjects = dict(plan.steps).get(CALIBRATE, _SUBJECT_CLIPS)
    verification = fit_verification(model, generated, subjects, clips_of_subjects)
    return {"mask_bias": model.mask_bias, "verification": verification}


def card_of(plan: Plan) -> dict[str, Any]:
    """The card of a model: how it was trained."""
    stages: Sequence[Stage] = plan.trained_stages()
    return {
        "name": "sec-compact",
        "version": 2,
        "stages": {stage.name: stage.schedule.steps for stage in stages},
        "from": plan.start.name if plan.start is not None else "the ImageNet backbone",
    }
