"""What another website, a stranger on the network or a hostile file could try, and fails to do."""

import asyncio
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers.video_toys import Film, write_film
from helpers.web_app import HOST, ORIGIN, Page, run_apart, run_on_page
from segment_concept.types import InputError
from segment_concept.web.children import _loads
from segment_concept.web.frames import open_media
from segment_concept.web.guard import (
    SECURITY_HEADERS,
    Access,
    ForbiddenError,
    Guard,
    Limits,
    path_inside,
)
from segment_concept.web.server import ServerOptions, read_token
from segment_concept.web.uploads import TooLargeError, Uploads

ACCESS = Access(frozenset({HOST}), token="t" * 43)
BEARER = {"authorization": f"Bearer {ACCESS.token}"}
JSON = {"content-type": "application/json"}
SMALL = Limits(json_bytes=100, piece_bytes=200, body_seconds=0.2)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the length of the body."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % len(body)})


def ask(
    method: str = "GET",
    path: str = "/api/v1/projects",
    headers: dict[str, str] | None = None,
    app: Any = echo,
    limits: Limits = SMALL,
    **more: Any,
) -> httpx.Response:
    """One request through the guard."""

    async def do() -> httpx.Response:
        transport = httpx.ASGITransport(Guard(app, ACCESS, limits))
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            return await client.request(method, path, headers=headers or {}, **more)

    return run_apart(do())


def change(headers: dict[str, str], **more: Any) -> httpx.Response:
    given = {"origin": ORIGIN, **JSON, **BEARER, **headers}
    return ask("POST", headers={k: v for k, v in given.items() if v}, content="{}", **more)


def test_a_request_with_the_token_is_answered() -> None:
    assert ask(headers=BEARER).status_code == 200
    assert change({}).status_code == 200


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer x", f"Basic {ACCESS.token}", f"Bearer {ACCESS.token}x"],
)
def test_without_the_token_nothing_is_answered(given: str) -> None:
    found = ask(headers={"authorization": given})
    assert found.status_code == 401
    assert "open the address the command printed" in found.json()["error"]


def test_a_cookie_of_another_server_is_no_token() -> None:
    assert ask(headers={"cookie": "segment-concept=guess"}).status_code == 401
    cookie = f"segment-concept={ACCESS.new_cookie()}"
    assert ask(headers={"cookie": cookie}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", f"{HOST}1", f"{HOST}.evil", ""])
def test_a_name_that_was_bound_to_this_address_is_refused(host: str) -> None:
    found = ask(headers={"host": host, **BEARER})
    assert found.status_code == 403
    assert ask(path="/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:9", ORIGIN + "."]
)
def test_another_website_changes_nothing(origin: str) -> None:
    assert change({"origin": origin}).status_code == 403


def test_a_request_without_origin_needs_the_token_itself_and_no_cookie() -> None:
    cookie = {"cookie": f"segment-concept={ACCESS.new_cookie()}"}
    assert change({"origin": "", **cookie, "authorization": ""}).status_code == 403
    assert change({"origin": ""}).status_code == 200  # a script of the person


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "application/json; charset=utf-8",
        "application/json, text/plain",
        "",
    ],
)
def test_what_a_form_can_send_is_refused(kind: str) -> None:
    assert change({"content-type": kind}).status_code == 415


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_requests_that_the_browser_says_are_of_another_site_are_refused(site: str) -> None:
    assert change({"sec-fetch-site": site}).status_code == 403
    assert ask(headers={"sec-fetch-site": site, **BEARER}).status_code == 403
    assert change({"sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.parametrize("path", ["/../etc/passwd", "/%2e%2e/x", "/a\\b", "/x%00y"])
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    transport = Guard(echo, ACCESS, SMALL)
    sent: list[Any] = []

    async def do() -> None:
        from urllib.parse import unquote

        scope = {
            "type": "http",
            "method": "GET",
            "path": unquote(path),
            "headers": [(b"host", HOST.encode())],
            "client": ("127.0.0.1", 1),
        }

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request"}

        await transport(scope, receive, send)

    run_apart(do())
    assert sent[0]["status"] == 403


def test_a_body_that_is_too_large_is_refused_before_it_is_read() -> None:
    reads = []

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def counted() -> Any:
            reads.append(1)
            return await receive()

        await Guard(echo, ACCESS, SMALL)(scope, counted, send)

    async def do() -> httpx.Response:
        transport = httpx.ASGITransport(watched)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            headers = {"origin": ORIGIN, **JSON, **BEARER, "content-length": str(1 << 30)}
            return await client.post("/api/v1/x", headers=headers, content="{")

    found = run_apart(do())
    assert found.status_code == 413
    assert not reads


def test_a_body_without_a_length_is_refused_once_it_is_too_large() -> None:
    async def endless() -> Any:
        while True:
            yield b"[" * 64

    assert change({}).status_code == 200
    headers = {"origin": ORIGIN, **JSON, **BEARER}
    found = ask("POST", headers=headers, content=endless())
    assert found.status_code == 413


def test_masks_may_be_larger_than_other_requests() -> None:
    kind = {"content-type": "application/octet-stream"}
    headers = {"origin": ORIGIN, **kind, **BEARER}
    assert ask("PUT", headers=headers, content=b"x" * 150).text == "150"
    assert ask("PUT", headers=headers, content=b"x" * 250).status_code == 413


def test_a_body_that_never_ends_is_given_up() -> None:
    async def slow() -> Any:
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    headers = {"origin": ORIGIN, **JSON, **BEARER}
    assert ask("POST", headers=headers, content=slow()).status_code == 413


def test_headers_that_are_too_large_are_refused() -> None:
    assert ask(headers={"x-more": "x" * (17 << 10), **BEARER}).status_code == 413


def test_of_many_requests_at_once_only_some_are_answered() -> None:
    busy = most = 0

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.05)
        busy -= 1
        await echo(scope, receive, send)

    async def do() -> list[int]:
        transport = httpx.ASGITransport(Guard(slow, ACCESS, Limits()))
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            sent = [client.get("/api/v1/preview", headers=BEARER) for _ in range(100)]
            return [reply.status_code for reply in await asyncio.gather(*sent)]

    found = run_apart(do())
    assert most <= 10
    assert set(found) == {200, 429}
    assert ask(headers=BEARER).status_code == 200, "later ones are answered again"


def test_every_reply_has_the_headers_of_security_and_no_cors_header() -> None:
    for found in (ask(headers=BEARER), ask(), ask(path="/")):
        for name, value in SECURITY_HEADERS.items():
            assert found.headers[name] == value
        assert not any(name.startswith("access-control") for name in found.headers)
    assert "unsafe" not in SECURITY_HEADERS["content-security-policy"]


def test_a_websocket_is_not_opened() -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError("nothing is sent")

    run_apart(Guard(never, ACCESS, SMALL)({"type": "websocket"}, never, never))


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/passwd", "a/../../secret.txt", "a\\b"])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    with pytest.raises(ForbiddenError):
        path_inside(root, name)


def test_links_that_leave_the_folder_are_refused_and_others_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.mp4").write_text("secret")
    (root / "inside.mp4").write_text("film")
    (root / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "in.mp4").symlink_to(root / "inside.mp4")
    (root / "folder").symlink_to(tmp_path)
    for name in ("out.mp4", "folder", "folder/secret.mp4"):
        with pytest.raises(ForbiddenError, match="lies outside"):
            path_inside(root, name)
    assert path_inside(root, "in.mp4") == (root / "inside.mp4").resolve()


def test_devices_are_refused(tmp_path: Path) -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("needs /dev/zero")
    with pytest.raises(ForbiddenError, match="a device or a pipe"):
        path_inside(Path("/dev"), "zero")


PLAYLISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{film}\n#EXT-X-ENDLIST\n",
    "list.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{film}\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile '{film}'\n",
    "list.avi": "ffconcat version 1.0\nfile '{film}'\n",
    "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5000 RTP/AVP 96\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_files_that_refer_to_others_are_refused(tmp_path: Path, name: str) -> None:
    film = write_film(tmp_path / "film.mp4", Film(frames=5))
    playlist = tmp_path / name
    playlist.write_text(PLAYLISTS[name].format(film=film.name))
    with pytest.raises(InputError):
        open_media(playlist)


def test_a_folder_of_images_with_a_link_to_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (folder / "0001.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError, match="a link to another folder"):
        open_media(folder)


def test_uploads_are_limited_in_size_and_to_what_was_announced(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, Limits(upload_bytes=100))
    with pytest.raises(TooLargeError, match="too large"):
        uploads.begin("film.mp4", 101)
    id_, _ = uploads.begin("../../etc/cron.d/x", 10)
    with pytest.raises(TooLargeError, match="announced with 10 bytes"):
        uploads.append(id_, 0, b"x" * 11)
    uploads.append(id_, 0, b"x" * 10)
    path = uploads.finished(id_, ".mp4")
    assert path.parent == tmp_path / "uploads"
    assert path.name.startswith("x-")


def test_uploads_that_were_left_unfinished_are_removed_after_a_day(tmp_path: Path) -> None:
    id_, upload = Uploads(tmp_path, Limits()).begin("film.mp4", 10)
    kept = tmp_path / "uploads" / "user.part"
    kept.touch()
    for path in (upload.path, kept):
        os.utime(path, (1, 1))
    later_id, later = Uploads(tmp_path, Limits()).begin("film.mp4", 10)
    Uploads(tmp_path, Limits())
    assert not upload.path.exists()
    assert kept.exists()
    assert later.path.exists()
    assert id_ != later_id


def test_uploads_leave_a_part_of_the_disk_free(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, Limits(free_share=1.0))
    with pytest.raises(TooLargeError, match="not enough space"):
        uploads.begin("film.mp4", 10)


def test_a_child_that_was_taken_over_cannot_make_the_server_run_code() -> None:
    import pickle

    class Attack:
        def __reduce__(self) -> Any:
            return os.system, ("true",)

    with pytest.raises(pickle.UnpicklingError, match="is no value"):
        _loads(pickle.dumps(Attack()))
    nested = b"csegment_concept.runtime.files\nos\n."
    with pytest.raises(pickle.UnpicklingError):
        _loads(nested)


@pytest.mark.parametrize("content", ["short", "x" * 40 + " y", "ü" * 40])
def test_a_weak_token_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    with pytest.raises(InputError, match="holds no token"):
        read_token(str(path))


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("192.168.1.2", False),
    ],
)
def test_only_this_machine_is_local(host: str, is_local: bool) -> None:
    assert ServerOptions(host=host).is_local == is_local


def test_names_with_html_stay_text(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        name = "<img src=x onerror=alert(1)>"
        made = await page.edit({"type": "object_add", "name": name})
        assert made.headers["content-type"] == "application/json"
        assert made.json()["objects"][0]["name"] == name
        assert made.headers["x-content-type-options"] == "nosniff"
        hidden = await page.edit({"type": "object_add", "name": "a\u202eb"})
        assert hidden.status_code == 400

    run_on_page(tmp_path, work)


def test_json_that_is_nested_deeply_or_holds_huge_numbers_is_refused(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        address = f"/api/v1/projects/{page.id}/edits"
        for content in (
            "[" * 100_000,
            '{"rev": ' + "9" * 5000 + "}",
            "{",
            '{"rev": NaN}',
            "\ud800",
        ):
            body = content.encode("utf-8", "surrogatepass")
            reply = await page.client.post(address, content=body)
            assert reply.status_code == 400, reply.text
            assert "\n" not in reply.json()["error"]

    run_on_page(tmp_path, work)
