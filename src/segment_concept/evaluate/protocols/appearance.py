"""Scoring by first sight: an object counts from the first frame in which it is seen.

This is how vos-benchmark scores, and after it SA-V and SeCVOS. As published, "seen" includes
seen by the prediction. One stray predicted pixel therefore opens an object's window early, and
every frame in which both masks are empty then scores 1. `ScoringWindow` closes that door.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from segment_concept.evaluate.scores import mean
from segment_concept.metrics.pairs import BOTH_EMPTY, LabelPair, PairScore


class ScoringWindow(str, Enum):
    """From which frame on an object is scored."""

    SIGHT = "sight"  # the first in which truth or prediction shows it (as published)
    TRUTH = "truth"  # the first in which the truth shows it
    ALL = "all"  # the first scored frame, as DAVIS 2017 does


@dataclass(slots=True)
class ObjectScores:
    """One object's record: frames and scores from its first sight in truth or prediction."""

    earlier: tuple[str, ...]  # scored frames before, with both masks empty
    frames: list[str] = field(default_factory=list)
    scores: list[PairScore] = field(default_factory=list)
    shown_by_truth: int | None = None  # position in `frames` of the first true mask

    def within(self, window: ScoringWindow) -> tuple[tuple[str, ...], tuple[PairScore, ...]]:
        """Frames and scores that count. Only for an object that the truth shows."""
        if window is ScoringWindow.ALL:
            absent = (BOTH_EMPTY,) * len(self.earlier)
            return self.earlier + tuple(self.frames), absent + tuple(self.scores)
        start = (self.shown_by_truth or 0) if window is ScoringWindow.TRUTH else 0
        return tuple(self.frames[start:]), tuple(self.scores[start:])

    def mean_score(self, window: ScoringWindow) -> float:
        """J&F, to say what a choice of window costs."""
        _, scores = self.within(window)
        return mean([(score.region + score.boundary) / 2 for score in scores])


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One frame's scores by object id, of every object in truth or prediction."""

    frame: str
    true_ids: frozenset[int]
    scores: Mapping[int, PairScore]


def record(pairs: Iterable[tuple[str, LabelPair]]) -> Iterator[FrameRecord]:
    """Score every object that a frame shows."""
    for frame, pair in pairs:
        ids = sorted(pair.true_ids | pair.predicted_ids)
        yield FrameRecord(frame, pair.true_ids, {i: pair.score(i) for i in ids})


def watch(records: Iterable[FrameRecord]) -> Mapping[int, ObjectScores]:
    """Every object seen in the frames, by id, in truth or only in the prediction."""
    seen: dict[int, ObjectScores] = {}
    past: list[str] = []
    for here in records:
        for object_id in here.scores.keys() - seen.keys():
            seen[object_id] = ObjectScores(tuple(past))
        for object_id, sighting in seen.items():
            if sighting.shown_by_truth is None and object_id in here.true_ids:
                sighting.shown_by_truth = len(sighting.frames)
            sighting.frames.append(here.frame)
            sighting.scores.append(here.scores.get(object_id, BOTH_EMPTY))
        past.append(here.frame)
    return dict(sorted(seen.items()))
