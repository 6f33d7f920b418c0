"""Pair a dataset's videos with predictions on disk and report what cannot be scored."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segment_concept.datasets.findings import Finding, error, listed, warning
from segment_concept.datasets.folders import folders_in, missing_numbers
from segment_concept.datasets.masks import SUFFIX, Layer, PngLayer
from segment_concept.datasets.types import Dataset, VideoEntry
from segment_concept.metrics.pairs import LabelPair
from segment_concept.types import InputError

Chooser = Callable[[VideoEntry, Layer], Sequence[str]]


@dataclass(frozen=True, slots=True)
class VideoTask:
    """One video to score, the unit of work. `predictions[i]` belongs to `video.layers[i]`.

    `predictions` is None if the video's folder is missing.
    """

    video: VideoEntry
    folder: Path
    predictions: tuple[PngLayer, ...] | None


@dataclass(frozen=True, slots=True)
class ScoringPlan:
    """The videos to score, and the problems found so far."""

    tasks: tuple[VideoTask, ...]
    findings: tuple[Finding, ...]


def open_predictions(dataset: Dataset, root: Path) -> ScoringPlan:
    """Pair every video of the dataset with its folder of predictions, if there is one.

    Raises:
        InputError: the folder is missing, empty, or has none of the dataset's videos.
    """
    predicted = set(folders_in(root))
    expected = [video.name for video in dataset.videos]
    if not predicted.intersection(expected):
        raise InputError(_nothing_in_common(root, expected, sorted(predicted)))
    findings: list[Finding] = []
    extra = sorted(predicted - set(expected))
    if extra:
        findings.append(
            warning(
                f"{len(extra)} folders in {root} are not videos of the dataset and are ignored: "
                f"{listed(extra)}"
            )
        )
    tasks = tuple(_task(video, root / video.name) for video in dataset.videos)
    return ScoringPlan(tasks, tuple(findings))


def refuse_missing(plan: ScoringPlan) -> ScoringPlan:
    """Drop videos without predictions, with an error for each."""
    tasks = tuple(task for task in plan.tasks if task.predictions is not None)
    missing = tuple(
        error(
            f"{task.folder} is missing: predict this video, or leave it out with --skip-broken",
            task.video.name,
        )
        for task in plan.tasks
        if task.predictions is None
    )
    return ScoringPlan(tasks, plan.findings + missing)


def _nothing_in_common(root: Path, expected: Sequence[str], predicted: Sequence[str]) -> str:
    if not predicted:
        return (
            f"{root} has no subfolders: expected one per video, with PNG masks "
            f"(such as {root / expected[0] / ('00000' + SUFFIX)})"
        )
    return (
        f"{root} has none of the dataset's {len(expected)} videos. It has {listed(predicted, 3)}; "
        f"the dataset has {listed(expected, 3)}. Are these predictions of another dataset or split?"
    )


def _task(video: VideoEntry, folder: Path) -> VideoTask:
    if not folder.is_dir():
        return VideoTask(video, folder, None)
    return VideoTask(video, folder, prediction_layers(video, folder))


def prediction_layers(video: VideoEntry, folder: Path) -> tuple[PngLayer, ...]:
    """The predicted layers of a video, in the order of its annotated layers."""
    # A single layer with a name but no folder of its own is a video of one object (DAVIS 2016).
    has_folders = any(
        layer.object_name and not (isinstance(layer, PngLayer) and layer.folder.name == video.name)
        for layer in video.layers
    )
    return tuple(
        PngLayer(folder / layer.object_name if has_folders else folder, layer.object_name)
        for layer in video.layers
    )


def check_frames(plan: ScoringPlan, scored: Chooser) -> ScoringPlan:
    """Drop videos with scored frames that have no prediction, with an error for each."""
    findings = list(plan.findings)
    tasks = []
    for task in plan.tasks:
        found = _missing_frames(task, scored)
        findings.extend(found)
        findings.extend(_extra_frames(task))
        findings.extend(_strays(task))
        if not found:
            tasks.append(task)
    return ScoringPlan(tuple(tasks), tuple(findings))


def _missing_frames(task: VideoTask, scored: Chooser) -> list[Finding]:
    findings = []
    for truth, prediction in zip(task.video.layers, task.predictions or (), strict=False):
        name = (task.video.name, truth.object_name)
        if not truth.frames:
            message = "the truth has no PNG mask: complete the annotations"
            findings.append(error(message, *name))
            continue
        needed = scored(task.video, truth)
        available, annotated = set(prediction.frames), set(truth.frames)
        missing = [frame for frame in needed if frame not in available]
        if missing:
            message = _missing_message(prediction, needed, missing)
            findings.append(error(message, *name, missing[0]))
        unknown = [frame for frame in needed if frame not in annotated]
        if unknown:
            message = (
                f"{truth.where(unknown[0])} is missing: the metadata lists {len(unknown)} masks "
                f"that the truth does not have ({listed(unknown)}); complete the annotations"
            )
            findings.append(error(message, *name, unknown[0]))
    return findings


def _missing_message(prediction: PngLayer, needed: Sequence[str], missing: Sequence[str]) -> str:
    available = prediction.frames
    if not prediction.folder.is_dir():
        return f"{prediction.folder} is missing: write this object's masks there"
    if not available:
        return f"{prediction.folder} has no PNG file: write one mask per frame"
    if len(missing) == len(needed):
        return (
            f"{prediction.folder} has none of the {len(needed)} scored frames: it has "
            f"{listed(available, 3)}, expected {listed(missing, 3)}; use the names of the "
            "annotations"
        )
    return (
        f"{prediction.folder} lacks {len(missing)} of {len(needed)} scored frames "
        f"({listed(missing)}); write a mask for every frame, empty if the object is absent"
    )


def _extra_frames(task: VideoTask) -> Iterator[Finding]:
    """Warn about predictions without truth, if the truth is annotated on every frame."""
    for truth, prediction in zip(task.video.layers, task.predictions or (), strict=False):
        extra = sorted(set(prediction.frames) - set(truth.frames))
        if extra and not missing_numbers(truth.frames, step=1):
            yield warning(
                f"{prediction.folder} has {len(extra)} masks for frames that the truth does not "
                f"have ({listed(extra)}); they are ignored",
                task.video.name,
                truth.object_name,
                extra[0],
            )


def _strays(task: VideoTask) -> Iterator[Finding]:
    layers = [*task.video.layers, *(task.predictions or ())]
    for layer in layers:
        if isinstance(layer, PngLayer) and layer.extra_files:
            # Other evaluators count files by position, so an extra file shifts their frames.
            yield warning(
                f"{layer.folder} also has {listed(layer.extra_files)}, which is not a mask and is "
                "ignored (some evaluators count it as a frame)",
                task.video.name,
                layer.object_name,
            )


def read_pairs(
    truth: Layer, prediction: Layer, frames: Sequence[str]
) -> Iterator[tuple[str, LabelPair]]:
    """Read the label maps of truth and prediction, frame by frame.

    Raises:
        InputError: a file cannot be read, or two files have different sizes; they are named.
    """
    for frame in frames:
        predicted, true = prediction.read(frame), truth.read(frame)
        try:
            pair = LabelPair(predicted, true)
        except InputError as error:
            raise InputError(
                f"{prediction.where(frame)} does not match {truth.where(frame)}: {error}"
            ) from error
        yield frame, pair
