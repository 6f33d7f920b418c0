"""A server that is killed at any moment loses nothing that the page has shown."""

import random
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers.video_toys import Film, write_film
from helpers.web_server import LiveServer, wait_until

FRAMES = 120
SLOW = "helpers.web_trackers:Slow"
DONE = [[0, 0, "prompted"], [1, FRAMES - 1, "tracked"]]


def states(client: httpx.Client, project: str) -> list[Any]:
    objects = client.get(f"/projects/{project}").json()["objects"]
    return list(objects[0]["states"]) if objects else []


def begin(client: httpx.Client, project: str) -> None:
    edit = {"type": "prompt", "object": 1, "frame": 0, "points": [[10, 20, 1]]}
    base = f"/projects/{project}"
    client.post(f"{base}/edits", json={"op": "a", "rev": 0, "edit": edit}).raise_for_status()
    client.post(f"{base}/jobs", json={"from": 0}).raise_for_status()


def outcome(client: httpx.Client, project: str) -> tuple[bytes, bytes]:
    base = f"/projects/{project}"
    wait_until(lambda: states(client, project), lambda found: found == DONE)
    masks = b"".join(client.get(f"{base}/masks/{i}").content for i in range(FRAMES))
    return client.get(f"{base}/timeline?object=1").content, masks


def undisturbed(folder: Path) -> tuple[bytes, bytes]:
    folder.mkdir()
    video = write_film(folder / "film.mp4", Film(frames=FRAMES))
    server = LiveServer(folder, video, recipe=SLOW).start()
    client = server.client()
    begin(client, server.project)
    found = outcome(client, server.project)
    server.stop()
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path / "undisturbed")
    chance = random.Random(50)
    kills, film = 0, 0
    while kills < 50:
        film += 1
        folder = tmp_path / f"film{film}"
        folder.mkdir()
        video = write_film(folder / "film.mp4", Film(frames=FRAMES))
        server = LiveServer(folder, video, recipe=SLOW).start()
        client = server.client()
        begin(client, server.project)
        known = states(client, server.project)
        while known != DONE and kills < 50:
            time.sleep(chance.uniform(0, 1.5))
            before = states(client, server.project)
            server.kill()
            kills += 1
            server.start()
            client = server.client()
            known = states(client, server.project)
            assert tracked(known) >= tracked(before), "a frame that was shown is lost"
            # Else the next kill comes while the tracker still loads.
            if known != DONE and chance.random() < 0.5:
                advance(client, server.project, known)
        assert outcome(client, server.project) == expected
        server.kill()


def advance(client: httpx.Client, project: str, known: list[Any]) -> None:
    wait_until(lambda: states(client, project), lambda found: found != known)


def tracked(found: list[Any]) -> int:
    return sum(last - first + 1 for first, last, state in found if state != "stale")
