"""Fixtures of the page's server. Without the extras `web` and `web-test` its tests are left out."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.video_toys import Film, write_film

if TYPE_CHECKING:
    from helpers.web_server import LiveServer

if not all(map(find_spec, ("fastapi", "uvicorn", "httpx"))):
    collect_ignore_glob = ["*"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[LiveServer]":
    """A running server that the tests of a module share; they open films of their own in it."""
    from helpers.web_server import LiveServer  # which needs httpx

    server = LiveServer(tmp_path_factory.mktemp("films")).start()
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture
def live_server(tmp_path: Path) -> "Iterator[LiveServer]":
    """A running server with a film of 60 frames open in it."""
    from helpers.web_server import LiveServer  # which needs httpx

    video = write_film(tmp_path / "film.mp4", Film(frames=60))
    server = LiveServer(tmp_path, video).start()
    yield server
    server.process.kill()
    server.process.wait()
