"""Roles, names and contrast of the page, checked by axe-core (installed by `make types-js`)."""

import os
from pathlib import Path
from typing import Any

import pytest

from helpers.web_page import Person, middle

ROOT = Path(__file__).parents[3]
VIEWS = {"page": (), "brush": ("m",), "keys": ("?",), "export": ("s",)}


@pytest.fixture(scope="session")
def axe() -> str:
    """The text of axe-core; the tests are skipped where it is not installed."""
    folder = Path(os.environ.get("AXE_CORE", ROOT / ".venv/npm/node_modules/axe-core"))
    path = folder / "axe.min.js"
    if not path.is_file():
        pytest.skip("axe-core is not installed: make types-js, or set AXE_CORE to its folder")
    return path.read_text(encoding="utf-8")


def problems(page: Any, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found]


@pytest.mark.parametrize("scheme", ["dark", pytest.param("light", marks=pytest.mark.slow)])
def test_no_view_of_the_page_breaks_a_rule(
    window: Any, server: Any, film: Path, axe: str, scheme: str
) -> None:
    window.emulate_media(color_scheme=scheme)
    window.goto(server.url)
    window.get_by_role("button", name=film.name).last.wait_for()
    assert problems(window, axe) == []
    person = Person(window)
    window.get_by_role("button", name=film.name).last.click()
    person.wait_for_frame(0)
    assert problems(window, axe) == []
    person.click(*middle(0))
    window.locator(".object-state", has_text="present").wait_for()
    for keys in VIEWS.values():
        person.keys(*keys)
        if keys and keys[0] in "?s":
            window.get_by_role("dialog").wait_for()
        assert problems(window, axe) == []
        person.keys("Escape")
