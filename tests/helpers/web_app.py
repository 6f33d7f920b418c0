"""The application of the page in this process: no network, and threads for its two processes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from helpers.video_toys import Film, write_film
from helpers.web_server import COLORS
from segment_concept.web.app import make_app
from segment_concept.web.children import Child
from segment_concept.web.guard import Access, Limits
from segment_concept.web.workspace import Settings, Workspace

T = TypeVar("T")

HOST = "127.0.0.1:8000"
ORIGIN = f"http://{HOST}"
NO_LIMITS = {"memory": 0, "cpu_seconds": 0}
TURNS = 2000  # of 10 ms that are waited for something to happen


class _Thread(threading.Thread):
    """Has what is used of a process."""

    exitcode = 0

    def kill(self) -> None:
        """Threads end with their pipe."""


class ThreadChild(Child):
    """Runs what a child would do in a thread of this process."""

    def _begin(self, theirs: Any, target: Callable[..., None], args: Any, name: str) -> Any:
        thread = _Thread(target=target, args=(theirs, *args), name=name, daemon=True)
        thread.start()
        return thread


@dataclass
class Page:
    """An open project, and a client that has shown the token."""

    client: httpx.AsyncClient
    workspace: Workspace
    access: Access
    id: str = ""

    async def get(self, path: str = "", **more: Any) -> httpx.Response:
        return await self.client.get(f"/api/v1/projects/{self.id}{path}", **more)

    async def post(self, path: str, json: Any, **more: Any) -> httpx.Response:
        return await self.client.post(f"/api/v1/projects/{self.id}{path}", json=json, **more)

    async def project(self) -> dict[str, Any]:
        return dict((await self.get()).json())

    async def edit(self, edit: dict[str, Any], op: str = "") -> httpx.Response:
        rev = (await self.project())["rev"]
        return await self.post("/edits", {"op": op or f"op{rev}", "rev": rev, "edit": edit})

    async def click(self, object_id: int = 1, frame: int = 0) -> None:
        """Show the red square, and wait for its mask."""
        x = 10 + 2 * frame
        edit = {"type": "prompt", "object": object_id, "frame": frame, "points": [[x, 20, 1]]}
        reply = await self.edit(edit)
        assert reply.status_code == 200, reply.text
        await self.until(self.is_solved, bool)

    async def is_solved(self) -> bool:
        """Whether all prompts have their masks."""
        prompts = self.workspace.tracking.prompts
        return prompts.are_solved(self.workspace.find(self.id))

    async def track(self, **body: Any) -> list[Any]:
        """Track, wait for the end, and return the states of the first object."""
        reply = await self.post("/jobs", {"from": 0, **body})
        assert reply.status_code == 200, reply.text
        found = await self.until(self.project, lambda p: not p["jobs"])
        return list(found["objects"][0]["states"])

    async def until(
        self, get: Callable[[], Coroutine[Any, Any, Any]], is_so: Callable[[Any], bool]
    ) -> Any:
        for _ in range(TURNS):
            found = await get()
            if is_so(found):
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"still {found}")


@asynccontextmanager
async def open_page(
    root: Path,
    *,
    recipe: str = COLORS,
    limits: Limits | None = None,
    film: Film | None = None,
) -> AsyncIterator[Page]:
    """A page with a film of 30 frames, whose tracker is ready."""
    if not (root / "film.mp4").exists():
        write_film(root / "film.mp4", film or Film(frames=30))
    settings = Settings(root, None, recipe, "cpu", limits or Limits(), NO_LIMITS)
    workspace = Workspace(settings, ThreadChild)
    access = Access(frozenset({HOST}))
    transport = httpx.ASGITransport(make_app(workspace, access), raise_app_exceptions=False)
    headers = {"origin": ORIGIN, "content-type": "application/json"}
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers) as client:
        await workspace.start()
        try:
            page = Page(client, workspace, access)
            bearer = {"authorization": f"Bearer {access.token}"}
            shown = await client.post("/api/v1/session", headers=bearer, content="{}")
            assert shown.status_code == 200
            opened = await client.post("/api/v1/projects", json={"path": "film.mp4"})
            assert opened.status_code == 200, opened.text
            page.id = opened.json()["id"]
            await page.until(
                page.project, lambda p: p["tracker"]["state"] == "ready" and p["table"]["complete"]
            )
            yield page
        finally:
            await workspace.stop()


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread of its own: a browser that is open keeps a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def run_on_page(root: Path, work: Callable[[Page], Coroutine[Any, Any, None]], **more: Any) -> None:
    """Run a test on an open page."""

    async def do() -> None:
        async with open_page(root, **more) as page:
            await work(page)

    run_apart(do())
