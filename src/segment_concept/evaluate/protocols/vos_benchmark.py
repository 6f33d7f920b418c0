"""The protocols of vos-benchmark and of SA-V's evaluator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segment_concept.datasets.findings import Finding, listed, warning
from segment_concept.datasets.masks import SUFFIX, Layer, PngLayer
from segment_concept.datasets.types import Dataset, VideoEntry
from segment_concept.evaluate.pairing import (
    ScoringPlan,
    VideoTask,
    check_frames,
    open_predictions,
    read_pairs,
    refuse_missing,
)
from segment_concept.evaluate.protocols.appearance import ObjectScores, ScoringWindow, record, watch
from segment_concept.evaluate.scores import (
    OVERALL,
    ObjectScore,
    VideoScores,
    average,
    mean,
    mean_of,
)
from segment_concept.types import InputError

_VOID = 255


def region_and_boundary(objects: Sequence[ObjectScore]) -> Mapping[str, float]:
    """J&F, J and F as plain means over all objects of all videos."""
    j, f = mean_of(objects, "J"), mean_of(objects, "F")
    return {"J&F": average(j, f), "J": j, "F": f}


def object_score(
    video: str, object_name: str, sighting: ObjectScores, window: ScoringWindow, part: str = OVERALL
) -> ObjectScore:
    """J and F of one object: plain means over the frames that count."""
    frames, scores = sighting.within(window)
    j, f = tuple(s.region for s in scores), tuple(s.boundary for s in scores)
    values = {"J": mean(j), "F": mean(f)}
    return ObjectScore(video, object_name, values, frames, {"J": j, "F": f}, part)


def early_window(video: str, object_name: str, sighting: ObjectScores) -> list[Finding]:
    """A warning where a prediction opened the window before the object was there."""
    start = sighting.shown_by_truth
    if not start:
        return []
    published, closed = (
        100 * sighting.mean_score(w) for w in (ScoringWindow.SIGHT, ScoringWindow.TRUTH)
    )
    return [
        warning(
            f"predicted {start} frames before the truth first shows it, which opens its window "
            f"early: J&F is {published:.1f} so, {closed:.1f} from its first true mask on "
            "(--window truth closes this)",
            video,
            object_name,
            sighting.frames[0],
        )
    ]


def layer_objects(
    video: str,
    truth: Layer,
    seen: Mapping[int, ObjectScores],
    window: ScoringWindow,
    part: str = OVERALL,
) -> tuple[list[ObjectScore], list[Finding]]:
    """The scores of the objects that the truth shows, and remarks about all."""
    objects, findings = [], []
    for object_id, sighting in seen.items():
        if sighting.shown_by_truth is None:
            continue
        name = truth.object_name or str(object_id)
        objects.append(object_score(video, name, sighting, window, part))
        if window is ScoringWindow.SIGHT:
            findings.extend(early_window(video, name, sighting))
    if not truth.object_name:
        findings.extend(_odd_ids(video, seen))
    return objects, findings


@dataclass(frozen=True, slots=True)
class VosBenchmark:
    """vos-benchmark: any label maps, objects from their first sight on, first and last frame off.

    `count_strays` counts files that are no masks as frames, as published: a `.DS_Store` then
    takes the place of the skipped first frame.
    """

    skip_ends: bool = True
    window: ScoringWindow = ScoringWindow.SIGHT
    count_strays: bool = False
    official: bool = True

    @property
    def name(self) -> str:
        """As on the command line."""
        return "vos-benchmark" if self.skip_ends else "vos-benchmark-every-frame"

    def frames(self, video: VideoEntry, layer: Layer) -> Sequence[str]:
        """The scored frames: all, or all but the first and the last."""
        names: Sequence[str] = layer.frames
        if self.count_strays and isinstance(layer, PngLayer):
            names = [name.removesuffix(SUFFIX) for name in layer.listing]
        return names[1:-1] if self.skip_ends else names

    def plan(self, dataset: Dataset, predictions: Path) -> ScoringPlan:
        """Videos with predictions for every scored frame."""
        return check_frames(refuse_missing(open_predictions(dataset, predictions)), self.frames)

    def score(self, task: VideoTask) -> VideoScores:
        """Objects of one video; those of a layer of its own are scored by themselves."""
        objects: list[ObjectScore] = []
        findings: list[Finding] = []
        for truth, prediction in zip(task.video.layers, task.predictions or (), strict=True):
            frames = self.frames(task.video, truth)
            seen = watch(record(read_pairs(truth, prediction, frames)))
            scored, found = layer_objects(task.video.name, truth, seen, self.window)
            if not scored:
                found.append(nothing_scored(task.video.name, truth, len(frames)))
            objects.extend(scored)
            findings.extend(found)
        return VideoScores(task.video.name, tuple(objects), tuple(findings))

    def headline(self, objects: Sequence[ObjectScore]) -> Mapping[str, float]:
        """J&F, J, F."""
        return region_and_boundary(objects)


def _odd_ids(video: str, seen: Mapping[int, ObjectScores]) -> list[Finding]:
    """Warnings about ids that look like a mistake in how masks were written."""
    true = {i for i, sighting in seen.items() if sighting.shown_by_truth is not None}
    extra = sorted(seen.keys() - true)
    findings = []
    if _VOID in extra and len(seen) == len(true) + 1:
        findings.append(
            warning(
                f"the prediction has id 255 where the truth has {listed(_names(true))}: "
                "masks of 0 and 255 are not label maps; write the object's id instead of 255",
                video,
            )
        )
    elif extra:
        findings.append(
            warning(
                f"the prediction has ids that the scored truth does not ({listed(_names(extra))}); "
                "this protocol ignores them",
                video,
            )
        )
    if _VOID in true and len(true) > 1:
        findings.append(
            warning(
                "the truth has id 255, which this protocol scores as an object; where it marks "
                "void pixels, as in DAVIS, use the protocol davis2017",
                video,
                "255",
            )
        )
    return findings


def _names(ids: set[int] | list[int]) -> list[str]:
    return [str(object_id) for object_id in sorted(ids)]


def nothing_scored(video: str, truth: Layer, frames: int) -> Finding:
    """A warning about a layer that adds nothing to the result."""
    if not frames:
        return warning(
            f"has {len(truth.frames)} annotated frames, so none is left without the first and the "
            "last: nothing is scored (vos-benchmark-every-frame scores all frames)",
            video,
            truth.object_name,
        )
    return warning(
        f"the truth shows no object in the {frames} scored frames: nothing is scored",
        video,
        truth.object_name,
    )


@dataclass(frozen=True, slots=True)
class SaV:
    """SA-V: a folder an object, scored by first sight on the annotated (6 fps) frames.

    Videos with label maps are scored as vos-benchmark does. An object that the scored frames
    never show stops the official evaluator; `drop_unseen` leaves it out instead.
    """

    skip_ends: bool = True
    window: ScoringWindow = ScoringWindow.SIGHT
    drop_unseen: bool = False
    name: str = "sav"
    official: bool = True

    def plan(self, dataset: Dataset, predictions: Path) -> ScoringPlan:
        """Videos with predictions for every scored frame of every object."""
        return self._generic().plan(dataset, predictions)

    def score(self, task: VideoTask) -> VideoScores:
        """Objects of one video.

        Raises:
            InputError: an object is in none of its scored frames.
        """
        scores = self._generic().score(task)
        if not self.drop_unseen:
            for layer in task.video.layers:
                require_shown(task.video.name, layer, scores.objects)
        return scores

    def _generic(self) -> VosBenchmark:
        return VosBenchmark(self.skip_ends, self.window)

    def headline(self, objects: Sequence[ObjectScore]) -> Mapping[str, float]:
        """J&F, J, F."""
        return region_and_boundary(objects)


def require_shown(video: str, layer: Layer, objects: Sequence[ObjectScore], part: str = "") -> None:
    """Refuse an object with a layer of its own that none of its scored frames shows.

    Raises:
        InputError: saying what the official evaluator does, and what to do.
    """
    if not layer.object_name or any(o.object_name == layer.object_name for o in objects):
        return
    skipped = "" if part else " (the first and last annotated frames are not scored)"
    first = layer.frames[0] if layer.frames else "none"
    raise InputError(
        f"video {video}, object {layer.object_name}, from frame {first} on: the truth does not "
        f"show the object in {part or 'the scored frames'}{skipped}, and the official evaluator "
        "stops at this. Remove the object from the truth, or leave it out with --drop-unseen"
    )
