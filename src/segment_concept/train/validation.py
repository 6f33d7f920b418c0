"""What a network does on clips of the held-out part of the training world."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from segment_concept.metrics.boundary import boundary_accuracy
from segment_concept.ops.overlap import mask_iou
from segment_concept.synthetic import Clip
from segment_concept.tracking.tracker import Tracker
from segment_concept.train.data import SamplerConfig, World
from segment_concept.train.prompts import inner_point, loose_box
from segment_concept.types import Bitmap, Frame, Mask, ObjectId, Points, Prompt

FIRST_SEED = 900_000_000  # far from any seed that training draws


@dataclass(frozen=True, slots=True)
class Report:
    """Means in [0, 1] over the objects or frames of the validation clips."""

    j: float  # region overlap on frames where the object is visible, prompted by its mask
    f: float  # boundary accuracy on the same frames
    j_box: float
    j_click: float
    j_after_cut: float
    absent_empty: float  # share of the frames without the object that have an empty mask
    visible_empty: float  # share of the frames with the object that have an empty mask


@dataclass(frozen=True, slots=True)
class ValidationRow:
    """One frame of one clip under one prompt."""

    prompt: str
    visible: bool
    after_cut: bool
    j: float
    f: float  # NaN where it is not asked for
    empty: bool


def validation_clips(world: World, sampler: SamplerConfig, count: int) -> list[Clip]:
    """`count` clips like those of training, of the held-out part of the world."""
    return [world.clip(sampler, FIRST_SEED + n) for n in range(count)]


def validate(tracker: Tracker, clips: Sequence[tuple[int, Clip]]) -> list[ValidationRow]:
    """Track object 1 of every clip, as a user would; prompts depend on the clip's number."""
    rows: list[ValidationRow] = []
    for number, clip in clips:
        rng = np.random.default_rng(number)
        truth: Bitmap = clip.labels == 1
        first = truth[0]
        prompts: dict[str, Prompt] = {"mask": Mask(first)}
        if number % 2 == 0:
            prompts["box"] = loose_box(first, rng)
        else:
            prompts["click"] = Points.on(inner_point(first, rng))
        for kind, prompt in prompts.items():
            for t, mask in enumerate(_follow(tracker, clip, prompt)):
                if t == 0 and kind == "mask":
                    continue
                cut = any(t >= c for c in clip.cuts)
                visible = bool(truth[t].sum() >= 20)
                f = boundary_accuracy(mask, truth[t]) if visible and kind == "mask" else math.nan
                iou = mask_iou(mask, truth[t])
                rows.append(ValidationRow(kind, visible, cut, iou, f, not mask.any()))
    return rows


def report_of(rows: Sequence[ValidationRow]) -> Report:
    """Means over all rows."""
    masks = [row for row in rows if row.prompt == "mask"]
    seen = [row for row in masks if row.visible]
    others = [row for row in rows if row.prompt != "mask" and row.visible]
    return Report(
        j=_mean(row.j for row in seen),
        f=_mean(row.f for row in seen),
        j_box=_mean(row.j for row in others if row.prompt == "box"),
        j_click=_mean(row.j for row in others if row.prompt == "click"),
        j_after_cut=_mean(row.j for row in seen if row.after_cut),
        absent_empty=_mean(row.empty for row in masks if not row.visible),
        visible_empty=_mean(row.empty for row in seen),
    )


def _follow(tracker: Tracker, clip: Clip, prompt: Prompt) -> Iterator[Bitmap]:
    session = tracker.session()
    frames = [Frame(t, rgb) for t, rgb in enumerate(clip.rgb)]
    who = ObjectId(1)
    yield session.prompt(frames[0], {who: prompt}).mask(who)
    for result in session.track(frames[1:]):
        yield result.mask(who)


def _mean(values: Iterator[float]) -> float:
    found = torch.tensor(list(values), dtype=torch.float64)
    return float(found.mean()) if len(found) else float("nan")
