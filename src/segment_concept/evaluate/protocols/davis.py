"""DAVIS 2016, and DAVIS 2017 for both of its tasks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segment_concept.datasets.findings import Finding, listed, warning
from segment_concept.datasets.masks import Labels, Layer
from segment_concept.datasets.types import Dataset, VideoEntry
from segment_concept.evaluate.pairing import (
    ScoringPlan,
    VideoTask,
    check_frames,
    open_predictions,
    refuse_missing,
)
from segment_concept.evaluate.protocols.matching import best_matching
from segment_concept.evaluate.protocols.ranges import only_layer
from segment_concept.evaluate.scores import ObjectScore, VideoScores, average, mean, mean_of
from segment_concept.metrics.pairs import BOTH_EMPTY, LabelPair, PairScore, davis_pair, ids_of
from segment_concept.metrics.statistics import decay, recall
from segment_concept.types import InputError

VOID = 255  # unlabeled pixels of the truth
MOST_PROPOSALS = 20
_EIGHT_BITS = 256
_MEASURES = ("J", "J recall", "J decay", "F", "F recall", "F decay")


def davis_headline(objects: Sequence[ObjectScore]) -> Mapping[str, float]:
    """J&F, then mean, recall and decay of J and of F, as plain means over objects."""
    row = {measure: mean_of(objects, measure) for measure in _MEASURES}
    return {"J&F": average(row["J"], row["F"]), **row}


def davis_object(
    video: str, name: str, frames: Sequence[str], scores: Sequence[PairScore]
) -> ObjectScore:
    """One object's statistics over the scored frames."""
    curves = {"J": tuple(s.region for s in scores), "F": tuple(s.boundary for s in scores)}
    values = {}
    for measure, curve in curves.items():
        values[measure] = mean(curve)
        values[f"{measure} recall"] = recall(curve)
        values[f"{measure} decay"] = decay(curve)
    return ObjectScore(video, name, values, tuple(frames), curves)


def _long_video(video: str, objects: Sequence[ObjectScore]) -> list[Finding]:
    long = [o for o in objects if len(o.frames) > _EIGHT_BITS]
    if not long:
        return []
    meant = mean([decay(o.curves["J"], as_published=False) for o in long])
    return [
        warning(
            f"has {len(long[0].frames)} scored frames: the official decay counts frames in 8 bits "
            f"and is wrong beyond 256 frames; the intended J decay is {meant:.3f}",
            video,
        )
    ]


def _inner_frames(video: VideoEntry, layer: Layer) -> Sequence[str]:
    return layer.frames[1:-1]


def _all_frames(video: VideoEntry, layer: Layer) -> Sequence[str]:
    return layer.frames


def _require_inner(video: str, frames: Sequence[str]) -> None:
    if len(frames) <= 2:
        raise InputError(
            f"video {video} has {len(frames)} annotated frames ({listed(frames)}); the first and "
            "last are not scored, so none is left: leave the video out, or use the protocol "
            "vos-benchmark-every-frame"
        )


@dataclass(frozen=True, slots=True)
class Davis2016:
    """DAVIS 2016: one object (every non-zero pixel); the first and last frame are not scored."""

    name: str = "davis2016"
    official: bool = True

    def plan(self, dataset: Dataset, predictions: Path) -> ScoringPlan:
        """Videos with predictions for every scored frame."""
        return check_frames(refuse_missing(open_predictions(dataset, predictions)), _inner_frames)

    def score(self, task: VideoTask) -> VideoScores:
        """The video's object."""
        truth, prediction = only_layer(task)
        video = task.video.name
        _require_inner(video, truth.frames)
        frames = truth.frames[1:-1]
        scores = []
        for _, (predicted, true) in _label_maps(truth, prediction, frames):
            pair = LabelPair((predicted != 0).view(np.uint8), (true != 0).view(np.uint8))
            scores.append(pair.score(1))
        scored = davis_object(video, "1", frames, scores)
        return VideoScores(video, (scored,), tuple(_long_video(video, [scored])))

    def headline(self, objects: Sequence[ObjectScore]) -> Mapping[str, float]:
        """J&F, and mean, recall and decay of each."""
        return davis_headline(objects)


def _label_maps(
    truth: Layer, prediction: Layer, frames: Sequence[str]
) -> Iterator[tuple[str, tuple[Labels, Labels]]]:
    """Prediction and truth of each frame, of equal size.

    Raises:
        InputError: the files have different sizes; both are named.
    """
    for frame in frames:
        predicted, true = prediction.read(frame), truth.read(frame)
        if predicted.shape != true.shape:
            raise InputError(
                f"{prediction.where(frame)} is {predicted.shape[1]}x{predicted.shape[0]} but "
                f"{truth.where(frame)} is {true.shape[1]}x{true.shape[0]}: predict at the truth's "
                "size (resize ids with nearest neighbour)"
            )
        yield frame, (predicted, true)


def _without_void(labels: Labels) -> Labels:
    """The label map with void pixels as background."""
    void = labels == VOID
    return np.where(void, 0, labels).astype(labels.dtype) if void.any() else labels


@dataclass(frozen=True, slots=True)
class Davis2017:
    """DAVIS 2017, semi-supervised: objects 1 to the highest id of the truth's frame 0.

    As published: every id up to the highest counts, even one without a mask (its score is always
    1); an object that is not on frame 0 is not scored, and predicting it is an error; 255 in the
    truth is background.
    """

    name: str = "davis2017"
    official: bool = True

    def plan(self, dataset: Dataset, predictions: Path) -> ScoringPlan:
        """Videos with predictions for every scored frame."""
        return check_frames(refuse_missing(open_predictions(dataset, predictions)), _inner_frames)

    def score(self, task: VideoTask) -> VideoScores:
        """Objects of one video.

        Raises:
            InputError: fewer than three frames, or an id higher than frame 0 has.
        """
        truth, prediction = only_layer(task)
        video = task.video.name
        _require_inner(video, truth.frames)
        start = _without_void(truth.read(truth.frames[0]))
        ids = range(1, int(start.max(initial=0)) + 1)
        scores: dict[int, list[PairScore]] = {object_id: [] for object_id in ids}
        frames = truth.frames[1:-1]
        for frame, (predicted, true) in _label_maps(truth, prediction, frames):
            pair = LabelPair(predicted, _without_void(true))
            _refuse_higher(pair, len(ids), prediction.where(frame))
            for object_id in ids:
                scores[object_id].append(pair.score(object_id))
        objects = [davis_object(video, str(i), frames, scores[i]) for i in ids]
        findings = _frame_0(video, start, truth.frames[0]) + _long_video(video, objects)
        return VideoScores(video, tuple(objects), tuple(findings))

    def headline(self, objects: Sequence[ObjectScore]) -> Mapping[str, float]:
        """J&F, and mean, recall and decay of each."""
        return davis_headline(objects)


def _refuse_higher(pair: LabelPair, highest: int, location: str) -> None:
    higher = sorted(i for i in pair.predicted_ids if i > highest)
    if not higher:
        return
    ids = listed([str(i) for i in higher])
    if higher == [VOID]:
        remedy = "a mask of 0 and 255 is not a label map: write the object id instead of 255"
    elif pair.true_ids & set(higher):
        remedy = (
            "the object appears after frame 0, which DAVIS 2017 does not score: use the protocol "
            "vos-benchmark, or leave the object out of the prediction"
        )
    else:
        remedy = "write only the ids of frame 0 of the truth"
    raise InputError(
        f"{location} has object id {ids}, but frame 0 of the truth has ids up to {highest}; "
        f"{remedy}"
    )


def _frame_0(video: str, labels: Labels, frame: str) -> list[Finding]:
    existing = {int(i) for i in np.unique(labels) if i}
    if not existing:
        message = (
            "frame 0 of the truth has no object, so nothing is scored (DAVIS 2017 reads 255 as "
            "void: use the protocol davis2016 for masks of 0 and 255)"
        )
        return [warning(message, video, frame=frame)]
    missing_ids = sorted(set(range(1, max(existing) + 1)) - existing)
    if not missing_ids:
        return []
    ids = listed([str(i) for i in missing_ids])
    message = (
        f"frame 0 of the truth has no object {ids}, but the official evaluator counts every id up "
        f"to {max(existing)}, with score 1 if none is predicted; vos-benchmark counts existing ids"
    )
    return [warning(message, video, frame=frame)]


@dataclass(frozen=True, slots=True)
class Davis2017Unsupervised:
    """DAVIS 2017, unsupervised: up to 20 proposals, matched to objects for the best mean J&F.

    All frames are scored; void pixels (255 in the truth) are ignored. Objects are reported under
    their own id; the value "proposal" is the id of the matched proposal (0: none).
    """

    name: str = "davis2017-unsupervised"
    official: bool = True

    def plan(self, dataset: Dataset, predictions: Path) -> ScoringPlan:
        """Videos with predictions for every frame."""
        return check_frames(refuse_missing(open_predictions(dataset, predictions)), _all_frames)

    def score(self, task: VideoTask) -> VideoScores:
        """Objects of one video, each with its matched proposal.

        Raises:
            InputError: more than 20 proposals.
        """
        truth, prediction = only_layer(task)
        video = task.video.name
        start = _without_void(truth.read(truth.frames[0]))
        ids = range(1, int(start.max(initial=0)) + 1)
        frames_scores = list(_frame_scores(truth, prediction, ids))
        proposals = max(
            (max(frame_scores.proposals, default=0) for frame_scores in frames_scores), default=0
        )
        # Pad with empty proposals if there are fewer proposals than objects.
        rows = range(1, max(proposals, len(ids)) + 1)
        table = np.array([[[c.score(p, i) for c in frames_scores] for i in ids] for p in rows])
        gain = table.mean(axis=(2, 3)) if table.size else np.zeros((len(rows), len(ids)))
        objects = []
        for row, column in best_matching(gain):
            scores = [PairScore(float(j), float(f)) for j, f in table[row, column]]
            scored = davis_object(video, str(ids[column]), truth.frames, scores)
            matched = float(rows[row] if rows[row] <= proposals else 0)
            objects.append(replace(scored, values={**scored.values, "proposal": matched}))
        objects.sort(key=lambda scored: int(scored.object_name))
        findings = _frame_0(video, start, truth.frames[0]) + _long_video(video, objects)
        return VideoScores(video, tuple(objects), tuple(findings))

    def headline(self, objects: Sequence[ObjectScore]) -> Mapping[str, float]:
        """J&F, and mean, recall and decay of each."""
        return davis_headline(objects)


@dataclass(frozen=True, slots=True)
class _FrameScores:
    """Scores of every proposal against every object on one frame; id 0 means none."""

    proposals: frozenset[int]
    scores: Mapping[tuple[int, int], PairScore]

    def score(self, proposal: int, object_id: int) -> PairScore:
        """Score of two ids; an id that is not on the frame counts as 0 (none)."""
        score = self.scores.get((proposal, object_id))
        if score is not None:
            return score
        if (proposal, 0) in self.scores:
            return self.scores[proposal, 0]
        return self.scores.get((0, object_id), BOTH_EMPTY)


def _frame_scores(truth: Layer, prediction: Layer, ids: Sequence[int]) -> Iterator[_FrameScores]:
    for frame, (predicted, true) in _label_maps(truth, prediction, truth.frames):
        highest_id = int(predicted.max(initial=0))
        if highest_id > MOST_PROPOSALS:
            raise InputError(
                f"{prediction.where(frame)} has proposal {highest_id}: at most {MOST_PROPOSALS} "
                "are allowed, numbered from 1"
            )
        existing = ids_of(predicted)
        void = true == VOID
        pair = LabelPair(np.where(void, 0, predicted), np.where(void, 0, true))
        true_ids = [0, *(i for i in ids if i in pair.true_ids)]
        scores = {(p, i): davis_pair(pair.cross(p, i)) for p in (0, *existing) for i in true_ids}
        yield _FrameScores(existing, scores)
