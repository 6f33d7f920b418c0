"""The strips of the timeline as inline SVG, one below the other on the same axis."""

import math
from collections.abc import Iterable, Iterator, Sequence

from markupsafe import Markup

from segment_concept.html.charts import (
    FrameAxis,
    Scale,
    areas,
    curves,
    drawing,
    element,
    label,
    ticks_to,
)
from segment_concept.pipeline.timeline.series import KeyframeSpan, ObjectSeries, TimelineData

WIDTH, LEFT, RIGHT = 1040, 46, 14  # of a strip, and of its margins
_CURVES, _CHANGE, _LANE, _TICKS = 110, 100, 16, 20  # heights
_MOST_MARKS = 400  # if there are more cuts or queries, only every n-th is drawn
_LABELED = 34  # width from which a keyframe's bar has its number in it


def axis_of(timeline: TimelineData) -> FrameAxis:
    """The horizontal axis of all strips."""
    return FrameAxis(*timeline.span, WIDTH, LEFT, RIGHT)


def change_strip(timeline: TimelineData, axis: FrameAxis) -> Markup:
    """Color difference to the previous frame, with threshold, cuts and concept queries."""
    known = [v for v in timeline.distance if not math.isnan(v)]
    top = max(1.25 * timeline.threshold, *known, 1e-6) if known else 1.0
    scale = Scale(top, _CHANGE)
    level = f"M{LEFT} {scale.y(timeline.threshold):.1f}H{WIDTH - RIGHT}"
    parts = [
        *_grid(scale, (0.0, timeline.threshold)),
        *_marks("cut", timeline.cuts, axis, _CHANGE, "cut at frame"),
        element("path", class_="level", d=level),
        *_paths("change", curves(timeline.frames, timeline.distance, axis, scale)),
        *_query_flags(timeline, axis),
    ]
    return _strip(_CHANGE, parts, "color difference to the previous frame")


def curve_strip(timeline: TimelineData, series: ObjectSeries, axis: FrameAxis, name: str) -> Markup:
    """Object score and predicted IoU; the area has a scale of its own."""
    scale = Scale(1.0, _CURVES)
    area = Scale(max(series.share, default=0.0) or 1.0, _CURVES)
    parts = [
        *_grid(scale, (0.0, 0.5, 1.0)),
        *_paths("area", areas(series.frames, series.share, axis, area)),
        *_marks("cut", timeline.cuts, axis, _CURVES, "cut at frame"),
        *_marks("query", timeline.queried, axis, _CURVES, "concept query on frame"),
        *_paths("quality", curves(series.frames, series.quality, axis, scale)),
        *_paths("presence", curves(series.frames, series.presence, axis, scale)),
    ]
    return _strip(_CURVES, parts, f"object score, predicted IoU and area of {name}")


def bank_strip(spans: Sequence[KeyframeSpan], axis: FrameAxis, name: str) -> Markup:
    """A bar per keyframe from its first to its last frame in the bank."""
    lanes = in_lanes(spans)
    height = _LANE * (max((lane for _, lane in lanes), default=0) + 1) + 6
    parts = []
    for span, lane in lanes:
        left, right = axis.x(span.first - 0.5), axis.x(span.last + 0.5)
        y = lane * _LANE + 4
        text = f"keyframe {span.keyframe}: in the bank from frame {span.first} to {span.last}"
        size = {"width": max(right - left, 1.5), "height": _LANE - 3, "rx": 3}
        tip = element("title", text)
        parts.append(element("rect", tip, class_="keyframe", x=left, y=y, **size))
        if right - left > _LABELED:
            parts.append(label(str(span.keyframe), left + 5, y + 10, class_="on-bar"))
    return _strip(height, parts, f"keyframe bank of {name}")


def tick_strip(axis: FrameAxis) -> Markup:
    """Frame numbers."""
    ticks = [axis.first + t for t in ticks_to(axis.last - axis.first, most=10)]
    parts = [label(f"{tick:g}", axis.x(tick), 12, "middle") for tick in ticks]
    return _strip(_TICKS, parts, "frame numbers")


def in_lanes(spans: Sequence[KeyframeSpan]) -> list[tuple[KeyframeSpan, int]]:
    """Each span with the first lane in which it overlaps no earlier one."""
    ends: list[int] = []
    placed = []
    for span in sorted(spans, key=lambda s: (s.first, s.keyframe)):
        free = next((i for i, end in enumerate(ends) if end < span.first), len(ends))
        ends[free : free + 1] = [span.last]
        placed.append((span, free))
    return placed


def _paths(kind: str, paths: Iterable[str]) -> Iterator[Markup]:
    return (element("path", class_=kind, d=path) for path in paths)


def _marks(
    kind: str, frames: Sequence[int], axis: FrameAxis, height: int, words: str
) -> Iterator[Markup]:
    """Vertical lines at the beginning of frames."""
    for frame in _thinned(frames):
        line = f"M{axis.x(frame - 0.5):.1f} 0V{height}"
        yield element("path", element("title", f"{words} {frame}"), class_=kind, d=line)


def _query_flags(timeline: TimelineData, axis: FrameAxis) -> Iterator[Markup]:
    for frame in _thinned(timeline.queried):
        tip = element("title", f"concept query on frame {frame}")
        yield element("path", tip, class_="flag", d=f"M{axis.x(frame) - 4:.1f} 0h8l-4 7z")


def _thinned(frames: Sequence[int]) -> Sequence[int]:
    return frames[:: max(1, math.ceil(len(frames) / _MOST_MARKS))]


def _grid(scale: Scale, values: Iterable[float]) -> Iterator[Markup]:
    for value in values:
        y = scale.y(value)
        yield element("path", class_="grid", d=f"M{LEFT} {y:.1f}H{WIDTH - RIGHT}")
        yield label(f"{value:.2g}", LEFT - 6, y + 4, "end")


def _strip(height: int, parts: Iterable[Markup], title: str) -> Markup:
    cursor = element("path", class_="now", d=f"M{LEFT} 0V{height}")
    return drawing((WIDTH, height), [*parts, cursor], title, "strip")
