"""explain.html: the overlay video above the timeline of a run."""

import base64
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from segment_concept.html.page import render
from segment_concept.ops.color import color_of
from segment_concept.pipeline.journal import JournalIndex
from segment_concept.pipeline.timeline.attention import frames_to_check
from segment_concept.pipeline.timeline.chart import (
    LEFT,
    RIGHT,
    WIDTH,
    axis_of,
    bank_strip,
    change_strip,
    curve_strip,
    tick_strip,
)
from segment_concept.pipeline.timeline.series import ObjectSeries, TimelineData, read_timeline
from segment_concept.pipeline.timeline.thumbnails import thumbnail_path
from segment_concept.runtime.files import write_atomic

_MOST_SAMPLES = 2000  # in a longer video the pointer shows the values of every n-th frame
_DIGITS = 3
Thumbnails = Callable[[int, int], bytes | None]  # (object, frame) -> JPEG file


@dataclass(frozen=True, slots=True)
class _KeyframeCard:
    """A keyframe's picture (base64), its time in the video, and when it was in the bank."""

    frame: int
    jpeg: str | None
    seconds: float | None
    spans: str


@dataclass(frozen=True, slots=True)
class _ObjectSection:
    """Values of one object on the page."""

    id: int
    color: tuple[int, int, int]
    largest: str  # area, in % of the frame
    strips: Markup
    keyframes: Sequence[_KeyframeCard]


def explain_html(
    title: str, timeline: TimelineData, thumbnails: Thumbnails, video: str | None
) -> str:
    """The page as one file. It works without JavaScript, and loads nothing but the video.

    Args:
        title: the heading.
        timeline: what to show.
        thumbnails: the picture of an object's keyframe.
        video: name of the video file beside the page; None if there is none.
    """
    axis = axis_of(timeline)
    times = dict(zip(timeline.frames, _seconds(timeline), strict=True))
    counts = {
        "frames": len(timeline.frames),
        "objects": len(timeline.objects),
        "cuts": len(timeline.cuts),
    }
    if timeline.has_concept:
        counts["concept queries"] = len(timeline.queried)
    return render(
        "timeline.html",
        title=title,
        counts=counts,
        video=video,
        has_concept=timeline.has_concept,
        threshold=f"{timeline.threshold:g}",
        checks=[
            {"doubt": doubt, "seconds": times.get(doubt.frame)}
            for doubt in frames_to_check(timeline)
        ],
        change_strips=change_strip(timeline, axis) + tick_strip(axis),
        objects=[
            _section(timeline, i, series, thumbnails) for i, series in timeline.objects.items()
        ],
        data=_data(timeline),
    )


def _section(
    timeline: TimelineData, object_id: int, series: ObjectSeries, thumbnails: Thumbnails
) -> _ObjectSection:
    axis, name = axis_of(timeline), f"object {object_id}"
    strips = curve_strip(timeline, series, axis, name)
    keyframes: list[_KeyframeCard] = []
    if timeline.has_concept and series.bank:
        strips += bank_strip(series.bank, axis, name)
        keyframes = list(_keyframes(timeline, object_id, series, thumbnails))
    largest = f"{100 * max(series.share, default=0.0):.2g}"
    strips += tick_strip(axis)
    return _ObjectSection(object_id, color_of(object_id), largest, strips, keyframes)


def _keyframes(
    timeline: TimelineData, object_id: int, series: ObjectSeries, thumbnails: Thumbnails
) -> Iterator[_KeyframeCard]:
    seconds = dict(zip(timeline.frames, _seconds(timeline), strict=True))
    for frame in dict.fromkeys(span.keyframe for span in series.bank):
        spans = [span for span in series.bank if span.keyframe == frame]
        words = ", ".join(f"{span.first} to {span.last}" for span in spans)
        if spans[-1].last == series.frames[-1]:
            words += " (to the end)"
        jpeg = thumbnails(object_id, frame)
        picture = base64.b64encode(jpeg).decode() if jpeg is not None else None
        yield _KeyframeCard(frame, picture, seconds.get(frame), words)


def _seconds(timeline: TimelineData) -> list[float]:
    """Times of the frames in the overlay video, which begins with the first of them."""
    start = timeline.seconds[0]
    return [round(s - start, _DIGITS) for s in timeline.seconds]


def _data(timeline: TimelineData) -> Mapping[str, Any]:
    """Values for the script."""
    step = math.ceil(len(timeline.frames) / _MOST_SAMPLES)
    places = {frame: i for i, frame in enumerate(timeline.frames[::step])}
    return {
        "axis": {"width": WIDTH, "left": LEFT, "right": RIGHT, "span": timeline.span},
        "frames": list(places),
        "seconds": _seconds(timeline)[::step],
        "distance": [
            None if math.isnan(v) else round(v, _DIGITS) for v in timeline.distance[::step]
        ],
        "objects": {
            str(object_id): [
                _values(series.frames, row, places)
                for row in (series.presence, series.quality, series.share)
            ]
            for object_id, series in timeline.objects.items()
        },
    }


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, _DIGITS)


def _values(
    frames: Sequence[int], row: Sequence[float], places: Mapping[int, int]
) -> list[float | None]:
    values: list[float | None] = [None] * len(places)
    for frame, value in zip(frames, row, strict=True):
        if frame in places:
            values[places[frame]] = round(value, _DIGITS + 2)
    return values


def write_explanation(
    target: Path, state: Path, journal: JournalIndex, request: Mapping[str, Any]
) -> None:
    """Write the page for the frames that are done; do nothing if there are none.

    Args:
        target: the file; the video that it plays is overlay.mp4 in the same folder.
        state: folder in which the run keeps the pictures of its keyframes.
        journal: the results.
        request: what the run was for: its recipe, trigger, video and outputs.

    Raises:
        OSError: the disk is full; an earlier page is unchanged.
    """
    timeline = read_timeline(journal, request)
    if not timeline.frames:
        return

    def picture(object_id: int, frame: int) -> bytes | None:
        path = thumbnail_path(state, object_id, frame)
        return path.read_bytes() if path.exists() else None

    video = "overlay.mp4" if "overlay" in request["outputs"] else None
    recipe = (request.get("recipe") or {}).get("name")
    title = request["video"]["name"] + (f", tracked by {recipe}" if recipe else "")
    page = explain_html(title, timeline, picture, video)
    write_atomic(target, page.encode(errors="replace"), durable=True)
