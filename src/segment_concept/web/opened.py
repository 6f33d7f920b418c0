"""A project that is open in this server: its video, its frames, its edits and its events."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segment_concept.types import InputError
from segment_concept.video.source import VideoInfo, VideoSource
from segment_concept.web.children import Child
from segment_concept.web.edits import DrawMask
from segment_concept.web.folder import ProjectFolder
from segment_concept.web.hub import EventLog
from segment_concept.web.media import CloseVideo, OpenVideo, Still, TableMessage
from segment_concept.web.project import Project, result_json, states_json
from segment_concept.web.runs import decode_runs, pack_masks
from segment_concept.web.store import QUERIED, Result

log = logging.getLogger(__name__)

_PLAYABLE = {  # by suffix: what browsers may play, and how they call it
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/webm",
    ".ogv": "video/ogg",
}
STILL_SECONDS = 30.0  # in which a still must be there
SEAL_AFTER = 512  # results in the journal


class MissingError(InputError):
    """What is asked for is not there."""


class OpenProject:
    """Reads and changes one project, and tells its page.

    Attributes:
        id: its name in addresses.
        project: what a person has said and what was tracked.
        events: for the page.
        source: the video for the tracker, once all of its frames are known.
    """

    def __init__(self, id_: str, folder: ProjectFolder, table: TableMessage, media: Child) -> None:
        self.id = id_
        self.project = Project(folder, table.info.size)
        self.events = EventLog()
        self.source: VideoSource | None = None
        self.media = media
        self._info: VideoInfo = table.info
        self._seconds: NDArray[np.float64] = table.seconds
        self._whole = table.whole
        self._about = table.about_frames
        self._version = 0
        self._sealing: asyncio.Task[None] | None = None

    @property
    def folder(self) -> ProjectFolder:
        """Where it is on disk."""
        return self.project.folder

    @property
    def video_path(self) -> Path:
        """The file or folder."""
        return self.folder.video

    @property
    def frames(self) -> int:
        """Number of frames that are known."""
        return len(self._seconds)

    @property
    def is_whole(self) -> bool:
        """Whether all frames are known."""
        return self._whole

    @property
    def seconds(self) -> NDArray[np.float64]:
        """(T,) when every known frame is shown."""
        return self._seconds

    # --- the video ---------------------------------------------------------------------------

    def hear_table(self, message: TableMessage) -> None:
        """More frames are known."""
        if message.error:
            self.events.publish("error", {"error": message.error, "object": None, "frame": None})
            return
        before = self._seconds
        common = min(len(before), len(message.seconds))
        same = np.allclose(before[:common], message.seconds[:common], atol=1e-6)
        if not same or len(message.seconds) < len(before):
            self._version += 1
        self._seconds, self._info, self._whole = message.seconds, message.info, message.whole
        self._about = message.about_frames
        self.events.publish("table", self.table_json())
        if message.whole:
            self.events.publish("video", self.video_json())

    def table_json(self) -> dict[str, Any]:
        """How much of the table is known."""
        return {"known": self.frames, "complete": self._whole, "version": self._version}

    def table_bytes(self, first: int) -> bytes:
        """Times from a frame on, float64 little endian."""
        return self._seconds[first:].astype("<f8").tobytes()

    def video_json(self) -> dict[str, Any]:
        """What the page must know of the video."""
        info = self._info
        height, width = info.size
        return {
            "width": width,
            "height": height,
            "rate": float(info.rate),
            "frames": self.frames if self._whole else None,
            "about_frames": max(self._about, self.frames),
            "pixel_aspect": float(info.pixel_aspect),
            "mime": self.mime,
            "sound": info.sound is not None,
            "incomplete": info.incomplete,
        }

    @property
    def mime(self) -> str | None:
        """The type of the video for a browser; None where it is no file that one plays."""
        if self.video_path.is_dir():
            return None
        return _PLAYABLE.get(self.video_path.suffix.lower())

    async def still(self, frame: int, width: int) -> bytes:
        """A frame as JPEG.

        Raises:
            MissingError: there is no such frame, or it is damaged.
            RemoteError, ChildError: the video cannot be read.
        """
        if frame >= self.frames:
            what = "are known yet" if not self._whole else "are in the video"
            raise MissingError(f"there is no frame {frame}: {self.frames} frames {what}")
        asked = self.media.ask(Still(self.id, frame, width))
        try:
            found: bytes = await asyncio.wait_for(asked, STILL_SECONDS)
        except asyncio.TimeoutError:
            self.media.kill()
            raise MissingError(f"frame {frame} takes too long to decode: it is left out") from None
        return found

    async def reopen(self, media: Child) -> None:
        """Use another process for frames: the earlier one has ended."""
        self.media = media
        table = await media.ask(OpenVideo(self.id, str(self.video_path)))
        if table.whole:
            self.hear_table(table)

    # --- the state ---------------------------------------------------------------------------

    def json(self) -> dict[str, Any]:
        """All but jobs, tracker and formats, which the workspace adds."""
        project = self.project
        return {
            "id": self.id,
            "name": self.video_path.name,
            "rev": project.rev,
            "epoch": self.events.epoch,
            "event": self.events.newest,
            "read_only": self.folder.read_only,
            "trouble": self.folder.trouble,
            "video": self.video_json(),
            "table": self.table_json(),
            "recipe": self.folder.header["recipe"],
            "objects": project.objects_json(),
            "cuts": sorted(project.cuts),
            "undo": project.can_undo,
            "redo": project.can_redo,
        }

    def masks(self, frame: int) -> bytes:
        """All objects of a frame."""
        results = ((i, self.project.shown(i, frame)) for i in sorted(self.project.objects))
        return pack_masks((i, r.score, r.runs) for i, r in results if r is not None)

    def check_frame(self, frame: int) -> None:
        """Raises MissingError for a frame that is not known."""
        if frame >= self.frames:
            raise MissingError(f"there is no frame {frame}: {self.frames} frames are known")

    def edit(self, op: str, rev: int, values: Mapping[str, Any]) -> dict[str, Any]:
        """Make an edit and tell the page. Raises as `Project.edit`."""
        if values.get("type") == "mask":
            raise InputError("a drawn mask is sent to masks/FRAME, as its runs")
        for key in ("frame", "to"):
            if type(values.get(key)) is int:
                self.check_frame(values[key])
        return self._told("edit", self.project.edit(op, rev, values))

    def draw(self, op: str, rev: int, edit: DrawMask, runs: bytes) -> dict[str, Any]:
        """Replace a mask by a drawn one. Raises as `Project.draw`, and InputError."""
        self.check_frame(edit.frame)
        mask = decode_runs(runs, self.project.size)
        area = int(mask.sum())
        found = Result(edit.object_id, edit.frame, 0, 1.0, 1.0, area, box_of(mask), 0, runs)
        reply = self._told("edit", self.project.draw(op, rev, edit, found))
        self.tell_frame(found)
        return reply

    def step(self, kind: str, op: str, rev: int) -> dict[str, Any]:
        """Undo or redo. Raises as `Project.undo`."""
        move = self.project.undo if kind == "undo" else self.project.redo
        return self._told(kind, move(op, rev))

    def _told(self, kind: str, reply: dict[str, Any]) -> dict[str, Any]:
        self.events.publish("edit", {**reply, "kind": kind})
        return reply

    # --- results -----------------------------------------------------------------------------

    def take(self, results: list[Result]) -> None:
        """Keep results and tell the page. Raises OSError if the disk is full."""
        cuts = set(self.project.cuts)
        self.project.take(results)
        new = sorted(self.project.cuts - cuts)
        for n, result in enumerate(results):
            self.tell_frame(result, new[0] if new and n == 0 else None)
        if self.project.store.unsealed > SEAL_AFTER and self._sealing is None:
            self._sealing = asyncio.create_task(self._seal())

    def tell_frame(self, result: Result, cut: int | None = None) -> None:
        """Tell the page that a frame has a new mask."""
        if result.object_id not in self.project.objects:
            return
        _, row = result_json(self.project, result)
        queried = bool(result.flags & QUERIED)
        data = {"i": result.frame, "objects": [row], "cut": cut, "trigger": queried}
        self.events.publish("frame", data)

    def tell_states(self) -> None:
        """Tell the page the states of all frames."""
        rows = [
            {"id": i, "states": states_json(each.states)}
            for i, each in sorted(self.project.objects.items())
        ]
        self.events.publish("states", {"objects": rows})

    def tell_error(
        self, error: str, object_id: int | None = None, frame: int | None = None
    ) -> None:
        """Show a sentence on the page."""
        self.events.publish("error", {"error": error, "object": object_id, "frame": frame})

    async def _seal(self) -> None:
        work = self.project.store.seal()
        try:
            if work is not None:
                await asyncio.to_thread(work)
                self.project.store.sealed()
        except OSError as error:
            self.tell_error(f"nothing can be written ({error.strerror}): free some space")
        finally:
            self._sealing = None

    async def settled(self) -> None:
        """Wait until no file is moved."""
        if self._sealing is not None:
            await self._sealing

    async def close(self) -> None:
        """Write everything, and let others open it."""
        await self.settled()
        if self.media.is_alive:
            self.media.tell(CloseVideo(self.id))
        self.events.close()
        self.project.close()


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 around the pixels of a mask; zeros for an empty one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
