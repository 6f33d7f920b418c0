"""What all drawings share; colors come from the page's style."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

FONT = 'font-size="11"'
_MOST_TICKS = 6
_STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)


def drawing(size: tuple[float, float], inside: str, title: str, more: str = "") -> str:
    """An inline picture of (width, height), as wide as the page lets it; `more` are attributes."""
    width, height = size
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg"{more}><title>{escape(title)}</title>{inside}</svg>'
    )


def ticks_to(last: float, most: int = _MOST_TICKS) -> list[float]:
    """Round numbers from 0 to `last`, not many."""
    step = next((s for s in _STEPS if last / s <= most), last / (most - 1))
    return [i * step for i in range(int(last / step) + 1)]


_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 40
_BAR, _LABEL = 18, 190  # height of a horizontal bar with its gap; width of its label
_LONGEST_LABEL = 28  # characters


@dataclass(frozen=True, slots=True)
class Axes:
    """What a plot's axes are called; the y axis is a score in %, x goes to `end` at least."""

    x: str
    y: str
    end: float = 0.0


def bars(rows: Sequence[tuple[str, float]], title: str) -> str:
    """Horizontal bars of scores (shares of 1), each with its label and its value in %."""
    height = _BAR * len(rows) + 4
    scale = _WIDTH - _LABEL - 50
    parts = []
    for i, (label, value) in enumerate(rows):
        y = i * _BAR + 2
        width = max(0.0, value) * scale
        parts.append(
            f'<text class="ink" {FONT} x="{_LABEL - 6}" y="{y + 12}" text-anchor="end">'
            f"{escape(_short(label))}</text>"
            f'<rect class="bar" x="{_LABEL}" y="{y + 2}" width="{width:.1f}" height="{_BAR - 5}"/>'
            f'<text class="ink" {FONT} x="{_LABEL + width + 5:.1f}" y="{y + 12}">'
            f"{100 * value:.1f}</text>"
        )
    return drawing((_WIDTH, height), "".join(parts), title)


def differences(rows: Sequence[tuple[str, float]], title: str) -> str:
    """Horizontal bars to both sides of a zero line, in points."""
    reach = max((abs(value) for _, value in rows), default=0.0) or 1.0
    middle = _LABEL + (_WIDTH - _LABEL) / 2
    scale = ((_WIDTH - _LABEL) / 2 - 44) / reach
    height = _BAR * len(rows) + 4
    parts = [f'<path class="axis" d="M{middle:.1f} 0V{height}"/>']
    for i, (label, value) in enumerate(rows):
        y = i * _BAR + 2
        width = abs(value) * scale
        left = middle if value >= 0 else middle - width
        at = middle + width + 4 if value >= 0 else middle - width - 4
        kind = "better" if value >= 0 else "worse"
        anchor = "start" if value >= 0 else "end"
        parts.append(
            f'<text class="ink" {FONT} x="{_LABEL - 6}" y="{y + 12}" text-anchor="end">'
            f"{escape(_short(label))}</text>"
            f'<rect class="{kind}" x="{left:.1f}" y="{y + 2}" width="{width:.1f}" '
            f'height="{_BAR - 5}"/>'
            f'<text class="ink" {FONT} x="{at:.1f}" y="{y + 12}" text-anchor="{anchor}">'
            f"{100 * value:+.1f}</text>"
        )
    return drawing((_WIDTH, height), "".join(parts), title)


def columns(rows: Sequence[tuple[str, float]], axes: Axes, title: str) -> str:
    """Vertical bars of scores (shares of 1), each with its name below and its value above."""
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(rows), 1)
    parts = [_frame(axes)]
    for i, (label, value) in enumerate(rows):
        middle = _LEFT + step * (i + 0.5)
        width = min(step * 0.6, 80)
        parts.append(
            f'<rect class="bar" x="{middle - width / 2:.1f}" y="{_y(value):.1f}" '
            f'width="{width:.1f}" height="{_y(0) - _y(value):.1f}"/>'
            f'<text class="ink" {FONT} x="{middle:.1f}" y="{_y(value) - 4:.1f}" '
            f'text-anchor="middle">{100 * value:.1f}</text>'
            f'<text class="ink" {FONT} x="{middle:.1f}" y="{_HEIGHT - 24}" '
            f'text-anchor="middle">{escape(_short(label))}</text>'
        )
    return drawing((_WIDTH, _HEIGHT), "".join(parts), title)


def line(
    points: Sequence[tuple[float, float]], axes: Axes, title: str, level: float | None = None
) -> str:
    """A curve of scores (shares of 1) over x >= 0; `level` is drawn dashed across."""
    last = max([axes.end, *(x for x, _ in points)]) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / last
    path = "L".join(f"{_LEFT + x * scale:.1f} {_y(value):.1f}" for x, value in points)
    dots = "".join(
        f'<circle class="dot" cx="{_LEFT + x * scale:.1f}" cy="{_y(value):.1f}" r="2.5">'
        f"<title>{x:g}: {100 * value:.1f}</title></circle>"
        for x, value in points
    )
    across = ""
    if level is not None:
        across = f'<path class="level" d="M{_LEFT} {_y(level):.1f}H{_WIDTH - _RIGHT}"/>'
    ticks = "".join(
        f'<text class="ink" {FONT} x="{_LEFT + x * scale:.1f}" y="{_HEIGHT - 24}" '
        f'text-anchor="middle">{x:g}</text>'
        for x in ticks_to(last)
    )
    curve = f'<path class="curve" d="M{path}"/>' if points else ""
    return drawing((_WIDTH, _HEIGHT), _frame(axes) + across + curve + dots + ticks, title)


def _y(value: float) -> float:
    return _TOP + (1 - value) * (_HEIGHT - _TOP - _BOTTOM)


def _frame(axes: Axes) -> str:
    """Grid lines with their scores, and the axes' names."""
    lines = "".join(
        f'<path class="grid" d="M{_LEFT} {_y(v):.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text class="ink" {FONT} x="{_LEFT - 6}" y="{_y(v) + 4:.1f}" text-anchor="end">'
        f"{100 * v:.0f}</text>"
        for v in (0, 0.25, 0.5, 0.75, 1)
    )
    middle = (_HEIGHT - _BOTTOM) / 2
    return (
        f'{lines}<text class="ink" {FONT} x="{(_WIDTH + _LEFT) / 2}" y="{_HEIGHT - 6}" '
        f'text-anchor="middle">{escape(axes.x)}</text>'
        f'<text class="ink" {FONT} transform="translate(12 {middle}) rotate(-90)" '
        f'text-anchor="middle">{escape(axes.y)}</text>'
    )


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
