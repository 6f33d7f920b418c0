"""YouTube-VOS 2018 and 2019, from the published description: the evaluator is not public."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segment_concept.datasets.masks import Layer
from segment_concept.datasets.types import Dataset, Group, ObjectEntry, VideoEntry
from segment_concept.evaluate.pairing import (
    ScoringPlan,
    VideoTask,
    check_frames,
    open_predictions,
    refuse_missing,
)
from segment_concept.evaluate.protocols.ranges import ranged_object, score_ranges
from segment_concept.evaluate.scores import ObjectScore, VideoScores, average, mean_of
from segment_concept.types import InputError


def object_frames(entry: ObjectEntry, layer: Layer) -> tuple[str, ...]:
    """The annotated frames after the object's first frame."""
    first = entry.frames[0] if entry.frames else layer.frames[0]
    return tuple(frame for frame in layer.frames if frame > first)


def video_frames(video: VideoEntry, layer: Layer) -> tuple[str, ...]:
    """Every frame in which an object of the video is scored."""
    wanted = {frame for entry in video.objects for frame in object_frames(entry, layer)}
    return tuple(sorted(wanted))


@dataclass(frozen=True, slots=True)
class YouTubeVos:
    """J and F of objects of seen and unseen categories; G is the mean of the four values.

    Not official: an object is scored on every annotated frame after its first.
    """

    name: str = "youtubevos"
    official: bool = False

    def plan(self, dataset: Dataset, predictions: Path) -> ScoringPlan:
        """Videos with predictions for every scored frame.

        Raises:
            InputError: the truth or the list of unseen categories is missing.
        """
        source = dataset.source
        if not dataset.truth_is_complete:
            raise InputError(
                f"{source.root} has only the first mask of each object; the full annotations of "
                "this split are kept by the server: submit there, or give the truth with --truth"
            )
        if any(entry.group is Group.NONE for video in dataset.videos for entry in video.objects):
            raise InputError(
                "the unseen categories are unknown: put train/meta.json next to the split, or list "
                "them with --unseen FILE (one per line)"
            )
        return check_frames(refuse_missing(open_predictions(dataset, predictions)), video_frames)

    def score(self, task: VideoTask) -> VideoScores:
        """Objects of one video."""
        video = task.video
        ranges = {entry.name: object_frames(entry, video.layers[0]) for entry in video.objects}
        scores = score_ranges(task, ranges)
        objects = (
            ranged_object(video.name, e.name, ranges[e.name], scores[e.name], e.group)
            for e in video.objects
        )
        return VideoScores(video.name, tuple(objects))

    def headline(self, objects: Sequence[ObjectScore]) -> Mapping[str, float]:
        """G, then J and F of seen and unseen categories."""
        row: dict[str, float] = {}
        for group, short in ((Group.SEEN, "s"), (Group.UNSEEN, "u")):
            of_group = [o for o in objects if o.group is group]
            row |= {f"{measure}_{short}": mean_of(of_group, measure) for measure in ("J", "F")}
        return {"G": average(*row.values()), **row}
