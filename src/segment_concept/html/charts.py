"""Charts as inline SVG. Colors come from the style of the page."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

_TICK_STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)
_WIDTH, _HEIGHT = 960, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 14, 14, 44  # margins of a plot
_ROW = 22  # height of a horizontal bar with its gap
_LABEL = 210  # width of the labels of horizontal bars
_LABEL_CHARACTERS = 28
_PAD = 8  # free space above and below the values of a `Scale`
_CURVE_BUCKETS = 600  # a longer curve keeps the lowest and the highest value of each bucket


def element(name: str, *content: str, **attributes: object) -> Markup:
    """An SVG element with escaped attributes and content.

    `class_` is the attribute `class`, other underscores become hyphens, and numbers are rounded to
    a tenth of a pixel.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _text(value))
        for key, value in attributes.items()
    )
    inside = Markup("").join(content)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inside)


def _text(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def label(text: str, x: float, y: float, anchor: str = "start", **attributes: object) -> Markup:
    """Text whose start, middle or end is at (x, y)."""
    attributes = {"class_": "label", **attributes}
    return element("text", text, x=x, y=y, text_anchor=anchor, **attributes)


def drawing(
    size: tuple[float, float], parts: Iterable[str], title: str, class_: str = "chart"
) -> Markup:
    """An inline SVG of `size` (width, height), scaled to the width of the page."""
    content = (element("title", title), *parts)
    box = f"0 0 {size[0]:g} {size[1]:g}"
    namespace = {"xmlns": "http://www.w3.org/2000/svg", "aria_label": title}
    return element("svg", *content, class_=class_, viewBox=box, role="img", **namespace)


def ticks_to(last: float, most: int = 6) -> list[float]:
    """Round numbers from 0 to `last`, about `most` of them."""
    step = next((s for s in _TICK_STEPS if last / s <= most), last / (most - 1))
    return [i * step for i in range(int(last / step) + 1)]


@dataclass(frozen=True, slots=True)
class FrameAxis:
    """Horizontal axis of frames `first` to `last`, `width` pixels wide with its margins."""

    first: int
    last: int
    width: float
    left: float
    right: float

    @property
    def step(self) -> float:
        """Width of a frame."""
        return (self.width - self.left - self.right) / (self.last - self.first + 1)

    def x(self, frame: float) -> float:
        """Position of the middle of a frame."""
        return self.left + (frame - self.first + 0.5) * self.step


@dataclass(frozen=True, slots=True)
class Scale:
    """Vertical axis from 0 at the bottom of a strip to `top` at its upper edge."""

    top: float
    height: float

    def y(self, value: float) -> float:
        """Position of a value."""
        return self.height - _PAD - value / self.top * (self.height - 2 * _PAD)


def curves(
    frames: Sequence[int], values: Sequence[float], axis: FrameAxis, scale: Scale
) -> list[str]:
    """Path data of a curve: one path per run of consecutive frames with a value (not NaN)."""
    return [f"M{_points(run, axis, scale)}" for run in _runs(frames, values)]


def areas(
    frames: Sequence[int], values: Sequence[float], axis: FrameAxis, scale: Scale
) -> list[str]:
    """Path data of the same curve, filled down to 0."""
    paths = []
    for run in _runs(frames, values):
        start, end, bottom = axis.x(run[0][0]), axis.x(run[-1][0]), scale.y(0)
        points = _points(run, axis, scale)
        paths.append(f"M{start:.1f} {bottom:.1f}L{points}L{end:.1f} {bottom:.1f}Z")
    return paths


def _points(run: Iterable[tuple[int, float]], axis: FrameAxis, scale: Scale) -> str:
    return "L".join(f"{axis.x(frame):.1f} {scale.y(value):.1f}" for frame, value in run)


def _runs(frames: Sequence[int], values: Sequence[float]) -> Iterator[Sequence[tuple[int, float]]]:
    size = max(1, math.ceil(len(frames) / _CURVE_BUCKETS))
    run: list[tuple[int, float]] = []
    for frame, value in zip(frames, values, strict=True):
        if run and (math.isnan(value) or frame != run[-1][0] + 1):
            yield _thinned(run, size)
            run = []
        if not math.isnan(value):
            run.append((frame, value))
    if run:
        yield _thinned(run, size)


def _thinned(run: Sequence[tuple[int, float]], size: int) -> Sequence[tuple[int, float]]:
    """The lowest and the highest point of every `size` points, in order."""
    if size < 3:
        return run
    kept: list[tuple[int, float]] = []
    for start in range(0, len(run), size):
        bucket = run[start : start + size]
        kept += sorted({find(bucket, key=lambda point: point[1]) for find in (min, max)})
    return kept


@dataclass(frozen=True, slots=True)
class Axes:
    """Titles of the axes of a plot; y shows scores in %, and x at least the range 0 to `end`."""

    x: str
    y: str
    end: float = 0.0


def bars(rows: Sequence[tuple[str, float]], title: str) -> Markup:
    """Horizontal bars of scores (shares of 1) with label and value in %."""
    scale = _WIDTH - _LABEL - 60
    parts = []
    for i, (name, value) in enumerate(rows):
        y, width = i * _ROW, max(0.0, value) * scale
        parts += [
            _row_label(name, y),
            element("rect", class_="track", x=_LABEL, y=y + 4, width=scale, height=_ROW - 8, rx=2),
            element("rect", class_="bar", x=_LABEL, y=y + 4, width=width, height=_ROW - 8, rx=2),
            label(f"{100 * value:.1f}", _LABEL + scale + 8.0, y + 15),
        ]
    return drawing((_WIDTH, _ROW * len(rows) + 4), parts, title)


def differences(rows: Sequence[tuple[str, float]], title: str) -> Markup:
    """Horizontal bars to both sides of zero, in percentage points."""
    largest = max((abs(value) for _, value in rows), default=0.0) or 1.0
    half = (_WIDTH - _LABEL) / 2
    middle, scale = _LABEL + half, (half - 48) / largest
    height = _ROW * len(rows) + 4
    parts = [element("path", class_="axis", d=f"M{middle:.1f} 0V{height}")]
    for i, (name, value) in enumerate(rows):
        y, width, gain = i * _ROW, abs(value) * scale, value >= 0
        left = middle if gain else middle - width
        end = middle + width + 6 if gain else left - 6
        kind = "better" if gain else "worse"
        parts += [
            _row_label(name, y),
            element("rect", class_=kind, x=left, y=y + 4, width=width, height=_ROW - 8, rx=2),
            label(f"{100 * value:+.1f}", end, y + 15, "start" if gain else "end"),
        ]
    return drawing((_WIDTH, height), parts, title)


def columns(rows: Sequence[tuple[str, float]], axes: Axes, title: str) -> Markup:
    """Vertical bars of scores (shares of 1) with their names below and values in % above."""
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(rows), 1)
    width = min(step * 0.6, 90)
    parts = [*_frame(axes)]
    for i, (name, value) in enumerate(rows):
        middle, top = _LEFT + step * (i + 0.5), _y(value)
        size = {"width": width, "height": _y(0) - top}
        parts += [
            element("rect", class_="bar", x=middle - width / 2, y=top, rx=2, **size),
            label(f"{100 * value:.1f}", middle, top - 5, "middle"),
            label(_short(name), middle, _HEIGHT - 26, "middle"),
        ]
    return drawing((_WIDTH, _HEIGHT), parts, title)


def line(
    points: Sequence[tuple[float, float]], axes: Axes, title: str, level: float | None = None
) -> Markup:
    """A curve of scores (shares of 1) over x >= 0, with a dashed horizontal line at `level`."""
    last = max([axes.end, *(x for x, _ in points)]) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / last
    parts = [*_frame(axes)]
    if level is not None:
        parts.append(
            element("path", class_="level", d=f"M{_LEFT} {_y(level):.1f}H{_WIDTH - _RIGHT}")
        )
    if points:
        path = "L".join(f"{_LEFT + x * scale:.1f} {_y(value):.1f}" for x, value in points)
        parts.append(element("path", class_="curve", d=f"M{path}"))
    for x, value in points:
        tip = element("title", f"{x:g}: {100 * value:.1f}")
        parts.append(element("circle", tip, class_="dot", cx=_LEFT + x * scale, cy=_y(value), r=3))
    parts += [label(f"{x:g}", _LEFT + x * scale, _HEIGHT - 26, "middle") for x in ticks_to(last)]
    return drawing((_WIDTH, _HEIGHT), parts, title)


def _y(value: float) -> float:
    return _TOP + (1 - value) * (_HEIGHT - _TOP - _BOTTOM)


def _frame(axes: Axes) -> Iterator[Markup]:
    """Grid lines with their values, and the titles of the axes."""
    for value in (0, 0.25, 0.5, 0.75, 1):
        yield element("path", class_="grid", d=f"M{_LEFT} {_y(value):.1f}H{_WIDTH - _RIGHT}")
        yield label(f"{100 * value:.0f}", _LEFT - 8, _y(value) + 4, "end")
    yield label(axes.x, (_WIDTH + _LEFT) / 2, _HEIGHT - 6, "middle")
    turned = f"translate(12 {(_HEIGHT - _BOTTOM) / 2}) rotate(-90)"
    yield element("text", axes.y, class_="label", transform=turned, text_anchor="middle")


def _row_label(name: str, y: float) -> Markup:
    return label(_short(name), _LABEL - 10, y + 15, "end")


def _short(name: str) -> str:
    cut = len(name) > _LABEL_CHARACTERS
    return name[: _LABEL_CHARACTERS - 1] + "…" if cut else name
