"""Predicting a video of a benchmark with a tracker."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.datasets.findings import listed
from segment_concept.datasets.masks import SUFFIX, PngLayer, read_picture
from segment_concept.datasets.types import Benchmark, Dataset, VideoEntry
from segment_concept.evaluate.first_masks import FirstMask, first_masks
from segment_concept.evaluate.pairing import prediction_layers
from segment_concept.ops.png import mask_png, palette_png
from segment_concept.pipeline.playback import play
from segment_concept.runtime.background import BackgroundWorker
from segment_concept.shots.adaptive import find_cuts
from segment_concept.tracking.api import Prompts, TrackingSession, VideoTracker
from segment_concept.tracking.offline import check_offline, second_pass
from segment_concept.types import Frame, FrameResult, Image, InputError, Mask, ObjectId, Prompt
from segment_concept.video.open import open_video

_LARGEST_PALETTE_ID = 255

Results: TypeAlias = Sequence[FrameResult]
_Tracked: TypeAlias = tuple[str, Frame, Results]  # the name of a frame, it, and its results


@dataclass(frozen=True, slots=True)
class VideoJob:
    """One video to predict.

    Attributes:
        video: of a dataset.
        first_masks: the masks from which its objects are tracked.
        fps: frame rate; None if it is not known.
        scored_frames: names of the frames whose masks are written; None for all.
        alone: track each object in its own session, independent of the others.
        offline: track the video twice, the second time with the finalized keyframe banks.
    """

    video: VideoEntry
    first_masks: tuple[FirstMask, ...]
    fps: float | None
    scored_frames: frozenset[str] | None = None
    alone: bool = False
    offline: bool = False

    def name(self, index: int) -> str:
        """The name of a frame."""
        return f"{index:05d}" if self.video.movie else self.video.pictures[index].stem

    def index(self, name: str) -> int:
        """The index of a frame; `video_job` has checked that there is one of that name."""
        if self.video.movie:
            return int(name)
        return [path.stem for path in self.video.pictures].index(name)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Result of a video, which does not depend on time or machine."""

    frames: int
    objects: int
    concept_calls: int  # frames on which the concept encoder was asked, summed over sessions
    cuts: tuple[str, ...]  # names of the frames that begin a new shot


def video_job(
    dataset: Dataset, video: VideoEntry, *, alone: bool = False, offline: bool = False
) -> VideoJob:
    """The prompts and frames of a video; reads the masks of its objects.

    For SA-V, whose truth has 6 of 24 frames per second, only those frames get masks.

    Raises:
        InputError: masks or images are missing or damaged.
    """
    masks = first_masks(video, dataset.benchmark)
    if not video.pictures and video.movie is None:
        raise InputError(f"video {video.name} has no images: complete the dataset")
    names = {path.stem for path in video.pictures}
    missing = sorted({m.frame for m in masks} - names) if names else []
    if missing:
        raise InputError(
            f"video {video.name}: there is no image for the masks of {listed(missing)}; images "
            "and masks must have the same names"
        )
    scored = None
    if dataset.benchmark is Benchmark.SA_V:
        scored = frozenset(frame for layer in video.layers for frame in layer.frames)
    return VideoJob(video, masks, dataset.fps, scored, alone, offline)


def predict_video(tracker: VideoTracker, job: VideoJob, folder: Path) -> Prediction:
    """Track a video's objects and write their masks into an empty folder, in the scorer's layout.

    Raises:
        InputError: an image cannot be read, or does not fit its mask; the job is offline and
            the tracker has no concept encoder.
        OSError: the masks cannot be written.
    """
    layers = prediction_layers(job.video, folder)
    for layer in layers:
        layer.folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    calls = 0
    writer: BackgroundWorker[_Tracked] = BackgroundWorker(partial(_write_masks, layers, job))

    def pixels() -> Iterator[Image]:
        nonlocal calls
        for name, frame, results in track_video(tracker, job):
            names.append(name)
            calls += sum(result.concept_queried for result in results)
            if job.scored_frames is None or name in job.scored_frames:
                writer.put((name, frame, results))
            yield frame.rgb

    try:
        cuts = find_cuts(pixels())  # consumes the frames one by one
        writer.drain()
    finally:
        writer.stop()
    return Prediction(len(names), len(job.first_masks), calls, tuple(names[i] for i in cuts))


def read_frames(job: VideoJob) -> Iterator[Frame]:
    """Every frame of a video.

    Raises:
        InputError: a picture is missing or damaged.
    """
    if job.video.movie is not None:
        yield from open_video(job.video.movie).frames()
        return
    for index, path in enumerate(job.video.pictures):
        yield Frame(index, read_picture(path), index / job.fps if job.fps else None)


def track_video(
    tracker: VideoTracker, job: VideoJob
) -> Generator[tuple[str, Frame, list[FrameResult]], None, None]:
    """Track a video's objects, each from the frame on which its mask is given.

    Yields:
        Of every frame its name, the frame, and the results: one for all objects together, or one
        for each object that is tracked alone. Frames before the first given mask have none.

    Raises:
        InputError: as `predict_video`.
    """
    if job.offline:
        check_offline(tracker)
    if not job.alone:
        yield from _track_together(tracker, job)
        return
    each = [_track_together(tracker, replace(job, first_masks=(mask,))) for mask in job.first_masks]
    for frames in zip(*each, strict=True):
        name, frame, _ = frames[0]
        yield name, frame, [result for _, _, results in frames for result in results]


def _track_together(
    tracker: VideoTracker, job: VideoJob
) -> Iterator[tuple[str, Frame, list[FrameResult]]]:
    prompts: dict[int, dict[ObjectId, Prompt]] = {}
    for mask in job.first_masks:
        prompts.setdefault(job.index(mask.frame), {})[mask.object_id] = Mask(mask.bitmap)
    session = tracker.session()
    if job.offline:
        for _ in _play(session, job, prompts):
            pass
        session = second_pass(session)
    yield from _play(session, job, prompts)


def _play(
    session: TrackingSession, job: VideoJob, prompts: Prompts
) -> Iterator[tuple[str, Frame, list[FrameResult]]]:
    frames, waiting = read_frames(job), set(prompts)
    for frame in frames:
        if frame.index not in prompts:
            yield job.name(frame.index), frame, []
            continue
        for each, result in play(session, chain([frame], frames), prompts):
            waiting.discard(each.index)
            yield job.name(each.index), each, [result]
    if waiting:
        raise InputError(
            f"video {job.video.name} has no frame {job.name(min(waiting))}, but there is a mask of "
            "an object for it"
        )


def label_map(results: Results, size: tuple[int, int]) -> NDArray[np.int32]:
    """(H, W) object ids of all sessions' results; overlapping pixels go to the higher logit."""
    if not results:
        return np.zeros(size, np.int32)
    if len(results) == 1:
        return results[0].label_map()
    ids = np.array([i for result in results for i in result.object_ids], np.int32)
    logits_OHW = np.concatenate([result.logits.cpu().numpy() for result in results])
    labels: NDArray[np.int32] = np.where(
        logits_OHW.max(axis=0) > 0, ids[logits_OHW.argmax(axis=0)], 0
    ).astype(np.int32)
    return labels


def _write_masks(layers: Sequence[PngLayer], job: VideoJob, tracked_frame: _Tracked) -> None:
    name, frame, results = tracked_frame
    name, size = name + SUFFIX, frame.size
    if not layers[0].object_name:
        max_id = max(mask.object_id for mask in job.first_masks)
        (layers[0].folder / name).write_bytes(_label_png(label_map(results, size), max_id))
        return
    for first in job.first_masks:
        tracked = (result for result in results if first.object_id in result.object_ids)
        found = next(tracked, None)
        mask = np.zeros(size, np.bool_) if found is None else found.mask(first.object_id)
        (layers[first.layer].folder / name).write_bytes(mask_png(mask))


def _label_png(labels: NDArray[np.int32], max_id: int) -> bytes:
    if max_id <= _LARGEST_PALETTE_ID:
        return palette_png(labels.astype(np.uint8))
    _, encoded = cv2.imencode(SUFFIX, labels.astype(np.uint16))  # gray, 16 bits
    return bytes(encoded)
