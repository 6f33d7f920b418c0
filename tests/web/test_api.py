"""Every request of the page, and every sentence that it may get instead of an answer."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.video_toys import HEIGHT, WIDTH, truth
from helpers.web_app import Page, run_on_page
from segment_concept.web.runs import decode_runs, encode_runs

DONE = [[0, 0, "prompted"], [1, 29, "tracked"]]


def masks_in(content: bytes) -> dict[int, np.ndarray]:
    """The masks of a reply, read as the page reads them."""
    found, at, pixels = {}, 0, HEIGHT * WIDTH
    while at < len(content):
        object_id, _ = struct.unpack_from("<Bf", content, at)
        start = at = at + 5
        total = 0
        while total < pixels:
            value = shift = 0
            while True:
                byte = content[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            total += value
        found[object_id] = decode_runs(content[start:at], (HEIGHT, WIDTH))
    return found


def test_a_film_is_opened_and_shown(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        project = await page.project()
        assert project["video"] | {"mime": "video/mp4", "frames": 30} == project["video"]
        table = await page.get("/table?from=28")
        assert np.frombuffer(table.content, "<f8") == pytest.approx([28 / 25, 29 / 25])
        assert table.headers["x-known"] == "30"
        assert table.headers["x-complete"] == "1"
        still = await page.get("/frames/3.jpg")
        assert still.content[:2] == b"\xff\xd8"
        assert "immutable" in still.headers["cache-control"]
        small = await page.get("/frames/3.jpg?w=160")
        assert small.status_code == 200
        again = await page.get("/frames/3.jpg", headers={"if-none-match": still.headers["etag"]})
        assert again.status_code == 304
        part = await page.get("/video", headers={"range": "bytes=0-9"})
        assert part.status_code == 206
        assert len(part.content) == 10
        listed = (await page.client.get("/api/v1/projects")).json()["projects"]
        assert [(row["name"], row["open"]) for row in listed] == [("film.mp4", True)]
        files = (await page.client.get("/api/v1/files")).json()["entries"]
        assert [(row["name"], row["kind"]) for row in files] == [("film.mp4", "video")]

    run_on_page(tmp_path, work)


def test_a_click_is_previewed_edited_tracked_and_explained(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.post("/look", {"frame": 0})
        shown = await page.post("/preview", {"frame": 0, "points": [[10, 20, 1]]})
        assert (masks_in(shown.content)[0] & truth(0)).any()
        assert not (await page.project())["objects"], "a preview changes nothing"
        await page.click()
        assert await page.track() == DONE
        assert (masks_in((await page.get("/masks/20")).content)[1] == truth(20)).mean() > 0.9
        line = (await page.get("/timeline?object=1&from=0&to=2")).content
        assert [line[0], line[4], line[8]] == [4, 1, 1]
        shots = (await page.get("/shots")).json()
        assert shots["shots"][0]["cards"][0]["present"] == 30
        facts = (await page.get("/explain/5")).json()
        assert facts["objects"][0]["sentences"][0] == "Found by tracking."
        strips = (await page.get("/strips")).json()
        assert strips["objects"][0]["curves"].startswith("<svg")

    run_on_page(tmp_path, work)


def test_a_correction_tracks_again_only_what_follows_it(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.click()
        await page.track()
        before = (await page.get("/masks/5")).content
        await page.click(frame=10)
        states = (await page.project())["objects"][0]["states"]
        assert states[-1] == [11, 29, "stale"]
        assert (await page.track())[-1] == [11, 29, "tracked"]
        assert (await page.get("/masks/5")).content == before

    run_on_page(tmp_path, work)


def test_both_directions_reach_every_frame(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.click(frame=10)
        states = await page.track(direction="both")
        assert states == [[0, 9, "tracked"], [10, 10, "prompted"], [11, 29, "tracked"]]

    run_on_page(tmp_path, work)


def test_undo_and_redo_show_the_masks_of_their_time(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.click()
        await page.track()
        first = (await page.get("/masks/20")).content
        runs = encode_runs(np.eye(HEIGHT, WIDTH, dtype=np.bool_))
        rev = (await page.project())["rev"]
        address = f"/api/v1/projects/{page.id}/masks/20?object=1&op=draw&rev={rev}"
        kind = {"content-type": "application/octet-stream"}
        drawn = await page.client.put(address, content=runs, headers=kind)
        assert drawn.status_code == 200, drawn.text
        second = (await page.get("/masks/20")).content
        assert masks_in(second)[1].sum() == HEIGHT
        undone = await page.post("/undo", {"op": "u", "rev": rev + 1})
        assert undone.json()["redo"]
        assert (await page.get("/masks/20")).content == first
        assert (await page.project())["objects"][0]["states"] == DONE
        await page.post("/redo", {"op": "r", "rev": rev + 2})
        assert (await page.get("/masks/20")).content == second

    run_on_page(tmp_path, work)


def test_a_first_click_is_one_step_back(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.click()
        undone = await page.post("/undo", {"op": "u", "rev": 1})
        assert undone.json()["objects"] == []
        refused = await page.post("/undo", {"op": "v", "rev": 2})
        assert refused.status_code == 400
        assert refused.json()["error"] == "there is nothing to take back"

    run_on_page(tmp_path, work)


def test_objects_are_named_colored_locked_denied_and_deleted(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.click()
        await page.track()
        await page.edit({"type": "object_change", "object": 1, "name": "Dog", "color": "#112233"})
        await page.edit({"type": "lock", "object": 1, "from": 3, "to": 4})
        await page.edit({"type": "deny", "object": 1, "from": 20, "to": 29})
        found = (await page.project())["objects"][0]
        assert (found["name"], found["color"]) == ("Dog", "#112233")
        assert found["locked"] == [[3, 4]]
        assert found["verdicts"] == [{"from": 20, "to": 29, "verdict": "denied"}]
        assert not masks_in((await page.get("/masks/25")).content)[1].any()
        await page.edit({"type": "undecide", "object": 1, "from": 20, "to": 29})
        assert masks_in((await page.get("/masks/25")).content)[1].any()
        await page.edit({"type": "object_delete", "object": 1})
        assert (await page.get("/masks/25")).content == b""

    run_on_page(tmp_path, work)


def test_a_stopped_job_keeps_its_frames(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.click()
        job = (await page.post("/jobs", {"from": 0})).json()
        await page.client.delete(f"/api/v1/projects/{page.id}/jobs/{job['id']}")
        await page.until(page.project, lambda p: not p["jobs"])
        states = (await page.project())["objects"][0]["states"]
        await page.track()
        assert states[0] == [0, 0, "prompted"]
        assert (await page.project())["objects"][0]["states"] == DONE

    run_on_page(tmp_path, work)


def test_an_export_is_what_the_page_shows(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.click()
        await page.track()
        await page.edit({"type": "deny", "object": 1, "from": 20, "to": 24})
        options = {"from": 10, "to": 24}
        made = (await page.post("/exports", {"formats": ["rle"], "options": options})).json()
        found = await page.until(
            lambda: page.get(f"/exports/{made['id']}"),
            lambda r: r.json()["state"] in ("done", "failed"),
        )
        assert found.json()["state"] == "done", found.text
        rle = (await page.get(f"/exports/{made['id']}/files/rle.json")).json()
        areas = {row["frame"]: row["objects"][0]["area"] for row in rle["frames"]}
        assert list(areas) == list(range(10, 25))
        assert [frame for frame, area in areas.items() if not area] == list(range(20, 25))
        missing = await page.get(f"/exports/{made['id']}/files/..%2f..%2fproject.json")
        assert missing.status_code in (403, 404)

    run_on_page(tmp_path, work)


def test_an_upload_can_be_continued_and_opened(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        content = (tmp_path / "film.mp4").read_bytes()
        begun = {"name": "../<b>my film</b>.exe", "size": len(content)}
        upload = (await page.client.post("/api/v1/uploads", json=begun)).json()
        address = f"/api/v1/uploads/{upload['id']}"

        async def send(offset: int, piece: bytes) -> Any:
            kind = {"content-type": "application/octet-stream", "upload-offset": str(offset)}
            return await page.client.patch(address, content=piece, headers=kind)

        half = len(content) // 2
        assert (await send(0, content[:half])).status_code == 204
        wrong = await send(0, content)
        assert wrong.status_code == 409
        assert wrong.headers["upload-offset"] == str(half)
        assert (await page.client.head(address)).headers["upload-offset"] == str(half)
        early = await page.client.post("/api/v1/projects", json={"upload": upload["id"]})
        assert early.status_code in (400, 404)
        assert (await send(half, content[half:])).status_code == 204
        opened = await page.client.post("/api/v1/projects", json={"upload": upload["id"]})
        assert opened.status_code == 200, opened.text
        assert opened.json()["name"].endswith(".mp4")
        assert "<" not in opened.json()["name"]

    run_on_page(tmp_path, work)


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("post", "/edits", {"op": "a", "rev": 7, "edit": {"type": "object_add"}}, 409, "changed"),
    ("post", "/edits", {"op": "a", "rev": 0, "edit": {"type": "explode"}}, 400, "there is no edit"),
    ("post", "/edits", {"op": "a", "rev": 0}, 400, "edit: Field required"),
    ("post", "/edits", {"op": "a", "rev": "0", "edit": {}}, 400, "rev: Input should be a valid"),
    ("post", "/edits", [1], 400, "the request"),
    ("post", "/jobs", {"from": 0}, 400, "show an object first"),
    ("post", "/jobs", {"from": 0, "direction": "up"}, 400, "direction: Input should be 'forward'"),
    ("post", "/preview", {"frame": 99, "points": [[1, 1, 1]]}, 404, "there is no frame 99"),
    ("post", "/preview", {"frame": 0}, 400, "no point was given"),
    ("post", "/preview", {"frame": 0, "points": [[999, 1, 1]]}, 404, "lies outside frame 0"),
    ("post", "/preview", {"frame": 0, "points": [[1, 1, 7]]}, 400, "label"),
    ("post", "/exports", {"formats": ["exe"]}, 400, "there is no format"),
    ("post", "/redo", {"op": "a", "rev": 0}, 400, "nothing to make again"),
    ("get", "/frames/99.jpg", None, 404, "there is no frame 99: 30 frames are in the video"),
    ("get", "/frames/x.jpg", None, 400, "a whole number"),
    ("get", "/frames/1.png", None, 404, "w=160, 480 or full"),
    ("get", "/frames/1.jpg?w=7", None, 404, "w=160, 480 or full"),
    ("get", "/timeline?object=9", None, 404, "there is no object 9"),
    ("get", "/explain/77", None, 404, "there is no frame 77"),
    ("get", "/exports/e9", None, 404, "there is no such export"),
    ("get", "/nothing", None, 404, "there is no such"),
    ("delete", "/jobs/j9", None, 404, "there is no such job"),
]


def test_every_refusal_is_one_sentence(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        for method, path, body, status, words in REFUSED:
            address = f"/api/v1/projects/{page.id}{path}"
            reply = await page.client.request(method.upper(), address, json=body)
            error = reply.json()["error"]
            assert (reply.status_code, path) == (status, path), error
            assert words in error, path
            assert "\n" not in error
        for path, words in [("/projects/zzz", "not open here"), ("/uploads/u", "no such")]:
            reply = await page.client.get(f"/api/v1{path}")
            assert words in reply.json()["error"]
        missing = await page.client.post("/api/v1/projects", json={"path": "none.mp4"})
        assert missing.status_code == 400
        text = tmp_path / "notes.mp4"
        text.write_text("no video")
        other = await page.client.post("/api/v1/projects", json={"path": "notes.mp4"})
        assert "cannot be opened as a video" in other.json()["error"]

    run_on_page(tmp_path, work)


def test_the_same_operation_twice_has_the_same_answer(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        body = {"op": "once", "rev": 0, "edit": {"type": "object_add"}}
        first, second = await page.post("/edits", body), await page.post("/edits", body)
        assert first.json() == second.json()
        assert (await page.project())["rev"] == 1

    run_on_page(tmp_path, work)


def test_a_prompt_that_the_tracker_refuses_is_a_sentence_and_blocks_nothing(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.click()
        log = page.workspace.find(page.id).events
        edit = {"type": "prompt", "object": 2, "frame": 0, "points": [[999, 20, 1]]}
        await page.edit(edit)
        assert (await page.track())[-1] == [1, 29, "tracked"]
        told = [data for _, name, data in log._kept if name == "error"]
        assert len(told) == 1
        assert "lies outside frame 0" in told[0]

    run_on_page(tmp_path, work)


def test_a_recipe_of_another_name_is_refused_and_no_module_is_imported(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        body = {"path": "film.mp4", "recipe": "os:abort"}
        reply = await page.client.post("/api/v1/projects", json=body)
        assert reply.status_code == 400
        assert "start another one with --recipe" in reply.json()["error"]

    run_on_page(tmp_path, work)
