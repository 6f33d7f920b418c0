"""Pages of one file, and what they are put together from."""

from collections.abc import Iterable, Sequence
from html import escape

from segment_concept.html.style import STYLE

_OPEN_ROWS = 40  # longer tables are folded away


def page(title: str, body: str, style: str = "") -> str:
    """A whole page; `style` comes after the style of all pages."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        '</title><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}{style}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


def section(title: str, body: str) -> str:
    """A heading and what belongs below it."""
    return f"<h2>{escape(title)}</h2>{body}"


def table_html(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a long one is folded away on the screen until it is asked for."""
    cells = [("".join(f"<td>{escape(cell)}</td>" for cell in row)) for row in rows]
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{cell}</tr>" for cell in cells)
    whole = (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )
    if len(cells) <= _OPEN_ROWS:
        return whole
    return f"<details><summary>all {len(cells)} rows</summary>{whole}</details>"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values."""
    cells = (f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<div class="scroll"><table class="facts">{"".join(cells)}</table></div>'
