"""Score each object in its own range of frames (LVOS, YouTube-VOS)."""

from collections.abc import Mapping, Sequence

from segment_concept.datasets.masks import Layer
from segment_concept.datasets.types import Group
from segment_concept.evaluate.pairing import VideoTask, read_pairs
from segment_concept.evaluate.scores import ObjectScore, mean
from segment_concept.metrics.pairs import PairScore
from segment_concept.types import InputError

Ranges = Mapping[str, Sequence[str]]  # frames by object name


def score_ranges(task: VideoTask, ranges: Ranges) -> Mapping[str, list[PairScore]]:
    """J and F of every object in its frames; each mask file is read once.

    Raises:
        InputError: the video has one folder per object, or an object has no scored frame.
    """
    truth, prediction = only_layer(task)
    for name, frames in ranges.items():
        if not frames:
            raise InputError(
                f"video {task.video.name}, object {name}: there is no frame to score between its "
                "first and its last in the metadata; remove the object from the metadata"
            )
    wanted = {name: set(frames) for name, frames in ranges.items()}
    scores: dict[str, list[PairScore]] = {name: [] for name in ranges}
    for frame, pair in read_pairs(truth, prediction, sorted(set().union(*wanted.values()))):
        for name in wanted:
            if frame in wanted[name]:
                scores[name].append(pair.score(int(name)))
    return scores


def only_layer(task: VideoTask) -> tuple[Layer, Layer]:
    """Truth and prediction of a video with label maps.

    Raises:
        InputError: the video has one folder per object.
    """
    if task.predictions is None or len(task.video.layers) != 1:
        raise InputError(
            f"video {task.video.name} has one folder per object, but this protocol needs one "
            "label map per frame: choose another --protocol"
        )
    return task.video.layers[0], task.predictions[0]


def ranged_object(
    video: str, name: str, frames: Sequence[str], scores: Sequence[PairScore], group: Group
) -> ObjectScore:
    """J and F of one object: arithmetic means over its frames."""
    curves = {"J": tuple(s.region for s in scores), "F": tuple(s.boundary for s in scores)}
    values = {measure: mean(curve) for measure, curve in curves.items()}
    return ObjectScore(video, name, values, tuple(frames), curves, group=group)
