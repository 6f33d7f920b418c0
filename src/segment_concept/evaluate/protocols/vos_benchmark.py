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
    """J&F, J and F as arithmetic means over all objects of all videos."""
    j, f = mean_of(objects, "J"), mean_of(objects, "F")
    return {"J&F": average(j, f), "J": j, "F": f}


def object_score(
    video: str,
    object_name: str,
    appearance: ObjectScores,
    window: ScoringWindow,
    part: str = OVERALL,
) -> ObjectScore:
    """J and F of one object: arithmetic means over the frames in the window."""
    frames, scores = appearance.within(window)
    j, f = tuple(s.region for s in scores), tuple(s.boundary for s in scores)
    values = {"J": mean(j), "F": mean(f)}
    return ObjectScore(video, object_name, values, frames, {"J": j, "F": f}, part)


def early_window(video: str, object_name: str, appearance: ObjectScores) -> list[Finding]:
    """Warn if a prediction started the scoring window before the object appeared."""
    start = appearance.first_true
    if not start:
        return []
    published, closed = (
        100 * appearance.mean_score(w) for w in (ScoringWindow.SIGHT, ScoringWindow.TRUTH)
    )
    return [
        warning(
            f"predicted {start} frames before its first true mask, which starts its scoring window "
            f"early: J&F is {published:.1f} as published, {closed:.1f} from the first true mask on "
            "(use --window truth for the latter)",
            video,
            object_name,
            appearance.frames[0],
        )
    ]


def layer_objects(
    video: str,
    truth: Layer,
    seen: Mapping[int, ObjectScores],
    window: ScoringWindow,
    part: str = OVERALL,
) -> tuple[list[ObjectScore], list[Finding]]:
    """Scores of the objects in the truth, and findings about all objects."""
    objects, findings = [], []
    for object_id, appearance in seen.items():
        if appearance.first_true is None:
            continue
        name = truth.object_name or str(object_id)
        objects.append(object_score(video, name, appearance, window, part))
        if window is ScoringWindow.SIGHT:
            findings.extend(early_window(video, name, appearance))
    if not truth.object_name:
        findings.extend(_odd_ids(video, seen))
    return objects, findings


@dataclass(frozen=True, slots=True)
class VosBenchmark:
    """vos-benchmark: label maps, objects from their first appearance, first and last frame skipped.

    `count_strays` counts non-mask files as frames, as published: a `.DS_Store` is then skipped in
    place of the first frame.
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
        """Objects of one video; objects with a layer of their own are scored separately."""
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
    """Warn about ids that suggest a mistake in how the masks were written."""
    true = {i for i, appearance in seen.items() if appearance.first_true is not None}
    extra = sorted(seen.keys() - true)
    findings = []
    if _VOID in extra and len(seen) == len(true) + 1:
        findings.append(
            warning(
                f"the prediction has id 255 and the truth has {listed(_names(true))}: "
                "masks of 0 and 255 are not label maps; write the object id instead of 255",
                video,
            )
        )
    elif extra:
        findings.append(
            warning(
                f"the prediction has ids that are not in the scored truth "
                f"({listed(_names(extra))}); this protocol ignores them",
                video,
            )
        )
    if _VOID in true and len(true) > 1:
        findings.append(
            warning(
                "the truth has id 255, which this protocol scores as an object; if it marks void "
                "pixels, as in DAVIS, use the protocol davis2017",
                video,
                "255",
            )
        )
    return findings


def _names(ids: set[int] | list[int]) -> list[str]:
    return [str(object_id) for object_id in sorted(ids)]


def nothing_scored(video: str, truth: Layer, frames: int) -> Finding:
    """Warn about a layer without scored objects."""
    if not frames:
        return warning(
            f"has {len(truth.frames)} annotated frames, and the first and last are skipped, so "
            "nothing is scored (the protocol vos-benchmark-every-frame scores all frames)",
            video,
            truth.object_name,
        )
    return warning(
        f"the truth has no object in the {frames} scored frames, so nothing is scored",
        video,
        truth.object_name,
    )


@dataclass(frozen=True, slots=True)
class SaV:
    """SA-V: one folder per object, scored from first appearance on the annotated (6 fps) frames.

    Videos with label maps are scored as in vos-benchmark. The official evaluator stops at an object
    that appears in no scored frame; `drop_unseen` leaves it out instead.
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
            InputError: an object appears in none of its scored frames.
        """
        scores = self._generic().score(task)
        if not self.drop_unseen:
            for layer in task.video.layers:
                require_visible(task.video.name, layer, scores.objects)
        return scores

    def _generic(self) -> VosBenchmark:
        return VosBenchmark(self.skip_ends, self.window)

    def headline(self, objects: Sequence[ObjectScore]) -> Mapping[str, float]:
        """J&F, J, F."""
        return region_and_boundary(objects)


def require_visible(
    video: str, layer: Layer, objects: Sequence[ObjectScore], part: str = ""
) -> None:
    """Raise InputError for an object with its own layer that appears in no scored frame.

    Raises:
        InputError: the object never appears; the message says what to do.
    """
    if not layer.object_name or any(o.object_name == layer.object_name for o in objects):
        return
    skipped = "" if part else " (the first and last annotated frames are not scored)"
    first = layer.frames[0] if layer.frames else "none"
    raise InputError(
        f"video {video}, object {layer.object_name}, from frame {first} on: the truth has no mask "
        f"of the object in {part or 'the scored frames'}{skipped}, and the official evaluator "
        "stops at this. Remove the object from the truth, or leave it out with --drop-unseen"
    )
