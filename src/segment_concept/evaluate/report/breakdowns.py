"""Breakdowns of scores: by split, by video, over time, after cuts and reappearances."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from segment_concept.datasets.survey import VideoSurvey
from segment_concept.datasets.types import Group
from segment_concept.evaluate.protocols.secvos import PARTS
from segment_concept.evaluate.scores import OVERALL, ObjectScore, mean

_BINS = 20  # over the length of a video
_MANY_CUTS = 4  # this many and more are one group
_LONGEST_RETURN = 30  # frames after an object reappears
_VIDEOS_BY_CUTS = ("videos without cuts", "videos with one cut", "videos with several cuts")

Curve = Sequence[tuple[float, float]]  # (x, score)


@dataclass(frozen=True, slots=True)
class Row:
    """Mean scores of some objects, as shares of 1."""

    name: str
    objects: int
    both: float  # J&F, or J&F-dot for MOSE v2
    region: float
    boundary: float


@dataclass(frozen=True, slots=True)
class AfterReturn:
    """Scores of objects before they first disappear and after they reappear."""

    objects: int
    before: float
    after: float
    curve: Curve  # frames since reappearance -> mean score


def boundary_measure(scored: ObjectScore) -> str:
    """The F of the headline: F-dot if the protocol has it."""
    return "Fdot" if "Fdot" in scored.values else "F"


def both(scored: ObjectScore) -> float:
    """J&F of one object."""
    return (scored.values["J"] + scored.values[boundary_measure(scored)]) / 2


def both_curve(scored: ObjectScore) -> list[float]:
    """J&F of one object for every scored frame."""
    curves = scored.curves
    return [
        (j + f) / 2
        for j, f in zip(curves.get("J", ()), curves.get(boundary_measure(scored), ()), strict=True)
    ]


def overall(objects: Iterable[ObjectScore]) -> list[ObjectScore]:
    """The scores of whole videos, one per object."""
    return [scored for scored in objects if scored.part == OVERALL]


def row_of(name: str, objects: Sequence[ObjectScore]) -> Row:
    """Mean over objects."""
    return Row(
        name,
        len(objects),
        mean([both(o) for o in objects]),
        mean([o.values["J"] for o in objects]),
        mean([o.values[boundary_measure(o)] for o in objects]),
    )


def by_split(objects: Sequence[ObjectScore]) -> list[Row]:
    """Rows for all objects, seen and unseen classes, and each separately scored part of videos."""
    objects_overall = overall(objects)
    rows = [row_of("all", objects_overall)]
    for group in (Group.SEEN, Group.UNSEEN):
        of_group = [o for o in objects_overall if o.group is group]
        rows.extend([row_of(group.value, of_group)] if of_group else [])
    for part in dict.fromkeys(o.part for o in objects if o.part != OVERALL):
        rows.append(row_of(part.replace("_", " "), [o for o in objects if o.part == part]))
    return rows + by_cuts_of_video(objects)


def by_cuts_of_video(objects: Sequence[ObjectScore]) -> list[Row]:
    """Rows of whole videos by number of cuts, if the shots were scored separately."""
    parts: dict[str, set[str]] = {}
    for scored in objects:
        if scored.part in PARTS:
            parts.setdefault(scored.video, set()).add(scored.part)
    # The name of a video's last part gives its number of cuts.
    kinds = {video: max(visibility, key=list(PARTS).index) for video, visibility in parts.items()}
    rows = []
    for part, name in zip(PARTS, _VIDEOS_BY_CUTS, strict=True):
        of_kind = [o for o in overall(objects) if kinds.get(o.video) == part]
        rows.extend([row_of(name, of_kind)] if of_kind else [])
    return rows


def by_video(objects: Sequence[ObjectScore]) -> list[Row]:
    """A row per video, sorted by name."""
    objects_overall = overall(objects)
    names = sorted({o.video for o in objects_overall})
    return [row_of(name, [o for o in objects_overall if o.video == name]) for name in names]


def over_time(objects: Sequence[ObjectScore]) -> Curve:
    """(position in the object's scored frames in %, mean J&F there)."""
    bins: list[list[float]] = [[] for _ in range(_BINS)]
    for scored in overall(objects):
        curve = both_curve(scored)
        for i, score in enumerate(curve):
            bins[i * _BINS // len(curve)].append(score)
    return [((i + 0.5) * 100 / _BINS, mean(scores)) for i, scores in enumerate(bins) if scores]


def by_cuts(
    objects: Sequence[ObjectScore], cuts: Mapping[str, Sequence[str]]
) -> list[tuple[str, int, float]]:
    """(number of cuts so far, frames, mean J&F of those frames); `cuts` names frames by video."""
    found: dict[int, list[float]] = {}
    for scored in overall(objects):
        starts = sorted(cuts.get(scored.video, ()))
        for frame, score in zip(scored.frames, both_curve(scored), strict=False):
            count = min(bisect_right(starts, frame), _MANY_CUTS)
            found.setdefault(count, []).append(score)
    names = {_MANY_CUTS: f"{_MANY_CUTS} or more"}
    return [(names.get(k, str(k)), len(found[k]), mean(found[k])) for k in sorted(found)]


def after_return(
    objects: Sequence[ObjectScore], surveys: Mapping[str, VideoSurvey]
) -> AfterReturn | None:
    """Scores before and after the first absence, on visible frames; None if no object reappears."""
    before: list[float] = []
    after: list[float] = []
    since: list[list[float]] = [[] for _ in range(_LONGEST_RETURN)]
    count = 0
    for scored in overall(objects):
        parts = _first_return(scored, surveys.get(scored.video))
        if parts is None:
            continue
        count += 1
        before.append(mean(parts[0]))
        after.append(mean(parts[1]))
        for score, scores_at in zip(parts[1], since, strict=False):
            scores_at.append(score)
    if not count:
        return None
    curve = [(float(i), mean(scores)) for i, scores in enumerate(since) if scores]
    defined = [score for score in before if not math.isnan(score)]
    return AfterReturn(count, mean(defined), mean(after), curve)


def _first_return(
    scored: ObjectScore, survey: VideoSurvey | None
) -> tuple[list[float], list[float]] | None:
    """Scores on frames that show the object before its first absence, and after it."""
    is_visible = _visibility(scored, survey)
    visible = [is_visible(frame) for frame in scored.frames]
    if True not in visible:
        return None
    first = visible.index(True)
    if False not in visible[first:]:
        return None
    absent = first + visible[first:].index(False)
    if True not in visible[absent:]:
        return None
    scores = both_curve(scored)
    back = [s for s, v in zip(scores[absent:], visible[absent:], strict=True) if v]
    return scores[first:absent], back


def _visibility(scored: ObjectScore, survey: VideoSurvey | None) -> Callable[[str], bool]:
    if survey is None:
        return lambda frame: True
    for layer in survey.video.layers:
        if layer.object_name in ("", scored.object_name):
            row = survey.visible.get(scored.object_name, ())
            visibility = dict(zip(layer.frames, row, strict=False))
            return lambda frame: visibility.get(frame, False)
    return lambda frame: True
