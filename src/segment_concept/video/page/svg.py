"""What all drawings share; colours come from the page's style."""

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
