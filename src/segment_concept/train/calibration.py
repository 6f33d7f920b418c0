"""Choose the mask bias of a model by the mean J over clips and annotated videos."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segment_concept.datasets.masks import read_labels
from segment_concept.metrics import region_similarity
from segment_concept.synthetic import Clip
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Bitmap, Frame, InputError, Mask, ObjectId
from segment_concept.video import open_video

BIASES = tuple(0.25 * n for n in range(-2, 9))  # logits that are tried
_WHO = ObjectId(1)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """A video and the true masks (H, W) of its object."""

    frames: Sequence[Frame]
    truth: Sequence[Bitmap]


def mean_overlap(tracker: Tracker, videos: Iterable[Annotated]) -> Mapping[float, float]:
    """Mean J over videos for every bias of `BIASES`; no bias is used while tracking.

    Frames without the object are left out: presence decides about them, not the bias.

    Raises:
        InputError: no video shows its object after the first frame.
    """
    found: dict[float, list[float]] = {bias: [] for bias in BIASES}
    for video in videos:
        session = tracker.session()
        session.prompt(video.frames[0], {_WHO: Mask(video.truth[0])})
        each: dict[float, list[float]] = {bias: [] for bias in BIASES}
        for frame, truth in zip(video.frames[1:], video.truth[1:], strict=True):
            logits = session.step(frame).logits[0].cpu().numpy()
            if truth.any():
                for bias, overlaps in each.items():
                    overlaps.append(region_similarity(logits + bias > 0, truth))
        if each[0.0]:
            for bias, overlaps in each.items():
                found[bias].append(float(np.mean(overlaps)))
    if not found[0.0]:
        raise InputError("no video shows its object after the first frame: give other videos")
    return {bias: float(np.mean(overlaps)) for bias, overlaps in found.items()}


def best_bias(measured: Sequence[Mapping[float, float]]) -> float:
    """The bias with the highest mean over several sets, all of the same weight."""
    means = {bias: float(np.mean([each[bias] for each in measured])) for bias in BIASES}
    for bias, mean in means.items():
        _LOG.info("mask bias %5.2f: J %.2f", bias, 100 * mean)
    return max(means, key=lambda bias: means[bias])


def annotated_clips(clips: Iterable[Clip]) -> Iterator[Annotated]:
    """Object 1 of rendered clips."""
    for clip in clips:
        frames = [Frame(t, rgb) for t, rgb in enumerate(clip.rgb)]
        yield Annotated(frames, [labels == 1 for labels in clip.labels])


def annotated_videos(folder: Path) -> Iterator[Annotated]:
    """Annotated videos in the layout of DAVIS; the union of a video's objects is one object.

    Raises:
        InputError: `folder` has no JPEGImages and Annotations (with or without 480p/ below), a
            frame has no mask, or a mask cannot be read.
    """
    images, masks = (_part(folder, name) for name in ("JPEGImages", "Annotations"))
    for video in sorted(path for path in images.iterdir() if path.is_dir()):
        frames = list(open_video(video).frames())
        files = sorted((masks / video.name).glob("*.png"))
        if len(files) != len(frames):
            raise InputError(
                f"{video} has {len(frames)} frames and {len(files)} masks: every frame needs one"
            )
        yield Annotated(frames, [read_labels(path) > 0 for path in files])


def _part(folder: Path, name: str) -> Path:
    found = [path for path in (folder / name / "480p", folder / name) if path.is_dir()]
    if not found:
        raise InputError(f"{folder} has no {name}: give a folder in the layout of DAVIS")
    return found[0]
