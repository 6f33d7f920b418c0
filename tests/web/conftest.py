"""Fixtures of the page's server. Without the extra `web` these tests are skipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra `web`")
pytest.importorskip("httpx", reason="needs the extra `web-test`")

from helpers.video_toys import Film, write_film
from helpers.web_server import LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A running server that the tests of a module share; they open films of their own in it."""
    server = LiveServer(tmp_path_factory.mktemp("films")).start()
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture
def live_server(tmp_path: Path) -> Iterator[LiveServer]:
    """A running server with a film of 60 frames open in it."""
    video = write_film(tmp_path / "film.mp4", Film(frames=60))
    server = LiveServer(tmp_path, video).start()
    yield server
    server.process.kill()
    server.process.wait()
