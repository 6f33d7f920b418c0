"""Tracking is stopped, the server is killed under an open page, another tab is opened."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.web_page import (
    FRAMES,
    Person,
    SlowStoryTracker,
    middle,
    overlap,
    truth,
    write_story,
)

# Whether the prompt of object 1 has that many points.
POINTS = """async count => {
  const id = new URLSearchParams(location.hash.slice(1)).get('p');
  const project = await (await fetch(`/api/v1/projects/${id}`)).json();
  return project.objects[0].prompts[0].points.length === count;
}"""


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
        recipe = f"{SlowStoryTracker.__module__}:{SlowStoryTracker.__name__}"
        running.append(web_server.LiveServer(root, root / "film.mp4", recipe=recipe).start())
        return running[-1]

    yield begin
    for each in running:
        each.kill()


def begin_tracking(window: Any, server: Any) -> Person:
    """Mark the red square and track until the first frames are done."""
    person = Person(window)
    window.goto(f"{server.url}&p={server.project}")
    person.wait_until_ready(0)
    person.click(*middle(0))
    window.locator(".object-state", has_text="present").wait_for()
    person.keys("t")
    person.wait_for("() => Number(document.getElementById('stage').dataset.frame) > 1")
    return person


def test_escape_stops_tracking_and_keeps_the_frames_that_are_done(window: Any, start: Any) -> None:
    person = begin_tracking(window, start())
    person.keys("Escape")
    window.locator('#status:text-is("Saved")').wait_for()
    last = person.api("")["objects"][0]["states"][-1][1]
    assert 1 <= last < FRAMES - 1
    assert person.masks(last)[1].any() == truth(last).any()


def test_two_tabs_show_the_same_project(window: Any, start: Any) -> None:
    server, first = start(), Person(window)
    window.goto(f"{server.url}&p={server.project}")
    first.wait_until_ready(0)
    other = window.context.new_page()
    second = Person(other)
    other.goto(window.url)
    second.wait_until_ready(0)
    first.click(*middle(0))
    other.locator(".object-state", has_text="present").wait_for()
    second.keys("1")
    second.click(*middle(0), button="right")
    window.wait_for_function(POINTS, arg=2)
    first.click(*middle(0))  # at once: this tab may not know the other's click yet
    window.wait_for_function(POINTS, arg=3)
    points = first.api("")["objects"][0]["prompts"][0]["points"]
    assert [positive for _, _, positive in points] == [1, 0, 1]


def test_clicks_in_quick_succession_are_all_kept(window: Any, start: Any) -> None:
    server, person = start(), Person(window)
    window.goto(f"{server.url}&p={server.project}")
    person.wait_until_ready(0)
    x, y = middle(0)
    for offset in range(3):
        window.mouse.click(*person.place(x + offset, y))
    window.wait_for_function(POINTS, arg=3)


@pytest.mark.slow
def test_nothing_is_lost_when_the_server_is_killed_and_tracking_goes_on(
    window: Any, start: Any
) -> None:
    first = start()
    person = begin_tracking(window, first)
    first.kill()
    window.locator("#banner", has_text="does not answer").wait_for()
    second = start()
    window.goto("about:blank")
    window.goto(f"{second.url}&p={second.project}")
    window.locator(".object-state", has_text="present").wait_for()
    person.wait_for("() => document.querySelectorAll('.card:not(.empty)').length === 3")
    window.locator('#status:text-is("Saved")').wait_for()
    assert person.api("")["objects"][0]["states"][-1][1] == FRAMES - 1
    assert overlap(person.masks(50)[1], truth(50)) > 0.8
