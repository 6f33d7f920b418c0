"""Contact sheets of the worst objects: truth in the top row, prediction in the bottom row."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Picture

from segment_concept.datasets.masks import Layer
from segment_concept.datasets.types import Dataset, VideoEntry
from segment_concept.evaluate.pairing import prediction_layers
from segment_concept.evaluate.report.breakdowns import both, both_curve, overall
from segment_concept.evaluate.scores import ObjectScore
from segment_concept.types import Bitmap, Image, InputError
from segment_concept.video.image_files import read_image

WORST = 6  # objects
_COLUMNS = 5
_WIDTH = 240  # of one image, in pixels
_GAP = 4
_QUALITY = 80
_TRUE, _PREDICTED = (40, 225, 95), (255, 70, 85)  # green and red
_COLOR_LEFT = 0.35  # share of the original colors that is kept, so that the masks stand out
_OPACITY = 0.55
_WHITE = 255


@dataclass(frozen=True, slots=True)
class Sheet:
    """Contact sheet of one object: a JPEG file in base64 and the frames of its columns."""

    video: str
    object_name: str
    score: float
    frames: tuple[tuple[str, float], ...]  # (frame, J&F) of each column
    jpeg: str


def worst_sheets(
    dataset: Dataset, masks: Path, objects: Sequence[ObjectScore]
) -> tuple[Sheet, ...]:
    """Sheets of the objects with the lowest J&F, worst first; videos without images have none."""
    videos = {video.name: video for video in dataset.videos}
    ranked = sorted(
        (o for o in overall(objects) if o.frames and videos[o.video].pictures),
        key=lambda o: (both(o), o.video, o.object_name),
    )
    made = (_sheet(videos[o.video], masks, o) for o in ranked[:WORST])
    return tuple(sheet for sheet in made if sheet is not None)


def _sheet(video: VideoEntry, masks: Path, scored: ObjectScore) -> Sheet | None:
    layers = _layers(video, masks, scored)
    if layers is None:
        return None
    curve = both_curve(scored)
    chosen = _frames(curve)
    pictures = {path.stem: path for path in video.pictures}
    strips: list[Image] = []
    columns: list[tuple[str, float]] = []
    for i in chosen:
        frame = scored.frames[i]
        rgb = read_image(pictures[frame]) if frame in pictures else None
        if rgb is None:
            continue
        try:
            true, predicted = (_mask(layer, frame, scored.object_name) for layer in layers)
        except InputError:
            continue  # already reported by scoring
        strips.append(_column(rgb, true, predicted))
        columns.append((frame, curve[i]))
    if not strips:
        return None
    jpeg = _jpeg(np.concatenate(_same_height(strips), axis=1)[:, :-_GAP])
    return Sheet(scored.video, scored.object_name, both(scored), tuple(columns), jpeg)


def _layers(video: VideoEntry, masks: Path, scored: ObjectScore) -> tuple[Layer, Layer] | None:
    answers = prediction_layers(video, masks / video.name)
    for truth, prediction in zip(video.layers, answers, strict=True):
        if truth.object_name in ("", scored.object_name):
            return truth, prediction
    return None


def _frames(curve: Sequence[float]) -> list[int]:
    """Evenly spaced positions of scored frames, including the worst one."""
    count = min(_COLUMNS, len(curve))
    even = {round(i * (len(curve) - 1) / max(count - 1, 1)) for i in range(count)}
    worst = int(np.argmin(curve))
    if worst not in even:
        nearest = min(even, key=lambda i: abs(i - worst))
        even = even - {nearest} | {worst}
    return sorted(even)


def _mask(layer: Layer, frame: str, object_name: str) -> Bitmap:
    labels = layer.read(frame)
    return np.asarray(labels != 0 if layer.object_name else labels == int(object_name))


def _column(rgb: Image, true: Bitmap, predicted: Bitmap) -> Image:
    height = max(1, round(rgb.shape[0] * _WIDTH / rgb.shape[1]))
    size = (_WIDTH, height)
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    rows = []
    for color, mask in ((_TRUE, true), (_PREDICTED, predicted)):
        shrunk = cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        picture = _tinted(small, np.asarray(shrunk, np.uint8), color)
        margin = ((0, _GAP), (0, _GAP), (0, 0))
        rows.append(np.pad(picture, margin, constant_values=_WHITE))
    return np.asarray(np.concatenate(rows, axis=0), np.uint8)


def _tinted(rgb: Image, mask: Image, color: tuple[int, int, int]) -> Image:
    """A pale copy of a (H, W, 3) image with the (H, W) mask tinted and outlined in a color."""
    gray = np.repeat(rgb.mean(axis=2, keepdims=True), 3, axis=2)
    pale = _COLOR_LEFT * rgb + (1 - _COLOR_LEFT) * gray
    tinted = (1 - _OPACITY) * pale + _OPACITY * np.array(color)
    picture = np.where(mask[..., None] > 0, tinted, pale).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, color, 1)
    return picture


def _same_height(strips: Sequence[Image]) -> list[Image]:
    tallest = max(strip.shape[0] for strip in strips)
    return [
        np.pad(s, ((0, tallest - s.shape[0]), (0, 0), (0, 0)), constant_values=_WHITE)
        for s in strips
    ]


def _jpeg(rgb: Image) -> str:
    buffer = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(rgb)).save(buffer, "JPEG", quality=_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()
