"""Statistics by which papers compare datasets."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pictures

from segment_concept.datasets.survey import VideoSurvey
from segment_concept.datasets.types import Dataset, VideoEntry
from segment_concept.shots.adaptive import find_cuts
from segment_concept.shots.content import WIDTH
from segment_concept.types import Image, InputError
from segment_concept.video.open import open_video

SceneCounter = Callable[[VideoEntry], int | None]


@dataclass(frozen=True, slots=True)
class DatasetStats:
    """One row of the table; None if the available files do not determine a value.

    `disappear` is the share of objects with an empty frame after their first visible one,
    `reappear` of those that are visible again after it (SAM 2's disappearance rate).
    """

    videos: int
    objects: int
    masks: int
    seconds: float | None  # mean length of a video
    disappear: float | None
    reappear: float | None
    scenes: float | None  # mean number per video


def disappears(visible: Sequence[bool]) -> bool:
    """Whether the object is absent from some frame after its first visible one."""
    return True in visible and False in visible[list(visible).index(True) :]


def reappears(visible: Sequence[bool]) -> bool:
    """Whether the object is visible again after an absence.

    Equal to SA-V's `masklet_visibility_changes` of at least 2 for objects visible at first.
    """
    if not disappears(visible):
        return False
    since_first = list(visible)[list(visible).index(True) :]
    return True in since_first[since_first.index(False) :]


def dataset_stats(
    dataset: Dataset, surveys: Iterable[VideoSurvey], count_scenes: SceneCounter | None = None
) -> DatasetStats:
    """Compute the statistics; scenes are counted if a counter is given."""
    rows: list[Sequence[bool]] = []
    lengths: list[float | None] = []
    scenes: list[int | None] = []
    masks = 0
    for video_survey in surveys:
        rows.extend(video_survey.visible.values())
        masks += video_survey.masks
        lengths.append(_seconds(video_survey.video, dataset.fps))
        scenes.append(count_scenes(video_survey.video) if count_scenes is not None else None)
    complete = dataset.truth_is_complete and bool(rows)
    return DatasetStats(
        len(dataset.videos),
        len(rows),
        masks,
        _mean(lengths),
        sum(map(disappears, rows)) / len(rows) if complete else None,
        sum(map(reappears, rows)) / len(rows) if complete else None,
        _mean(scenes),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return math.fsum(numbers) / len(numbers) if numbers and len(numbers) == len(values) else None


def _seconds(video: VideoEntry, fps: float | None) -> float | None:
    if video.movie is not None:
        info = open_video(video.movie).info
        return float(info.frames / info.rate) if info.frames else None
    return len(video.pictures) / fps if fps and video.pictures else None


def scenes_by_shots(video: VideoEntry) -> int | None:
    """Number of scenes, from the shot detector; None without images.

    Raises:
        InputError: an image cannot be read.
    """
    if video.movie is not None:
        source = open_video(video.movie)
        return 1 + len(find_cuts(frame.rgb for frame in source.frames()))
    return 1 + len(find_cuts(_small_pictures(video.pictures))) if video.pictures else None


def _small_pictures(paths: Sequence[Path]) -> Iterator[Image]:
    for path in paths:
        try:
            with Pictures.open(path) as picture:
                # Decode a JPEG at a fraction of its size, which is enough for the detector.
                picture.draft("RGB", (2 * WIDTH, 2 * WIDTH * picture.height // picture.width))
                yield np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error}") from error
