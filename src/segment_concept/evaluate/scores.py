"""What scoring produces: numbers an object, a headline, and remarks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from segment_concept.data.findings import Finding, errors_of
from segment_concept.data.videos import Group

OVERALL = "overall"


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """The measures of one object of one video.

    `values` are scores in [0, 1] by measure (decay and V aside), NaN where undefined; `curves`
    hold the measures that exist for every frame of `frames`. `part` names the share of the video
    that was scored, where a protocol scores several.
    """

    video: str
    object_name: str
    values: Mapping[str, float]
    frames: tuple[str, ...] = ()
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    part: str = OVERALL
    group: Group = Group.NONE


@dataclass(frozen=True, slots=True)
class VideoScores:
    """One video's objects and what was found on the way; a broken video has errors, no objects."""

    video: str
    objects: tuple[ObjectScore, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """The result of scoring a dataset.

    `headline` is the row of a paper's table, in its order, scores in [0, 1]; `official` says
    whether the protocol is a published evaluator's (or a reading of its description).
    """

    protocol: str
    official: bool
    headline: Mapping[str, float]
    objects: tuple[ObjectScore, ...]
    findings: tuple[Finding, ...]

    @property
    def broken_videos(self) -> tuple[str, ...]:
        """The videos that could not be scored and are missing from the headline."""
        return tuple(sorted({finding.video for finding in errors_of(self.findings)}))


def mean(values: Sequence[float]) -> float:
    """The plain mean; NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan


def mean_of(objects: Sequence[ObjectScore], measure: str) -> float:
    """The plain mean of one measure over objects, as every protocol averages: not by video."""
    return mean([scored.values[measure] for scored in objects])


def average(*scores: float) -> float:
    """The mean of a few headline scores."""
    return mean(scores)
