"""The command as a whole: a browser's requests to a real server."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers.video_toys import Film, write_film
from helpers.web_server import LiveServer, wait_until


def open_film(server: LiveServer) -> tuple[httpx.Client, str]:
    """A film of its own in the server that tests share."""
    number = len(list(server.root.glob("*.mp4")))
    video = write_film(server.root / f"shared{number}.mp4", Film(frames=60))
    client = server.client()
    return client, client.post("/projects", json={"path": video.name}).json()["id"]


def film_of(server: LiveServer, project: str) -> Path:
    name = server.client().get(f"/projects/{project}").json()["name"]
    return server.root / str(name)


def ready(client: httpx.Client, project: str) -> dict[str, Any]:
    return wait_until(
        lambda: client.get(f"/projects/{project}").json(),
        lambda found: found["tracker"]["state"] == "ready" and found["table"]["complete"],
    )


def prompt(client: httpx.Client, project: str, op: str = "click") -> dict[str, Any]:
    rev = client.get(f"/projects/{project}").json()["rev"]
    edit = {"type": "prompt", "object": 1, "frame": 0, "points": [[10, 20, 1]]}
    reply = client.post(f"/projects/{project}/edits", json={"op": op, "rev": rev, "edit": edit})
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def states(client: httpx.Client, project: str) -> list[Any]:
    objects = client.get(f"/projects/{project}").json()["objects"]
    return list(objects[0]["states"]) if objects else []


def test_a_click_is_tracked_to_the_end_exported_and_still_there_after_a_kill(
    live_server: LiveServer,
) -> None:
    client, project = live_server.client(), live_server.project
    base = f"/projects/{project}"
    ready(client, project)
    shown = client.post(f"{base}/preview", json={"frame": 0, "points": [[10, 20, 1]]})
    assert shown.status_code == 200
    prompt(client, project)
    done = [[0, 0, "prompted"], [1, 59, "tracked"]]
    job = client.post(f"{base}/jobs", json={"from": 0}).json()
    assert job["state"] in ("queued", "running")
    wait_until(lambda: states(client, project), lambda found: found == done)
    mask = client.get(f"{base}/masks/30").content
    assert mask[0] == 1
    made = client.post(f"{base}/exports", json={"formats": ["overlay", "palette", "rle"]}).json()
    export = wait_until(
        lambda: client.get(f"{base}/exports/{made['id']}").json(),
        lambda found: found["state"] not in ("queued", "running"),
    )
    assert export["state"] == "done", export
    names = {row["name"] for row in export["files"]}
    assert names == {"overlay.mp4", "palette", "rle.json", "result.json"}
    rle = client.get(f"{base}/exports/{made['id']}/files/rle.json")
    assert rle.headers["content-disposition"].startswith("attachment")
    assert len(rle.json()["frames"]) == 60

    live_server.kill()
    live_server.start()
    client = live_server.client()
    assert states(client, project) == done
    assert client.get(f"{base}/masks/30").content == mask
    assert live_server.stop() == 0


def test_a_job_goes_on_after_the_server_was_killed(live_server: LiveServer) -> None:
    client, project = live_server.client(), live_server.project
    ready(client, project)
    prompt(client, project)
    client.post(f"/projects/{project}/jobs", json={"from": 0})
    wait_until(lambda: states(client, project), lambda found: len(found) > 1)
    live_server.kill()
    live_server.start()
    client = live_server.client()
    done = [[0, 0, "prompted"], [1, 59, "tracked"]]
    wait_until(lambda: states(client, project), lambda found: found == done)


def test_events_go_on_where_a_page_was_cut_off(server: LiveServer) -> None:
    client, project = open_film(server)
    start = ready(client, project)["event"]
    prompt(client, project)
    client.post(f"/projects/{project}/jobs", json={"from": 0})
    found: list[tuple[str, str, str]] = []
    after = start
    while not any(name == "job" and '"state":"done"' in data for _, name, data in found):
        with client.stream(
            "GET", f"/projects/{project}/events", headers={"last-event-id": after}
        ) as stream:
            part = _events(stream, most=7)
        found += part
        after = found[-1][0]
    numbers = [int(id_.split("-")[1]) for id_, _, _ in found]
    first = int(start.split("-")[1]) + 1
    assert numbers == list(range(first, first + len(numbers))), "an event is lost or doubled"
    frames = [json.loads(data)["i"] for _, name, data in found if name == "frame"]
    assert sorted(set(frames)) == list(range(60))


def _events(stream: httpx.Response, most: int) -> list[tuple[str, str, str]]:
    found, fields = [], dict[str, str]()
    for line in stream.iter_lines():
        name, _, value = line.partition(": ")
        if line.startswith(("id", "event", "data")):
            fields[name] = value
        elif not line and fields:
            found.append((fields["id"], fields["event"], fields["data"]))
            fields = {}
            if len(found) == most or '"state":"done"' in found[-1][2]:
                break
    return found


def test_a_second_server_may_look_and_not_change(server: LiveServer) -> None:
    client, project = open_film(server)
    ready(client, project)
    prompt(client, project)
    second = LiveServer(server.root, film_of(server, project)).start()
    try:
        other = second.client()
        seen = other.get(f"/projects/{project}").json()
        assert f"(process {server.process.pid})" in seen["read_only"]
        body = {"op": "x", "rev": seen["rev"], "edit": {"type": "object_add"}}
        refused = other.post(f"/projects/{project}/edits", json=body)
        assert refused.status_code == 403
        assert "another server" in refused.json()["error"]
    finally:
        second.kill()


def test_a_tracker_that_crashes_costs_no_frame_and_can_be_started_again(
    server: LiveServer,
) -> None:
    client, project = open_film(server)
    ready(client, project)
    prompt(client, project)
    wait_until(lambda: states(client, project), bool)
    tracker = tracker_of(server)
    os.kill(tracker, signal.SIGKILL)
    failed = wait_until(
        lambda: client.get(f"/projects/{project}").json()["tracker"],
        lambda found: found["state"] == "failed",
    )
    assert "ended by SIGKILL, perhaps for lack of memory" in failed["message"]
    client.post(f"/projects/{project}/jobs", json={"from": 0})
    done = [[0, 0, "prompted"], [1, 59, "tracked"]]
    wait_until(lambda: states(client, project), lambda found: found == done)


def tracker_of(server: LiveServer) -> int:
    """The process that tracks: the child that has loaded torch."""
    if not Path("/proc/self/task").exists():
        pytest.skip("needs /proc")
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(next(c for c in children if "libtorch" in Path(f"/proc/{c}/maps").read_text()))


def test_a_film_that_vanishes_is_a_sentence_and_its_masks_stay(server: LiveServer) -> None:
    client, project = open_film(server)
    base = f"/projects/{project}"
    ready(client, project)
    prompt(client, project)
    wait_until(lambda: client.get(f"{base}/masks/0").content, bool)
    film_of(server, project).rename(server.root / "elsewhere.mp4")
    found = wait_until(lambda: client.get(base).json(), lambda found: found["trouble"] is not None)
    assert "put it back where it was" in found["trouble"]
    assert client.get(f"{base}/masks/0").content
    refused = client.post(f"{base}/jobs", json={"from": 0})
    assert refused.status_code == 403


def test_two_pages_that_edit_the_same_revision_do_not_undo_each_other(
    server: LiveServer,
) -> None:
    first, project = open_film(server)
    second = server.client()
    replies: list[int] = []

    def add(client: httpx.Client, op: str) -> None:
        body = {"op": op, "rev": 0, "edit": {"type": "object_add"}}
        replies.append(client.post(f"/projects/{project}/edits", json=body).status_code)

    threads = [threading.Thread(target=add, args=pair) for pair in ((first, "a"), (second, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(replies) == [200, 409]
