"""Jobs of the server: what to track for them, in which order, and what becomes of the results."""

import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segment_concept.runtime.files import write_json
from segment_concept.runtime.json_files import read_json
from segment_concept.types import InputError
from segment_concept.web.opened import OpenProject
from segment_concept.web.project import Project
from segment_concept.web.runs import decode_runs
from segment_concept.web.snapshots import best_snapshot, prune_snapshots
from segment_concept.web.spans import Fixed, FrameState, ObjectStates, Span
from segment_concept.web.store import Result
from segment_concept.web.wire import JobBody
from segment_concept.web.work import Anchor, SpanOrder

log = logging.getLogger(__name__)

JOBS = "jobs.json"
SNAPSHOTS = "snapshots"
MOST_WAITING = 8  # jobs
MOST_ANCHORS = 4  # prompted frames that a session begins with: the first and the nearest ones
SAME_IOU = 0.995  # of a new mask and the one before, see `EarlyStop`
SAME_FRAMES = 24
LEAST_AFTER_CUT = 12  # frames


@dataclass(slots=True)
class Job:
    """What a person asked for. It is tracked span by span, newly planned after every edit."""

    id: str
    project: OpenProject
    body: JobBody
    kind: str = "track"
    state: str = "queued"
    error: str | None = None
    done: int = 0
    total: int = 0
    frame: int | None = None
    began: float | None = None
    is_stopping: bool = False
    again_left: bool = False  # `again` holds for the first plan only

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state in ("done", "stopped", "failed")

    @property
    def fps(self) -> float | None:
        """Frames a second since it began."""
        seconds = time.monotonic() - self.began if self.began else 0.0
        return self.done / seconds if seconds > 0 and self.done else None

    def json(self) -> dict[str, Any]:
        """For the page."""
        rate = self.fps
        return {
            "id": self.id,
            "kind": self.kind,
            "state": "running" if self.is_stopping and not self.is_over else self.state,
            "done": self.done,
            "total": max(self.total, self.done),
            "fps": None if rate is None else round(rate, 2),
            "eta": None if not rate else round(max(0, self.total - self.done) / rate, 1),
            "error": self.error,
            "frame": self.frame,
            "direction": self.body.direction,
            "from": self.body.first,
            "to": self.body.last,
            "objects": self.body.objects,
        }


class EarlyStop:
    """Notices that a correction has no effect any more: the masks are those of before.

    A span is given up when so many masks in a row are the same as before, no known cut lies
    ahead in it, and the frames ahead have masks.
    """

    def __init__(self, orders: tuple[SpanOrder, ...]) -> None:
        self._same: dict[int, int] = defaultdict(int)
        self._last_cut: dict[int, int] = {}
        self._orders = orders

    def is_over(self, number: int, new: Result, old: Result | None, project: Project) -> bool:
        """Take a result of order `number`; True once the rest of its span need not be tracked."""
        span = self._orders[number].span
        same = old is not None and masks_iou(old.runs, new.runs, project.size) >= SAME_IOU
        self._same[number] = self._same[number] + 1 if same else 0
        if new.frame in project.cuts:
            self._last_cut[number] = new.frame
        rest = range(new.frame + 1, span.last + 1)
        if span.backwards or self._same[number] < SAME_FRAMES or not len(rest):
            return False
        if new.frame - self._last_cut.get(number, -LEAST_AFTER_CUT) < LEAST_AFTER_CUT:
            return False
        if any(frame in project.cuts for frame in rest):
            return False
        base = project.objects[span.object_id].states.base[rest.start : rest.stop]
        return len(base) == len(rest) and bool((base == FrameState.STALE).all())


def masks_iou(first: bytes, second: bytes, size: tuple[int, int]) -> float:
    """Intersection over union of two masks given by their runs; 1 for two empty ones."""
    if first == second:
        return 1.0
    a, b = decode_runs(first, size), decode_runs(second, size)
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


class Plan:
    """The orders of a job for the present state of its project."""

    def __init__(self, project: OpenProject, body: JobBody, *, again: bool) -> None:
        self.tag = project.project.head
        self._project = project.project
        self._folder = project.folder.path / SNAPSHOTS
        last = project.frames - 1 if body.last is None else min(body.last, project.frames - 1)
        first = min(body.first, last)
        spans: list[Span] = []
        if body.direction == "backward":
            first, last = (0 if body.last is None else min(body.last, body.first)), body.first
            last = min(last, project.frames - 1)
        elif body.direction == "both":
            first = 0
        for i, found in sorted(self._project.objects.items()):
            if body.objects is None or i in body.objects:
                spans += found.states.spans(i, first, last, body.direction, again=again)
        orders = (self._order(span, again=again) for span in spans)
        self.orders = tuple(order for order in orders if order is not None)
        self.frames = sum(len(order.span) for order in self.orders)

    def _order(self, span: Span, *, again: bool) -> SpanOrder | None:
        states = self._project.objects[span.object_id].states
        anchors = self._anchors(states, span)
        if not anchors:
            return None
        snapshot = None
        if not again:
            snapshot = best_snapshot(self._folder, states, span, anchors[-1].frame)
        confirmed = [self._best(states, span.object_id, run) for run in self._confirmed(states)]
        return SpanOrder(
            span,
            tuple(anchors),
            None if snapshot is None else str(snapshot[0]),
            0 if snapshot is None else snapshot[1],
            tuple(self._left_out(states)),
            tuple(anchor for anchor in confirmed if anchor is not None),
        )

    def _anchors(self, states: ObjectStates, span: Span) -> list[Anchor]:
        """The first anchor and the nearest ones before a span, in playing order.

        Of a stretch of kept frames only the one nearest to the span: the others are much alike.
        """
        flags = states.anchors
        found = np.flatnonzero(flags)
        if span.backwards:
            found = found[found > span.first][::-1]
            ends = [f for f in found.tolist() if f == 0 or not flags[f - 1] or not states.kept[f]]
        else:
            found = found[found < span.first]
            last = len(flags) - 1
            ends = [
                f for f in found.tolist() if f == last or not flags[f + 1] or not states.kept[f]
            ]
        if len(found) and (not ends or ends[-1] != found[-1]):
            ends.append(int(found[-1]))
        chosen = ends[:1] + ends[1:][-(MOST_ANCHORS - 1) :]
        results = (self._project.shown(span.object_id, frame) for frame in chosen)
        return [Anchor(r.frame, r.runs) for r in results if r is not None and r.area]

    def _left_out(self, states: ObjectStates) -> list[tuple[int, int]]:
        return states.fixed_runs(Fixed.DENIED)

    def _confirmed(self, states: ObjectStates) -> list[tuple[int, int]]:
        return states.fixed_runs(Fixed.CONFIRMED)

    def _best(self, states: ObjectStates, object_id: int, run: tuple[int, int]) -> Anchor | None:
        """The frame of a confirmed shot with the highest score."""
        best: Result | None = None
        step = max(1, (run[1] - run[0] + 1) // 16)
        for frame in range(run[0], run[1] + 1, step):
            result = self._project.shown(object_id, frame)
            better = best is None or (result is not None and result.score > best.score)
            if result is not None and result.area and better:
                best = result
        return None if best is None else Anchor(best.frame, best.runs)


@dataclass(slots=True)
class JobList:
    """The jobs of all projects, in their order."""

    jobs: list[Job] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def add(self, project: OpenProject, body: JobBody, kind: str = "track") -> Job:
        """A new job. Raises InputError if too many wait."""
        if sum(not job.is_over for job in self.jobs) > MOST_WAITING:
            raise InputError(f"{MOST_WAITING} jobs wait already: stop one, or wait")
        job = Job(f"j{next(self._numbers)}", project, body, kind, again_left=body.again)
        self.jobs.append(job)
        self.jobs = [j for j in self.jobs if not j.is_over or j.project is project][-64:]
        return job

    def of(self, project: OpenProject) -> list[Job]:
        """Jobs of a project that are not over."""
        return [job for job in self.jobs if job.project is project and not job.is_over]

    def next(self, can_run: Callable[[Job], bool]) -> Job | None:
        """The running job, or the first one that can run."""
        running = [job for job in self.jobs if job.state == "running"]
        waiting = [job for job in self.jobs if job.state == "queued" and can_run(job)]
        return next(iter(running + waiting), None)

    def find(self, project: OpenProject, id_: str) -> Job | None:
        """A job of a project by its id."""
        return next((j for j in self.jobs if j.id == id_ and j.project is project), None)


def store_jobs(project: OpenProject, jobs: list[Job]) -> None:
    """Keep what is to be done, for the next server. Raises OSError."""
    rows = [job.body.model_dump(by_alias=True) for job in jobs if job.kind == "track"]
    write_json(project.folder.path / JOBS, {"jobs": rows})


def stored_jobs(folder: Path) -> list[JobBody]:
    """What an earlier server has left to do."""
    if not (folder / JOBS).exists():
        return []
    with suppress(InputError, ValueError, TypeError, KeyError):
        return [JobBody.model_validate(row) for row in read_json(folder / JOBS)["jobs"]]
    log.warning("%s is damaged: its jobs are forgotten", folder / JOBS)
    return []


def forget_snapshots(project: OpenProject) -> None:
    """Remove states of tracking that are too many."""
    with suppress(OSError):
        prune_snapshots(project.folder.path / SNAPSHOTS)
