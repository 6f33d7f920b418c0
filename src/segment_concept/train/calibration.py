"""The last stage: one number for all masks, and what verification weighs."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segment_concept.metrics import region_similarity
from segment_concept.synthetic import Clip
from segment_concept.tracking.session import Tracker
from segment_concept.types import Bitmap, Frame, InputError, Mask, ObjectId
from segment_concept.video import open_video

BIASES = tuple(0.25 * n for n in range(-2, 9))  # logits that are tried
_WHO = ObjectId(1)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """A film and where its object is."""

    frames: Sequence[Frame]
    truth: Sequence[Bitmap]


def mean_overlap(tracker: Tracker, films: Iterable[Annotated]) -> Mapping[float, float]:
    """Mean J over some films for every bias of `BIASES`; tracking itself goes on without one.

    Frames on which the object is absent do not count: what they should show is decided by presence.
    """
    found: dict[float, list[float]] = {bias: [] for bias in BIASES}
    for film in films:
        session = tracker.session()
        session.prompt(film.frames[0], {_WHO: Mask(film.truth[0])})
        each: dict[float, list[float]] = {bias: [] for bias in BIASES}
        for frame, truth in zip(film.frames[1:], film.truth[1:], strict=True):
            logits = session.step(frame).logits[0].cpu().numpy()
            if truth.any():
                for bias, overlaps in each.items():
                    overlaps.append(region_similarity(logits + bias > 0, truth))
        if each[0.0]:
            for bias, overlaps in each.items():
                found[bias].append(float(np.mean(overlaps)))
    if not found[0.0]:
        raise InputError("no film shows its object again after the first frame: give others")
    return {bias: float(np.mean(overlaps)) for bias, overlaps in found.items()}


def best_bias(measured: Sequence[Mapping[float, float]]) -> float:
    """The bias with the highest mean of several sets, each of which counts the same."""
    means = {bias: float(np.mean([each[bias] for each in measured])) for bias in BIASES}
    for bias, mean in means.items():
        _LOG.info("mask bias %5.2f: J %.2f", bias, 100 * mean)
    return max(means, key=lambda bias: means[bias])


def annotated_clips(clips: Iterable[Clip]) -> Iterator[Annotated]:
    """Object 1 of rendered clips."""
    for clip in clips:
        frames = [Frame(t, rgb) for t, rgb in enumerate(clip.rgb)]
        yield Annotated(frames, [labels == 1 for labels in clip.labels])


def annotated_films(folder: Path) -> Iterator[Annotated]:
    """Real films in the layout of DAVIS, every object of a film as one.

    Raises:
        InputError: `folder` has no JPEGImages and Annotations (or their 480p/ below).
    """
    pictures, masks = (_part(folder, name) for name in ("JPEGImages", "Annotations"))
    for film in sorted(path for path in pictures.iterdir() if path.is_dir()):
        frames = list(open_video(film).frames())
        files = sorted((masks / film.name).glob("*.png"))
        if len(files) != len(frames):
            raise InputError(
                f"{film} has {len(frames)} pictures and {len(files)} masks: every picture needs one"
            )
        yield Annotated(frames, [np.asarray(Image.open(path)) > 0 for path in files])


def _part(folder: Path, name: str) -> Path:
    found = [path for path in (folder / name / "480p", folder / name) if path.is_dir()]
    if not found:
        raise InputError(f"{folder} has no {name}: give a folder in the layout of DAVIS")
    return found[0]
