"""A browser for the tests of the page: an installed Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from helpers.web_files import serve
from helpers.web_page import Person, StoryTracker, write_story

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """Path of an installed Chromium."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A started browser; the tests are skipped where it is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def context(browser: Any) -> Iterator[Any]:
    """Tabs of 1280 x 800 pixels with one cache, so that each page is compiled once."""
    found = browser.new_context(viewport={"width": 1280, "height": 800})
    found.set_default_timeout(60_000)  # only a page that hangs needs it
    yield found
    found.close()


@pytest.fixture
def window(context: Any) -> Iterator[Any]:
    """An empty tab. The test fails if a script of the page fails."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert not errors


@pytest.fixture(scope="session")
def modules() -> Iterator[str]:
    """Address of the page's files, without a server behind them."""
    with serve() as address:
        yield address


_numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running server with an empty folder, and a tracker that follows colors and sees cuts."""
    web_server = pytest.importorskip("helpers.web_server", reason="needs the extras web, web-test")
    recipe = f"{StoryTracker.__module__}:{StoryTracker.__name__}"
    running = web_server.LiveServer(tmp_path_factory.mktemp("films"), recipe=recipe).start()
    yield running
    running.kill()


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames with two cuts."""
    return write_story(tmp_path_factory.mktemp("story") / "film.mp4")


@pytest.fixture
def film(server: Any, story: Path) -> Path:
    """A copy of the story in the folder of the server, which no other test opens."""
    path: Path = server.root / f"story{next(_numbers)}.mp4"
    path.write_bytes(story.read_bytes())
    return path


@pytest.fixture
def person(window: Any, server: Any, film: Path) -> Person:
    """Somebody who has opened the film."""
    found = Person(window)
    found.open(server.url, film.name)
    return found
