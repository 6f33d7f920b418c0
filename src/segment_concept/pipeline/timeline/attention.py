"""Which frames of a run a person should look at first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from segment_concept.pipeline.timeline.series import ObjectSeries, TimelineData

DOUBTFUL = (
    0.5  # half of the scale of both scores: below it a wrong mask is as likely as a right one
)
MOST = 30  # entries of the list


@dataclass(frozen=True, slots=True)
class Doubt:
    """A stretch of frames, and why to look at it. `frame` is the one to look at."""

    object_id: int
    frame: int
    last: int
    why: str
    score: float  # the lower, the more urgent


def frames_to_check(timeline: TimelineData) -> list[Doubt]:
    """Stretches of doubt in the order of the video: absences, low scores, low scores after cuts.

    Of more than `MOST` those with the lowest scores are kept.
    """
    found = [d for i, series in timeline.objects.items() for d in _doubts(i, series, timeline.cuts)]
    urgent = sorted(found, key=lambda doubt: (doubt.score, doubt.frame))[:MOST]
    return sorted(urgent, key=lambda doubt: (doubt.frame, doubt.object_id))


def _doubts(object_id: int, series: ObjectSeries, cuts: Sequence[int]) -> Iterator[Doubt]:
    frames, starts = series.frames, set(cuts)
    scores = zip(series.presence, series.quality, strict=True)
    score = [min(presence, quality) for presence, quality in scores]
    for places in _stretches(series, lambda place: series.share[place] == 0):
        first, last = frames[places[0]], frames[places[-1]]
        if len(places) == len(frames):
            yield Doubt(object_id, first, last, "never found: is the prompt right?", -1.0)
        else:
            yield Doubt(object_id, first, last, "not found: is it really out of sight?", 0.0)
    low = _stretches(series, lambda place: series.share[place] > 0 and score[place] < DOUBTFUL)
    for places in low:
        worst = min(places, key=lambda place: score[place])
        after_cut = frames[places[0]] in starts
        why = "found again after a cut with a low score: is it the same object?"
        yield Doubt(
            object_id,
            frames[places[0] if after_cut else worst],
            frames[places[-1]],
            why if after_cut else "found with a low score: is the mask right?",
            score[worst],
        )


def _stretches(series: ObjectSeries, wanted: Callable[[int], bool]) -> Iterator[list[int]]:
    """Places of consecutive frames that are wanted."""
    for is_wanted, places in groupby(range(len(series.frames)), wanted):
        if is_wanted:
            yield list(places)
