"""MOSE v2: smoothed J, F-dot, and scores for disappearance and reappearance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from segment_concept.datasets.findings import Finding, error, listed, warning
from segment_concept.datasets.folders import folders_in
from segment_concept.datasets.masks import PngLayer
from segment_concept.datasets.types import Dataset
from segment_concept.evaluate.pairing import ScoringPlan, VideoTask, open_predictions, read_pairs
from segment_concept.evaluate.scores import ObjectScore, VideoScores, average, mean, mean_of
from segment_concept.metrics.mose import MosePair, mose_pair
from segment_concept.types import InputError

_NO_PARTNER = MosePair(1.0, 1.0, 1.0)
_DISAPPEARED, _REAPPEARED = ("Jd", "Fdotd"), ("Jr", "Fdotr")


@dataclass(frozen=True, slots=True)
class MoseV2:
    """MOSE v2 as in its evaluator.

    Scores frames 1 to length-2 of the *predicted* names, sorted as numbers, and the objects listed
    in meta.json, also before they appear. A video without predictions scores 0, with a warning.
    """

    name: str = "mose2"
    official: bool = True

    def plan(self, dataset: Dataset, predictions: Path) -> ScoringPlan:
        """Videos whose truth is complete and whose predictions have all scored frames."""
        plan = open_predictions(dataset, _inner_folder(dataset, predictions))
        findings = list(plan.findings)
        kept = []
        for task in plan.tasks:
            found = _check(task)
            findings.extend(found)
            kept.extend([] if found else [task])
        return ScoringPlan(tuple(kept), tuple(findings))

    def score(self, task: VideoTask) -> VideoScores:
        """Objects of one video."""
        video = task.video.name
        names = [entry.name for entry in task.video.objects]
        if task.predictions is None:
            message = (
                f"{task.folder} is missing: all its objects ({len(names)}) score 0, as in the "
                "official evaluator; predict this video too"
            )
            nothing = {measure: 0.0 for measure in ("J", "F", "Fdot")}
            nothing |= dict.fromkeys((*_DISAPPEARED, *_REAPPEARED), math.nan)
            objects = tuple(ObjectScore(video, name, nothing) for name in names)
            return VideoScores(video, objects, (warning(message, video),))
        truth, prediction = task.video.layers[0], task.predictions[0]
        frames = scored_frames(prediction, task.video.frame_count or 0)
        scores: dict[str, list[MosePair]] = {name: [] for name in names}
        empty: dict[str, list[bool]] = {name: [] for name in names}
        for _, pair in read_pairs(truth, prediction, frames):
            visible_ids = pair.true_ids | pair.predicted_ids
            for name in names:
                object_id = int(name)
                empty[name].append(object_id not in pair.true_ids)
                found = mose_pair(pair.of(object_id)) if object_id in visible_ids else _NO_PARTNER
                scores[name].append(found)
        objects = tuple(_object(video, n, frames, scores[n], empty[n]) for n in names)
        return VideoScores(video, objects)

    def headline(self, objects: Sequence[ObjectScore]) -> Mapping[str, float]:
        """J&F-dot, J, F-dot, J&F-dot of disappearance and of reappearance, F, J&F."""
        j, f, dot = (mean_of(objects, measure) for measure in ("J", "F", "Fdot"))
        return {
            "J&Fdot": average(j, dot),
            "J": j,
            "Fdot": dot,
            "J&Fdot_d": _where_defined(objects, _DISAPPEARED),
            "J&Fdot_r": _where_defined(objects, _REAPPEARED),
            "F": f,
            "J&F": average(j, f),
        }


def _where_defined(objects: Sequence[ObjectScore], measures: tuple[str, str]) -> float:
    values = [average(*(o.values[m] for m in measures)) for o in objects]
    return mean([value for value in values if not math.isnan(value)])


def _inner_folder(dataset: Dataset, predictions: Path) -> Path:
    """As published: if the folder contains only one folder, use that one."""
    inside = folders_in(predictions)
    videos = {video.name for video in dataset.videos}
    return predictions / inside[0] if len(inside) == 1 and inside[0] not in videos else predictions


def _number(name: str) -> int:
    try:
        return int(name)
    except ValueError as wrong:
        raise InputError(f"mask name {name!r} is not a number: expected 00000.png") from wrong


def scored_frames(prediction: PngLayer, length: int) -> tuple[str, ...]:
    """The predicted names at positions 1 to length-2, sorted as numbers."""
    return tuple(sorted(prediction.frames, key=_number)[1 : length - 1])


def _check(task: VideoTask) -> list[Finding]:
    video, truth = task.video, task.video.layers[0]
    length = video.frame_count or 0
    if len(truth.frames) != length:
        return [
            error(
                f"the truth has {len(truth.frames)} masks but meta.json says {length}: complete "
                "the annotations",
                video.name,
            )
        ]
    if task.predictions is None:
        return []
    prediction = task.predictions[0]
    try:
        frames = scored_frames(prediction, length)
    except InputError as wrong:
        return [error(f"{prediction.folder}: {wrong}", video.name)]
    annotated = set(truth.frames)
    missing = [frame for frame in truth.frames[1:-1] if frame not in set(frames)]
    unknown = [frame for frame in frames if frame not in annotated]
    if not missing and not unknown:
        return []
    return [
        error(
            f"{prediction.folder} does not have the truth's {length} frames: "
            f"missing {listed(missing) or 'none'}, unknown {listed(unknown) or 'none'}; write one "
            "mask for every frame, named like the truth's",
            video.name,
            frame=(missing or unknown)[0],
        )
    ]


def _object(
    video: str,
    name: str,
    frames: Sequence[str],
    scores: Sequence[MosePair],
    empty: Sequence[bool],
) -> ObjectScore:
    curves = {
        "J": tuple(s.region for s in scores),
        "F": tuple(s.boundary for s in scores),
        "Fdot": tuple(s.adaptive_boundary for s in scores),
    }
    values = {measure: mean(curve) for measure, curve in curves.items()}
    for (j_name, f_name), choose in ((_DISAPPEARED, absent_runs), (_REAPPEARED, returned_runs)):
        runs = choose(empty)
        values[j_name] = mean([mean(curves["J"][a:b]) for a, b in runs])
        values[f_name] = mean([mean(curves["Fdot"][a:b]) for a, b in runs])
    return ObjectScore(video, name, values, tuple(frames), curves)


Runs = list[tuple[int, int]]


def _runs(empty: Sequence[bool]) -> list[tuple[bool, int, int]]:
    """(value, start, end) of the maximal runs of equal values."""
    runs, start = [], 0
    for value, group in groupby(empty):
        end = start + len(list(group))
        runs.append((value, start, end))
        start = end
    return runs


def absent_runs(empty: Sequence[bool]) -> Runs:
    """Runs without the object, except one at the start, before it has appeared."""
    return [(start, end) for value, start, end in _runs(empty) if value and start]


def returned_runs(empty: Sequence[bool]) -> Runs:
    """Runs with the object that follow a run without it; a late first appearance counts."""
    return [(start, end) for value, start, end in _runs(empty) if not value and start]
