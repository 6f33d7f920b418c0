"""Exports: a project becomes a folder as `track` writes it, by the same writers.

So whatever reads such a folder works on exports too. A further format is a function of that folder
and an entry in `FORMATS`.
"""

import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segment_concept.runtime.files import write_json
from segment_concept.runtime.json_files import read_json
from segment_concept.types import Frame, InputError
from segment_concept.video.source import VideoInfo, VideoSource
from segment_concept.web.opened import MissingError, OpenProject
from segment_concept.web.runs import decode_runs
from segment_concept.web.spans import NEVER, Fixed
from segment_concept.web.store import QUERIED, Result, ResultStore
from segment_concept.web.wire import JobBody
from segment_concept.web.work import ExportRun

if TYPE_CHECKING:  # it loads torch
    from segment_concept.pipeline.journal import FrameRecord

EXPORTS = "exports"
STATE = "export.json"
_WAIT = 0.05  # seconds between two looks at a writer


@dataclass(frozen=True, slots=True)
class Format:
    """What the page shows of a format."""

    label: str
    group: str


FORMATS: Mapping[str, Format] = {  # by the names of `pipeline.outputs.OutputFormat`
    "overlay": Format("Video with the masks drawn on it (MP4, with sound)", "Video"),
    "matte": Format("Matte: all objects white on black (MP4)", "Video"),
    "palette": Format("Images with object numbers as colors (PNG, DAVIS)", "Images"),
    "objects": Format("Images of each object alone (PNG, SA-V)", "Images"),
    "matte-png": Format("Matte as images (PNG)", "Images"),
    "rle": Format("Run-length masks with times (JSON, COCO)", "Data"),
    "explain": Format("Timeline with scores, cuts and keyframes (HTML)", "Data"),
}


def formats_json() -> list[dict[str, str]]:
    """All formats for the page."""
    return [{"name": n, "label": f.label, "group": f.group} for n, f in FORMATS.items()]


@dataclass(slots=True)
class Export:
    """Outputs that are written, or were."""

    id: str
    folder: Path
    formats: tuple[str, ...]
    job_id: str = ""
    state: str = "queued"
    error: str | None = None

    @classmethod
    def new(cls, project: Path, job_id: str, formats: tuple[str, ...]) -> "Export":
        """An export into the next free folder. Raises InputError for an unknown format."""
        for name in formats:
            if name not in FORMATS:
                raise InputError(f"there is no format {name[:40]!r}: expected {', '.join(FORMATS)}")
        taken = [int(p.name[1:]) for p in (project / EXPORTS).glob("e*") if p.name[1:].isdecimal()]
        id_ = f"e{max(taken, default=0) + 1}"
        folder = project / EXPORTS / id_
        folder.mkdir(parents=True)
        return cls(id_, folder, formats, job_id)

    @classmethod
    def earlier(cls, project: Path, known: set[str]) -> list["Export"]:
        """Exports of earlier servers that came to their end."""
        found = []
        for path in sorted((project / EXPORTS).glob(f"e*/{STATE}")):
            with suppress(InputError, KeyError, TypeError):
                id_ = path.parent.name
                formats = tuple(str(name) for name in read_json(path)["formats"])
                if id_ not in known:
                    found.append(cls(id_, path.parent, formats, state="done"))
        return found

    def json(self) -> dict[str, Any]:
        """For the page."""
        return {
            "id": self.id,
            "formats": list(self.formats),
            "state": self.state,
            "error": self.error,
            "folder": str(self.folder),
            "files": list(self._files()) if self.state == "done" else [],
        }

    def file(self, name: str) -> Path:
        """A file of it by name. Raises MissingError for whatever is not listed."""
        if name not in {row["name"] for row in self._files() if not row.get("folder")}:
            raise MissingError("there is no such file in this export")
        return self.folder / name

    def _files(self) -> Iterator[dict[str, Any]]:
        for entry in sorted(self.folder.iterdir()):
            if entry.name.startswith(".") or entry.name == STATE or entry.is_symlink():
                continue
            if entry.is_dir():
                count = sum(path.is_file() for path in entry.rglob("*"))
                yield {"name": entry.name, "folder": True, "count": count}
            else:
                yield {"name": entry.name, "size": entry.stat().st_size}


def order_of(project: OpenProject, export: Export, body: JobBody, number: int) -> ExportRun:
    """What the process is to write: for every object the results that the page shows."""
    last = project.frames - 1 if body.last is None else min(body.last, project.frames - 1)
    tags = {
        i: list(_shown_tags(project, i, body.first, last))
        for i in sorted(project.project.objects)
        if body.objects is None or i in body.objects
    }
    return ExportRun(
        project.id,
        number,
        str(project.folder.path),
        str(export.folder),
        export.formats,
        tags,
        tuple(sorted(project.project.cuts)),
        str(project.folder.header["recipe"]),
    )


def _shown_tags(
    project: OpenProject, object_id: int, first: int, last: int
) -> Iterator[tuple[int, int, int]]:
    """(first, last, tag) of stretches; the tag `NEVER` is for an object that is not there."""
    states = project.project.objects[object_id].states
    tags = states.tag[first : last + 1].copy()
    known = tags != NEVER
    denied = states.fixed[first : last + 1] == Fixed.DENIED
    tags[denied], known[denied] = NEVER, True
    edges = np.flatnonzero((np.diff(tags) != 0) | (np.diff(known.astype(np.int8)) != 0)) + 1
    starts = [0, *edges.tolist()] if len(tags) else []
    for a, b in zip(starts, [*edges.tolist(), len(tags)], strict=False):
        if known[a]:
            yield first + a, first + b - 1, int(tags[a])


@dataclass(slots=True, eq=False)
class _Counted:
    """A video that counts the frames that are read, and can be stopped."""

    source: VideoSource
    count: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def info(self) -> VideoInfo:
        return self.source.info

    def frames(self, start: int = 0) -> Iterator[Frame]:
        for frame in self.source.frames(start):
            if self.stopped.is_set():
                raise InputError("the export was stopped")
            self.count += 1
            yield frame

    def backwards(self, start: int) -> Iterator[Frame]:
        return self.source.backwards(start)

    def index_at(self, seconds: float) -> int:
        return self.source.index_at(seconds)

    def frame_name(self, index: int) -> str:
        return self.source.frame_name(index)


def write_export(order: ExportRun, source: VideoSource) -> Iterator[tuple[int, int]]:
    """Write the folder; yields (frames done, frames to do) often. Runs where torch is loaded.

    Raises:
        SegmentConceptError, OSError: it cannot be written.
    """
    from segment_concept.pipeline.export import export_outputs
    from segment_concept.pipeline.outputs import OutputFormat

    out = Path(order.folder)
    frames = yield from _write_run(order, source, out)
    save = frozenset(OutputFormat(name) for name in order.formats)
    counted = _Counted(source)
    errors: list[BaseException] = []

    def write() -> None:
        try:
            export_outputs(out, save, counted)
        except BaseException as error:  # raised again below, in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_WAIT)
            yield frames + counted.count, 2 * frames
    finally:
        counted.stopped.set()
        thread.join()
    if errors:
        raise errors[0]
    write_json(out / STATE, {"formats": list(order.formats)})


def _write_run(
    order: ExportRun, source: VideoSource, out: Path
) -> Generator[tuple[int, int], None, int]:
    """The journal and the result of a run, as `track` would have left them; returns its length."""
    from segment_concept.pipeline.checkpoint import FORMAT
    from segment_concept.pipeline.journal import JOURNAL, Journal, JournalIndex
    from segment_concept.pipeline.results import digest, request_video, write_result
    from segment_concept.pipeline.run_folder import RESULT
    from segment_concept.pipeline.run_folder import STATE as RESUME

    store = ResultStore(Path(order.project), read_only=True)
    rows = [row for each in order.tags.values() for row in each]
    if not rows:
        raise InputError("there is nothing to export: track an object first")
    first, last = min(a for a, _, _ in rows), max(b for _, b, _ in rows)
    (out / RESUME).mkdir(parents=True, exist_ok=True)
    journal = Journal(out / RESUME / JOURNAL)
    size, seconds = source.info.size, _seconds(source)
    count = 0
    for frame in range(first, last + 1):
        results = _results_on(order, store, frame)
        if results:
            name, at = source.frame_name(frame), seconds(frame)
            journal.append(_record(frame, name, at, size, results, order.cuts))
            count += 1
            yield frame - first, 2 * (last - first + 1)
    journal.sync()
    journal.close()
    request = {
        "format": FORMAT,
        "video": request_video(source),
        "prompts": [],
        "direction": "both",
        "offline": False,
        "outputs": [],
        "recipe": {"name": order.recipe},
        "weights": None,
    }
    index = JournalIndex(out / RESUME / JOURNAL)
    header = {"finished": True, "request": request, "video_incomplete": source.info.incomplete}
    write_result(out / RESULT, index, header, digest(index))
    return count


def _seconds(source: VideoSource) -> Any:
    table = getattr(source, "seconds", None)
    rate = float(source.info.rate)
    return lambda frame: float(table[frame]) if table is not None else frame / rate


def _results_on(order: ExportRun, store: ResultStore, frame: int) -> dict[int, Result | None]:
    """By object; None for one that is not there."""
    found: dict[int, Result | None] = {}
    for i, stretches in order.tags.items():
        tag = next((t for a, b, t in stretches if a <= frame <= b), None)
        if tag is None:
            continue
        result = None if tag == NEVER else store.get(i, frame, tag)
        if result is not None or tag == NEVER:
            found[i] = result
    return found


def _record(
    frame: int,
    name: str,
    seconds: float,
    size: tuple[int, int],
    results: Mapping[int, Result | None],
    cuts: tuple[int, ...],
) -> "FrameRecord":
    from segment_concept.ops.rle import encode_rle
    from segment_concept.pipeline.journal import FrameRecord, ObjectRecord

    objects = []
    for i, result in results.items():
        mask = np.zeros(size, np.bool_) if result is None else decode_runs(result.runs, size)
        presence, quality = (0.0, 0.0) if result is None else (result.presence, result.score)
        keyframes = () if result is None else result.keyframes
        area = 0 if result is None else result.area
        objects.append(ObjectRecord(i, presence, quality, area, encode_rle(mask), keyframes))
    known = [r for r in results.values() if r is not None]
    changes = [r.scene_change for r in known if r.scene_change is not None]
    return FrameRecord(
        frame=frame,
        name=name,
        seconds=seconds,
        size=size,
        concept_queried=any(r.flags & QUERIED for r in known),
        scene_change=changes[0] if changes else None,
        objects=tuple(objects),
        cut=frame in cuts,
    )
