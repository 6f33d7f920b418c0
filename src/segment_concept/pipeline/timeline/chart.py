"""The timeline's strips as inline SVG, one below the other on the same axis."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from segment_concept.html.charts import FONT, drawing, ticks_to
from segment_concept.pipeline.timeline.series import KeyframeSpan, ObjectSeries, TimelineData

WIDTH, LEFT, RIGHT = 1040, 46, 14  # of a strip, and of its margins
_CURVES, _CHANGE, _LANE, _TICKS = 110, 100, 16, 20  # heights
_PAD = 8
_DETAIL = 600  # stretches of which a long curve shows the lowest and the highest value
_MOST_MARKS = 400  # cuts or questions; of more, every n-th is drawn


@dataclass(frozen=True, slots=True)
class Axis:
    """Frames from left to right."""

    first: int
    last: int

    def x(self, frame: float) -> float:
        """Where a frame's middle is."""
        return LEFT + (frame - self.first + 0.5) * self.step

    @property
    def step(self) -> float:
        """How wide a frame is."""
        return (WIDTH - LEFT - RIGHT) / (self.last - self.first + 1)


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from the bottom of a strip to its top."""

    top: float
    height: float

    def y(self, value: float) -> float:
        """Where a value is."""
        return self.height - _PAD - value / self.top * (self.height - 2 * _PAD)


def axis_of(story: TimelineData) -> Axis:
    """Of all strips."""
    return Axis(*story.span)


def change_strip(story: TimelineData, axis: Axis) -> str:
    """How much each frame differs from the one before; threshold, cuts and questions."""
    known = [v for v in story.distance if not math.isnan(v)]
    top = max(1.25 * story.threshold, *known, 1e-6) if known else 1.0
    scale = Scale(top, _CHANGE)
    level = scale.y(story.threshold)
    parts = [
        _grid(scale, (0.0, story.threshold)),
        *_marks("cut", story.cuts, axis, _CHANGE, "cut at frame"),
        f'<path class="level" d="M{LEFT} {level:.1f}H{WIDTH - RIGHT}"/>',
        *(
            f'<path class="change" d="{path}"/>'
            for path in curves(story.frames, story.distance, axis, scale)
        ),
        *_questions(story, axis),
    ]
    return _strip(_CHANGE, parts, "distance to the frame played before")


def curve_strip(story: TimelineData, strand: ObjectSeries, axis: Axis, name: str) -> str:
    """Object score, predicted IoU, and the share of the picture on a scale of its own."""
    scale = Scale(1.0, _CURVES)
    largest = Scale(max(strand.share, default=0.0) or 1.0, _CURVES)
    parts = [
        _grid(scale, (0.0, 0.5, 1.0)),
        *(
            f'<path class="area" d="{path}"/>'
            for path in areas(strand.frames, strand.share, axis, largest)
        ),
        *_marks("cut", story.cuts, axis, _CURVES, "cut at frame"),
        *_marks("asked", story.asked, axis, _CURVES, "asked on frame"),
    ]
    for kind, values in (("quality", strand.quality), ("presence", strand.presence)):
        paths = curves(strand.frames, values, axis, scale)
        parts += [f'<path class="{kind}" d="{path}"/>' for path in paths]
    return _strip(_CURVES, parts, f"object score, predicted IoU and area of {name}")


def bank_strip(stays: Sequence[KeyframeSpan], axis: Axis, name: str) -> str:
    """From when to when each keyframe was in the bank."""
    lanes = in_lanes(stays)
    height = _LANE * (max((lane for _, lane in lanes), default=0) + 1) + 6
    parts = []
    for stay, lane in lanes:
        left, right = axis.x(stay.first - 0.5), axis.x(stay.last + 0.5)
        y = lane * _LANE + 4
        words = f"keyframe {stay.keyframe}: in the bank from frame {stay.first} to {stay.last}"
        label = ""
        if right - left > 34:
            label = (
                f'<text class="paper" {FONT} x="{left + 5:.1f}" y="{y + 10}">{stay.keyframe}</text>'
            )
        parts.append(
            f'<rect class="stay" x="{left:.1f}" y="{y}" width="{max(right - left, 1.5):.1f}" '
            f'height="{_LANE - 3}" rx="3"><title>{words}</title></rect>{label}'
        )
    return _strip(height, parts, f"keyframe bank of {name}")


def tick_strip(story: TimelineData, axis: Axis) -> str:
    """Frame numbers."""
    ticks = [axis.first + t for t in ticks_to(axis.last - axis.first, most=10)]
    parts = [
        f'<text class="soft" {FONT} x="{axis.x(t):.1f}" y="12" text-anchor="middle">{t:g}</text>'
        for t in ticks
    ]
    return _strip(_TICKS, parts, "frame numbers")


def in_lanes(stays: Sequence[KeyframeSpan]) -> list[tuple[KeyframeSpan, int]]:
    """Each with the first lane that is free while it lasts."""
    ends: list[int] = []
    placed = []
    for stay in sorted(stays, key=lambda s: (s.first, s.keyframe)):
        free = next((i for i, end in enumerate(ends) if end < stay.first), len(ends))
        ends[free : free + 1] = [stay.last]
        placed.append((stay, free))
    return placed


def curves(frames: Sequence[int], values: Sequence[float], axis: Axis, scale: Scale) -> list[str]:
    """A path for every stretch without a gap."""
    return [
        "M" + "L".join(f"{axis.x(f):.1f} {scale.y(v):.1f}" for f, v in part)
        for part in _stretches(frames, values)
    ]


def areas(frames: Sequence[int], values: Sequence[float], axis: Axis, scale: Scale) -> list[str]:
    """The same, filled down to 0."""
    paths = []
    for part in _stretches(frames, values):
        over = "L".join(f"{axis.x(f):.1f} {scale.y(v):.1f}" for f, v in part)
        start, end = axis.x(part[0][0]), axis.x(part[-1][0])
        paths.append(f"M{start:.1f} {scale.y(0):.1f}L{over}L{end:.1f} {scale.y(0):.1f}Z")
    return paths


def _stretches(
    frames: Sequence[int], values: Sequence[float]
) -> Iterable[Sequence[tuple[int, float]]]:
    """Neighbouring frames with a value; a long curve keeps its lowest and highest ones."""
    bucket = max(1, math.ceil(len(frames) / _DETAIL))
    part: list[tuple[int, float]] = []
    for frame, value in zip(frames, values, strict=True):
        if part and (math.isnan(value) or frame != part[-1][0] + 1):
            yield _thinned(part, bucket)
            part = []
        if not math.isnan(value):
            part.append((frame, value))
    if part:
        yield _thinned(part, bucket)


def _thinned(part: Sequence[tuple[int, float]], bucket: int) -> Sequence[tuple[int, float]]:
    if bucket < 3:
        return part
    kept: list[tuple[int, float]] = []
    for start in range(0, len(part), bucket):
        group = part[start : start + bucket]
        low, high = (find(group, key=lambda point: point[1]) for find in (min, max))
        kept += sorted({low, high})
    return kept


def _marks(kind: str, frames: Sequence[int], axis: Axis, height: float, words: str) -> list[str]:
    """Upright lines where a frame begins."""
    return [
        f'<path class="{kind}" d="M{axis.x(f - 0.5):.1f} 0V{height}">'
        f"<title>{words} {f}</title></path>"
        for f in _some(frames)
    ]


def _questions(story: TimelineData, axis: Axis) -> list[str]:
    """Flags at the top where the concept encoder was asked."""
    return [
        f'<path class="flag" d="M{axis.x(f) - 4:.1f} 0h8l-4 7z">'
        f"<title>the concept was asked on frame {f}</title></path>"
        for f in _some(story.asked)
    ]


def _some(frames: Sequence[int]) -> Sequence[int]:
    return frames[:: max(1, math.ceil(len(frames) / _MOST_MARKS))]


def _grid(scale: Scale, values: Iterable[float]) -> str:
    return "".join(
        f'<path class="grid" d="M{LEFT} {scale.y(v):.1f}H{WIDTH - RIGHT}"/>'
        f'<text class="soft" {FONT} x="{LEFT - 6}" y="{scale.y(v) + 4:.1f}" text-anchor="end">'
        f"{v:.2g}</text>"
        for v in values
    )


def _strip(height: float, parts: Iterable[str], title: str) -> str:
    now = f'<path class="now" d="M{LEFT} 0V{height}"/>'
    return drawing((WIDTH, height), "".join(parts) + now, title, ' class="strip"')
