"""LVOS v1 and v2: J, F and their standard deviation V over seen and unseen videos."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segment_concept.datasets.findings import Finding, listed, warning
from segment_concept.datasets.masks import Layer
from segment_concept.datasets.types import Benchmark, Dataset, Group, ObjectEntry, VideoEntry
from segment_concept.evaluate.pairing import (
    ScoringPlan,
    VideoTask,
    check_frames,
    open_predictions,
    refuse_missing,
)
from segment_concept.evaluate.protocols.ranges import ranged_object, score_ranges
from segment_concept.evaluate.scores import ObjectScore, VideoScores, average, mean, mean_of
from segment_concept.metrics.pairs import PairScore
from segment_concept.types import InputError

_GROUPS = (Group.SEEN, Group.UNSEEN)
_SHORT = {Group.SEEN: "s", Group.UNSEEN: "u"}


def object_frames(entry: ObjectEntry) -> tuple[str, ...]:
    """The frames of an object without its first and last one."""
    return entry.frames[1:-1]


def video_frames(video: VideoEntry, layer: Layer) -> tuple[str, ...]:
    """Every frame in which an object of the video is scored."""
    return tuple(sorted({frame for entry in video.objects for frame in object_frames(entry)}))


def spread(scores: Sequence[PairScore]) -> float:
    """V: the standard deviation of J&F over the frames; lower is better.

    As published, the variance is rounded to 4 decimals before taking the root.
    """
    both = [(s.region + s.boundary) / 2 for s in scores]
    centre = mean(both)
    return math.sqrt(round(mean([(value - centre) ** 2 for value in both]), 4))


@dataclass(frozen=True, slots=True)
class Lvos:
    """LVOS as in its evaluator: each object is scored in its own range of frames.

    J, F and J&F are averaged over seen and over unseen videos, then over the two groups; masks
    outside an object's range are ignored. `flat` averages J&F over all objects instead, as in the
    server's script (read from its code, not run).
    """

    flat: bool = False

    @property
    def name(self) -> str:
        """As on the command line."""
        return "lvos-codalab" if self.flat else "lvos"

    @property
    def official(self) -> bool:
        """Whether it was compared with the official evaluator; `flat` was not."""
        return not self.flat

    def plan(self, dataset: Dataset, predictions: Path) -> ScoringPlan:
        """Videos with predictions for every scored frame.

        Raises:
            InputError: the list of unseen videos is missing.
        """
        _require_groups(dataset)
        plan = check_frames(refuse_missing(open_predictions(dataset, predictions)), video_frames)
        return ScoringPlan(plan.tasks, plan.findings + tuple(_check_list(dataset)))

    def score(self, task: VideoTask) -> VideoScores:
        """Objects of one video.

        Raises:
            InputError: an object has no frame between its first and its last.
        """
        video = task.video
        ranges = {entry.name: object_frames(entry) for entry in video.objects}
        scores = score_ranges(task, ranges)
        objects = (_object(video, name, ranges[name], scores[name]) for name in ranges)
        return VideoScores(video.name, tuple(objects))

    def headline(self, objects: Sequence[ObjectScore]) -> Mapping[str, float]:
        """J&F, J, F, V, then each of seen and unseen videos."""
        row = {}
        for group in _GROUPS:
            of_group = [o for o in objects if o.group is group]
            for measure in ("J", "F", "V"):
                row[f"{measure}_{_SHORT[group]}"] = mean_of(of_group, measure)
        j, f, v = (average(row[f"{m}_s"], row[f"{m}_u"]) for m in ("J", "F", "V"))
        both = average(mean_of(objects, "J"), mean_of(objects, "F")) if self.flat else None
        return {"J&F": average(j, f) if both is None else both, "J": j, "F": f, "V": v, **row}


def _object(
    video: VideoEntry, name: str, frames: tuple[str, ...], scores: Sequence[PairScore]
) -> ObjectScore:
    plain = ranged_object(video.name, name, frames, scores, video.group)
    return replace(plain, values={**plain.values, "V": spread(scores)})


def _require_groups(dataset: Dataset) -> None:
    if all(video.group is Group.NONE for video in dataset.videos):
        version = "v1" if dataset.benchmark is Benchmark.LVOS1 else "v2"
        raise InputError(
            f"the list of unseen videos of LVOS {version} is missing: put unseen_videos.txt into "
            f"{dataset.source.root} or give it with --unseen. v1 and v2 have different lists"
        )


def _check_list(dataset: Dataset) -> list[Finding]:
    groups = {video.group for video in dataset.videos}
    missing = [group.value for group in _GROUPS if group not in groups]
    if not missing:
        return []
    return [
        warning(
            f"with this list of unseen videos there is no {listed(missing)} video, so the average "
            "over both groups is undefined; is it the list of the other version of LVOS?"
        )
    ]
