"""All projects of one server, and the two processes that serve them: frames, and the tracker."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segment_concept.types import InputError
from segment_concept.video.image_files import SUFFIXES
from segment_concept.video.source import VideoSource
from segment_concept.web.children import Child
from segment_concept.web.dispatch import Dispatcher
from segment_concept.web.exports import formats_json
from segment_concept.web.folder import SUFFIX, open_folder, project_id
from segment_concept.web.guard import ForbiddenError, Limits, path_inside
from segment_concept.web.media import (
    OpenVideo,
    Probe,
    SourceMessage,
    TableMessage,
    serve_frames,
)
from segment_concept.web.opened import MissingError, OpenProject
from segment_concept.web.uploads import Uploads
from segment_concept.web.wire import NewProject

log = logging.getLogger(__name__)

VIDEOS = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".ts", ".mpg"),
        *(".mpeg", ".mxf", ".ogv", ".flv", ".wmv", ".gif", ".webp", ".3gp", ".vob", ".video"),
    }
)
WATCH_SECONDS = 5.0  # between two looks at whether videos are still there
MOST_ENTRIES = 5000  # of a folder that are listed


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server serves.

    Attributes:
        root: the folder that may be browsed.
        projects: where projects are kept; None for beside each video.
        recipe: of new projects; or `package.module:function`, which returns a tracker.
        device: for the tracker.
        limits: of requests.
        frame_limits: of the process that decodes, see `media.serve_frames`.
    """

    root: Path
    projects: Path | None = None
    recipe: str = "sec_compact"
    device: str = "auto"
    limits: Limits = field(default_factory=Limits)
    frame_limits: dict[str, int] = field(default_factory=dict)


class Workspace:
    """Opens projects and keeps the processes running."""

    def __init__(self, settings: Settings, new_child: Callable[..., Child] = Child) -> None:
        self.settings = settings
        self.uploads = Uploads(settings.root, settings.limits)
        self.opened: dict[str, OpenProject] = {}
        self._new_child = new_child
        self.tracking = Dispatcher(settings.recipe, settings.device, new_child=new_child)
        self.last_page_left = time.monotonic()
        self._media: Child | None = None
        self._sources: dict[str, VideoSource] = {}  # by project
        self._tables: dict[str, TableMessage] = {}
        self._opening = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the processes."""
        self._media = self._new_media()
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Close all projects and end the processes."""
        if self._watcher is not None:
            self._watcher.cancel()
        for project in list(self.opened.values()):
            await self.close(project.id)
        await self.tracking.stop()
        if self._media is not None:
            await self._media.close()

    @property
    def listeners(self) -> int:
        """Number of pages that listen."""
        return sum(project.events.listeners for project in self.opened.values())

    def find(self, id_: str) -> OpenProject:
        """An open project. Raises MissingError."""
        if id_ not in self.opened:
            raise MissingError("this project is not open here: choose it in the list")
        return self.opened[id_]

    async def open(self, body: NewProject) -> OpenProject:
        """Open the video of a name below the root, or one that was uploaded.

        Raises:
            ForbiddenError: it lies elsewhere.
            InputError: it is no video, or is not there.
            RemoteError, ChildError: it cannot be decoded.
            OSError: no project can be made.
        """
        if body.recipe not in (None, self.settings.recipe):
            raise InputError(
                f"this server tracks with {self.settings.recipe}: start another one with --recipe"
            )
        if body.upload is not None:
            media = await self._ready_media()
            suffix = await media.ask(Probe(str(self.uploads.path(body.upload))))
            return await self.open_path(self.uploads.finished(body.upload, suffix))
        return await self.open_path(path_inside(self.settings.root, body.path or ""))

    async def open_path(self, path: Path) -> OpenProject:
        """Open a video. Raises as `open`."""
        async with self._opening:
            id_ = project_id(path)
            if id_ in self.opened:
                return self.opened[id_]
            media = await self._ready_media()
            self._tables.pop(id_, None)
            table = await media.ask(OpenVideo(id_, str(path)))
            settings = self.settings
            folder = await asyncio.to_thread(open_folder, path, settings.projects, settings.recipe)
            project = OpenProject(id_, folder, table, media)
            self.opened[id_] = project
            if id_ in self._tables:  # of while the folder was opened
                project.hear_table(self._tables[id_])
            project.source = self._sources.get(id_)
            self.tracking.opened(project)
            return project

    async def close(self, id_: str) -> None:
        """Close a project."""
        project = self.opened.pop(id_, None)
        if project is not None:
            await self.tracking.closed(project)
            await project.close()

    def json(self, project: OpenProject) -> dict[str, Any]:
        """A project for the page."""
        state = self.tracking.tracker.state
        return project.json() | {
            "tracker": {
                "state": "failed" if state.state == "crashed" else state.state,
                "message": state.message,
            },
            "jobs": self.tracking.jobs_json(project),
            "export_formats": formats_json(),
        }

    def say_goodbye(self) -> None:
        """End the streams of events of all pages."""
        for project in self.opened.values():
            project.events.close()

    def page_left(self) -> None:
        """A page has closed its connection."""
        self.last_page_left = time.monotonic()

    def files(self, name: str) -> dict[str, Any]:
        """Videos and folders below the root. Raises as `open`."""
        folder = path_inside(self.settings.root, name)
        if not folder.is_dir():
            raise InputError(f"{name[:200]!r} is a file: open it as a project")
        return {"path": name, "entries": list(_entries(self.settings.root, folder))}

    def list_json(self) -> dict[str, Any]:
        """All projects, and the recipe of this server."""
        recipe = self.settings.recipe
        return {"projects": self._projects_json(), "recipes": [recipe], "recipe": recipe}

    def _projects_json(self) -> list[dict[str, Any]]:
        """Open projects, and those beside videos of the root."""
        found = {
            i: {
                "id": i,
                "name": p.video_path.name,
                "path": self._shown_path(p.video_path),
                "open": True,
                "missing": p.folder.trouble is not None,
            }
            for i, p in self.opened.items()
        }
        for folder in sorted(self.settings.root.glob(f"*{SUFFIX}")):
            video = folder.with_name(folder.name[: -len(SUFFIX)])
            row = {
                "id": project_id(video),
                "name": video.name,
                "path": video.name,
                "open": False,
                "missing": not video.exists(),
            }
            found.setdefault(project_id(video), row)
        return list(found.values())

    # --- the process for frames --------------------------------------------------------------

    def _new_media(self) -> Child:
        args = (self.settings.frame_limits,)
        name = "segment-concept-frames"
        return self._new_child(serve_frames, args, name, self._hear, self._media_died)

    async def _ready_media(self) -> Child:
        if self._media is None or not self._media.is_alive:
            self._media = self._new_media()
            for project in self.opened.values():
                with contextlib.suppress(Exception):
                    await project.reopen(self._media)
        return self._media

    def _hear(self, message: Any) -> None:
        if isinstance(message, TableMessage):
            self._tables[message.key] = message
            if message.key in self.opened:
                self.opened[message.key].hear_table(message)
                self.tracking.edited(self.opened[message.key])
        elif isinstance(message, SourceMessage):
            self._sources[message.key] = message.source
            if message.key in self.opened:
                self.tracking.knows_frames(self.opened[message.key], message.source)

    def _media_died(self, reason: str) -> None:
        log.warning("the process that decodes frames has ended: %s", reason)
        for project in self.opened.values():
            project.tell_error(f"a frame could not be decoded ({reason}): other frames can be seen")
        self._reviving = asyncio.get_running_loop().create_task(self._ready_media())

    async def _watch(self) -> None:
        """Notice videos that vanish or change."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for project in list(self.opened.values()):
                await self.check_video(project)

    async def check_video(self, project: OpenProject) -> None:
        """Look whether the video is still there, and tell the page if not."""
        before = project.folder.trouble
        await asyncio.to_thread(project.folder.check_video)
        if project.folder.trouble != before:
            facts = {"trouble": project.folder.trouble, "read_only": project.folder.read_only}
            project.events.publish("project", facts)

    def _shown_path(self, path: Path) -> str:
        with contextlib.suppress(ValueError):
            return path.resolve().relative_to(self.settings.root.resolve()).as_posix()
        return path.name


def _entries(root: Path, folder: Path) -> Iterator[dict[str, Any]]:
    base = root.resolve()
    for count, entry in enumerate(sorted(folder.iterdir(), key=lambda e: e.name.casefold())):
        if count == MOST_ENTRIES:
            return
        if entry.name.startswith(".") or entry.name.endswith(SUFFIX):
            continue
        try:
            found = path_inside(base, entry.relative_to(base).as_posix())
        except (ForbiddenError, InputError, ValueError):
            continue
        if found.is_dir():
            kind = "images" if _holds_images(found) else "folder"
            yield {"name": entry.name, "kind": kind, "size": 0}
        elif entry.suffix.lower() in VIDEOS:
            yield {"name": entry.name, "kind": "video", "size": found.stat().st_size}


def _holds_images(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return any(entry.suffix.lower() in SUFFIXES for entry in folder.iterdir())
    return False
