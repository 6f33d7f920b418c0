"""The server is killed under an open page, and started again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.web_page import FRAMES, Person, StoryTracker, middle, overlap, truth, write_story


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_story(tmp_path / "film.mp4")
    return tmp_path


@pytest.fixture
def start(root: Path) -> Iterator[Any]:
    """A function that starts a server for the film."""
    web_server = pytest.importorskip("helpers.web_server", reason="needs the extras web, web-test")
    running: list[Any] = []

    def begin() -> Any:
        recipe = f"{StoryTracker.__module__}:{StoryTracker.__name__}"
        running.append(web_server.LiveServer(root, root / "film.mp4", recipe=recipe).start())
        return running[-1]

    yield begin
    for each in running:
        each.kill()


def test_nothing_is_lost_when_the_server_is_killed_and_tracking_goes_on(
    window: Any, start: Any
) -> None:
    first, person = start(), Person(window)
    window.goto(f"{first.url}&p={first.project}" if "&p=" not in first.url else first.url)
    person.wait_until_ready(0)
    person.click(*middle(0))
    window.locator(".object-state", has_text="present").wait_for()
    person.keys("t")
    window.locator('[data-command="stop"]:visible').wait_for()
    first.kill()
    window.locator("#banner", has_text="does not answer").wait_for()
    second = start()
    window.goto("about:blank")
    window.goto(f"{second.url}&p={second.project}" if "&p=" not in second.url else second.url)
    window.locator(".object-state", has_text="present").wait_for()
    person.wait_for("() => document.querySelectorAll('.card:not(.empty)').length === 3")
    window.locator('#status:text-is("Saved")').wait_for()
    assert person.api("")["objects"][0]["states"][-1][1] == FRAMES - 1
    assert overlap(person.masks(50)[1], truth(50)) > 0.8
