"""Videos that several tests read; each is made once."""

from pathlib import Path

import pytest

from helpers.video_toys import Film, write_film


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames, H.264 with B-frames, a keyframe every 6, and sound."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_film(path, Film(sound="aac", b_frames=2))


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk: no power is cut here, and a disk in use would take minutes."""
    monkeypatch.setattr("os.fsync", lambda number: None)
    monkeypatch.setattr("os.sync", lambda: None, raising=False)
