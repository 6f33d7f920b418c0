"""Score each object from the first frame in which it appears.

vos-benchmark, SA-V and SeCVOS score this way. As published, an object appears when truth *or
prediction* has a pixel of it. A single wrongly predicted pixel can therefore start an object's
scoring window early, and every frame on which both masks are empty then scores 1. Use
`ScoringWindow.TRUTH` to start at the first annotated frame instead.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from segment_concept.evaluate.scores import mean
from segment_concept.metrics.pairs import BOTH_EMPTY, LabelPair, PairScore


class ScoringWindow(str, Enum):
    """First scored frame of an object."""

    SIGHT = "sight"  # the first frame with the object in truth or prediction (as published)
    TRUTH = "truth"  # the first frame with the object in the truth
    ALL = "all"  # the first scored frame, as in DAVIS 2017


@dataclass(slots=True)
class ObjectScores:
    """Frames and scores of one object from its first appearance in truth or prediction."""

    earlier: tuple[str, ...]  # scored frames before that, with both masks empty
    frames: list[str] = field(default_factory=list)
    scores: list[PairScore] = field(default_factory=list)
    first_true: int | None = None  # position in `frames` of the first true mask

    def within(self, window: ScoringWindow) -> tuple[tuple[str, ...], tuple[PairScore, ...]]:
        """Frames and scores inside the window, for an object that the truth contains."""
        if window is ScoringWindow.ALL:
            absent = (BOTH_EMPTY,) * len(self.earlier)
            return self.earlier + tuple(self.frames), absent + tuple(self.scores)
        start = (self.first_true or 0) if window is ScoringWindow.TRUTH else 0
        return tuple(self.frames[start:]), tuple(self.scores[start:])

    def mean_score(self, window: ScoringWindow) -> float:
        """Mean J&F in a window, to report the effect of the choice."""
        _, scores = self.within(window)
        return mean([(score.region + score.boundary) / 2 for score in scores])


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """Scores of one frame by object id, for every object in truth or prediction."""

    frame: str
    true_ids: frozenset[int]
    scores: Mapping[int, PairScore]


def record(pairs: Iterable[tuple[str, LabelPair]]) -> Iterator[FrameRecord]:
    """Score every object in each frame."""
    for frame, pair in pairs:
        ids = sorted(pair.true_ids | pair.predicted_ids)
        yield FrameRecord(frame, pair.true_ids, {i: pair.score(i) for i in ids})


def watch(records: Iterable[FrameRecord]) -> Mapping[int, ObjectScores]:
    """Collect the scores by object id, for every object in truth or prediction."""
    seen: dict[int, ObjectScores] = {}
    past: list[str] = []
    for frame_record in records:
        for object_id in frame_record.scores.keys() - seen.keys():
            seen[object_id] = ObjectScores(tuple(past))
        for object_id, sighting in seen.items():
            if sighting.first_true is None and object_id in frame_record.true_ids:
                sighting.first_true = len(sighting.frames)
            sighting.frames.append(frame_record.frame)
            sighting.scores.append(frame_record.scores.get(object_id, BOTH_EMPTY))
        past.append(frame_record.frame)
    return dict(sorted(seen.items()))
