"""The figure by which checkpoints are chosen: held-out cut-outs and backgrounds, fixed clips."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from segment_concept.data.synthetic import Assets, Clip, ClipSpec, render_clip
from segment_concept.tracking.tracker import Tracker
from segment_concept.train.prompts import inner_point, loose_box
from segment_concept.types import Bitmap, Frame, Mask, ObjectId, Points, Prompt

FIRST_SEED = 900_000_000  # far from any seed that training draws


@dataclass(frozen=True, slots=True)
class Report:
    """Means in [0, 1] over the objects or frames of the validation clips."""

    j: float  # region overlap on frames where the object is visible, prompted by its mask
    j_box: float
    j_click: float
    j_after_cut: float
    absent_empty: float  # share of the frames without the object that have an empty mask
    visible_empty: float  # share of the frames with the object that have an empty mask

    @property
    def score(self) -> float:
        """What is maximised: overlap, with half the weight on each kind of presence error.

        What the clips have no example of counts nothing.
        """
        terms = (
            (1.0, self.j),
            (0.25, self.j_box),
            (0.25, self.j_click),
            (0.5, self.absent_empty),
            (-1.0, self.visible_empty),
        )
        return sum(weight * value for weight, value in terms if not math.isnan(value))


def validation_clips(assets: Assets, spec: ClipSpec, count: int) -> list[Clip]:
    """`count` clips; every other one has a cut, every third an absence."""
    return [
        render_clip(
            assets,
            replace(spec, cut=float(n % 2), absent=float(n % 3 == 0)),
            FIRST_SEED + n,
        )
        for n in range(count)
    ]


def validate(tracker: Tracker, clips: Sequence[Clip]) -> Report:
    """Track object 1 of every clip, as a user would."""
    rows: list[tuple[str, bool, bool, float, bool]] = []  # prompt, visible, cut before, J, empty
    for number, clip in enumerate(clips):
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
                rows.append(
                    (kind, bool(truth[t].sum() >= 20), cut, _iou(mask, truth[t]), not mask.any())
                )
    return Report(
        j=_mean(j for kind, visible, _, j, _ in rows if kind == "mask" and visible),
        j_box=_mean(j for kind, visible, _, j, _ in rows if kind == "box" and visible),
        j_click=_mean(j for kind, visible, _, j, _ in rows if kind == "click" and visible),
        j_after_cut=_mean(
            j for kind, visible, cut, j, _ in rows if kind == "mask" and visible and cut
        ),
        absent_empty=_mean(e for kind, visible, _, _, e in rows if kind == "mask" and not visible),
        visible_empty=_mean(e for kind, visible, _, _, e in rows if kind == "mask" and visible),
    )


def _follow(tracker: Tracker, clip: Clip, prompt: Prompt) -> Iterator[Bitmap]:
    session = tracker.session()
    frames = [Frame(t, rgb) for t, rgb in enumerate(clip.rgb)]
    who = ObjectId(1)
    yield session.prompt(frames[0], {who: prompt}).mask(who)
    for result in session.track(frames[1:]):
        yield result.mask(who)


def _iou(mask: Bitmap, truth: Bitmap) -> float:
    either = int((mask | truth).sum())
    return float((mask & truth).sum()) / either if either else 1.0


def _mean(values: Iterator[float]) -> float:
    found = torch.tensor(list(values), dtype=torch.float64)
    return float(found.mean()) if len(found) else float("nan")
