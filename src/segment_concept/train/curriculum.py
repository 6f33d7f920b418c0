"""The whole training of the compact model: three named stages, in their order.

`clips` and `concept` are learnt (`stages.py`), the second from the end of the first; `calibrate`
fits two small things to the model as it tracks. A stage that was finished is not begun again, one
that was interrupted goes on where it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segment_concept.checkpoints.compact import save_compact
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.recipes import find_recipe
from segment_concept.tracking.tracker import Tracker
from segment_concept.train.calibration import (
    annotated_clips,
    annotated_films,
    best_bias,
    mean_overlap,
)
from segment_concept.train.loop import Ranks, Stage, averaged, read_state, take_over, train
from segment_concept.train.samples import load_world
from segment_concept.train.stages import STAGES, begun, clips, concept, find_stage
from segment_concept.train.validation import validation_clips
from segment_concept.train.verification import fit_verification
from segment_concept.types import InputError

CALIBRATE, _CONCEPT = "calibrate", concept.__name__
CURRICULUM = (*STAGES, CALIBRATE)
RESULT = "model.safetensors"  # in the folder of the last stage
_CALIBRATION_CLIPS = 24
_PROPOSAL_CLIPS = 100  # that are tracked to fit the verification


@dataclass(frozen=True, slots=True)
class Plan:
    """One training of the compact model.

    Attributes:
        data: folder with `assets.npz` and `photos`.
        out: folder of the run, with one folder a stage; what is in it is continued.
        start: an exported model to begin with; None to begin with the ImageNet trunk alone.
        stages: which to run; a learnt stage that is left out stays as `start` has it.
        steps: other numbers of steps than the stages' own.
        films: annotated real films in the layout of DAVIS, by which the mask bias is chosen too.
        device: on which is learnt.

    Raises:
        InputError: a stage has an unknown name.
    """

    data: Path
    out: Path
    start: Path | None = None
    stages: tuple[str, ...] = CURRICULUM
    steps: tuple[tuple[str, int], ...] = ()
    films: Path | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        unknown = {*self.stages, *(name for name, _ in self.steps)} - set(CURRICULUM)
        if unknown or not self.stages:
            raise InputError(
                f"no training stage {', '.join(sorted(unknown)) or 'was named'}: "
                f"there are {', '.join(CURRICULUM)}"
            )

    def learnt(self) -> list[Stage]:
        """The stages with an optimizer, in their order."""
        steps = dict(self.steps)
        return [find_stage(name, steps.get(name)) for name in STAGES if name in self.stages]


def run(plan: Plan) -> Path:
    """Run the stages of a plan. Returns the file of the calibrated model, or of the last stage.

    Under torchrun every process takes its share of the clips; the first one calibrates.
    """
    model = begun(plan.data, plan.start).to(plan.device)
    last = plan.out
    for stage in plan.learnt():
        last = plan.out / stage.name
        model.short_side = stage.short_side
        before = {name: weight.clone() for name, weight in model.state_dict().items()}
        if not finished(last, stage):
            train(model, stage, plan.data, last)
        take_over(model, averaged(read_state(last / "state.pt")))
        keep(model, before, stage.kept)
    if CALIBRATE not in plan.stages or Ranks.from_environment().rank != 0:
        return last / "state.pt"
    result = plan.out / CALIBRATE / RESULT
    result.parent.mkdir(parents=True, exist_ok=True)
    found = calibrate(model.eval().requires_grad_(False), plan)
    save_compact(model, result, card_of(plan) | {"calibration": found})
    return result


def keep(model: CompactSegmenter, before: Mapping[str, Tensor], share: float) -> None:
    """Draw the weights of a model towards those of before, in place.

    A mean of the weights before and after fine-tuning generalizes better than either (Wortsman et
    al., "Robust fine-tuning of zero-shot models", CVPR 2022); what is learnt of few clips a step is
    noisy.
    """
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            weight.lerp_(before[name], share)


def finished(folder: Path, stage: Stage) -> bool:
    """Whether a stage has made all its steps."""
    state = folder / "state.pt"
    return state.exists() and read_state(state)["step"] >= stage.schedule.steps


def calibrate(model: CompactSegmenter, plan: Plan) -> dict[str, Any]:
    """Fit the mask bias of a model, and its verification where its concept was trained, in place.

    The bias is the one with the highest mean J on held-out clips and, where there are any, on real
    films: both count the same. A verification goes with its concept: fitted again to proposals of
    other masks alone, it told fewer absences (docs/LOG.md).
    """
    recipe = find_recipe("sec_compact")
    model.short_side, model.mask_bias = recipe.short_side, 0.0
    tracker = Tracker(model, recipe.policy)
    diet = clips().diet
    held_out = load_world(plan.data, diet, "held_out")
    measured = [
        mean_overlap(tracker, annotated_clips(validation_clips(held_out, diet, _CALIBRATION_CLIPS)))
    ]
    if plan.films is not None:
        measured.append(mean_overlap(tracker, annotated_films(plan.films)))
    model.mask_bias = best_bias(measured)
    found: dict[str, Any] = {"mask_bias": model.mask_bias}
    if _CONCEPT in plan.stages:
        world = load_world(plan.data, diet, "train")
        found["verification"] = fit_verification(model, world.assets, _PROPOSAL_CLIPS)
    return found


def card_of(plan: Plan) -> dict[str, Any]:
    """What a model's file says of how it was made."""
    stages: Sequence[Stage] = plan.learnt()
    return {
        "name": "sec-compact",
        "version": 2,
        "stages": {stage.name: stage.schedule.steps for stage in stages},
        "from": plan.start.name if plan.start is not None else "the ImageNet trunk",
    }
