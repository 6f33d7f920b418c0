"""The story with the bundled model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.web_page import CUTS, Person, middle, overlap, truth, write_story

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    """A running server with the bundled model."""
    web_server = pytest.importorskip("helpers.web_server", reason="needs the extras web, web-test")
    running = web_server.LiveServer(tmp_path, recipe="sec_compact").start()
    yield running
    running.kill()


def test_a_click_is_tracked_through_cuts_reviewed_and_exported(window: Any, server: Any) -> None:
    film, person = write_story(server.root / "film.mp4"), Person(window)
    person.open(server.url, film.name)
    with window.expect_response(lambda r: r.url.endswith("/preview") and r.ok):
        person.point(*middle(0))
    person.click(*middle(0))
    window.locator(".object-state", has_text="present").wait_for()
    assert overlap(person.masks(0)[1], truth(0)) > 0.7
    person.keys("t")
    window.locator('[data-command="stop"]:visible').wait_for()
    window.locator('#status:text-is("Saved")').wait_for(timeout=600_000)
    person.wait_for("() => document.querySelectorAll('.card:not(.empty)').length === 3")
    assert person.api("")["cuts"] == list(CUTS)
    assert overlap(person.masks(15)[1], truth(15)) > 0.7
    person.keys("Home", "Enter")
    window.locator('.card.confirmed[data-first="0"]').wait_for()
    person.keys("s")
    window.get_by_role("button", name="Save").click()
    window.locator(".files a").first.wait_for()
