"""Gives work to the process that tracks, and results to the projects. Lives in the event loop."""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from segment_concept.types import InputError
from segment_concept.video.source import VideoSource
from segment_concept.web.children import Child, ChildError, RemoteError
from segment_concept.web.edits import PromptObject
from segment_concept.web.exports import Export, order_of
from segment_concept.web.jobs import (
    EarlyStop,
    Job,
    JobList,
    Plan,
    forget_snapshots,
    store_jobs,
    stored_jobs,
)
from segment_concept.web.opened import MissingError, OpenProject
from segment_concept.web.project import Unsolved
from segment_concept.web.replies import BusyError, NotReadyError
from segment_concept.web.runs import pack_masks
from segment_concept.web.store import Result
from segment_concept.web.wire import JobBody
from segment_concept.web.work import (
    Footing,
    Forget,
    Found,
    Look,
    Preview,
    Progress,
    Run,
    RunEnded,
    Solve,
    StopRun,
    TrackerState,
    serve_work,
)

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.25  # between two events of progress
_STARTING = "the tracker is loading: try again in a moment"


@dataclass(slots=True, eq=False)
class _Running:
    """The run that the process is busy with."""

    job: Job
    number: int
    tag: int
    orders: tuple[Any, ...]
    early: EarlyStop
    is_outdated: bool = False  # an edit was made: plan anew
    told: float = 0.0  # when the last progress was sent
    before: int = 0  # frames that the job had done


@dataclass(slots=True)
class _Sent:
    """What the process knows of a project."""

    source: VideoSource | None = None
    solving: set[int] = field(default_factory=set)  # tags
    refused: set[int] = field(default_factory=set)  # tags of prompts that the tracker refuses


class Dispatcher:
    """Runs one job at a time, the masks of prompts as they come, and the newest preview."""

    def __init__(
        self,
        recipe: str,
        device: str,
        *,
        early_stop: bool = True,
        new_child: Callable[..., Child] = Child,
    ) -> None:
        self.state = TrackerState("starting")
        self._recipe, self._device, self._early_stop = recipe, device, early_stop
        self._new_child = new_child
        self._child: Child | None = None
        self._projects: dict[str, tuple[OpenProject, _Sent]] = {}
        self._jobs = JobList()
        self._running: _Running | None = None
        self._numbers = itertools.count(1)
        self._preview = 0  # number of the newest
        self._previewing = asyncio.Lock()
        self._exports: dict[str, list[Export]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether something is tracked or written."""
        return self._running is not None

    # --- projects ----------------------------------------------------------------------------

    def opened(self, project: OpenProject) -> None:
        """A project was opened: go on where an earlier server has stopped."""
        self._projects[project.id] = (project, _Sent())
        self._start()
        if project.folder.read_only is None and project.folder.trouble is None:
            for body in stored_jobs(project.folder.path):
                self._jobs.add(project, body)
        self._give_source(project)
        self.edited(project)

    def knows_frames(self, project: OpenProject, source: VideoSource) -> None:
        """More frames of a video are known."""
        project.source = source
        if project.id in self._projects:
            self._give_source(project)
            self.edited(project)

    async def closed(self, project: OpenProject) -> None:
        """Stop what is done for a project; its jobs go on when it is opened again."""
        self._projects.pop(project.id, None)
        if self._running is not None and self._running.job.project is project:
            if self._child is not None and self._child.is_alive:
                self._child.tell(StopRun(self._running.number))
            for _ in range(100):
                if self._running is None or self._running.job.project is not project:
                    break
                await asyncio.sleep(0.05)
        self._jobs.jobs = [job for job in self._jobs.jobs if job.project is not project]
        if self._child is not None and self._child.is_alive:
            self._child.tell(Forget(project.id))

    async def stop(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.kill() if self._running else await self._child.close()

    def jobs_json(self, project: OpenProject) -> list[dict[str, Any]]:
        """Jobs of a project that are not over."""
        return [job.json() for job in self._jobs.of(project)]

    # --- prompts -----------------------------------------------------------------------------

    def look(self, project: OpenProject, frame: int) -> None:
        """Compute the features of a frame in idle time."""
        if self._child is not None and self._child.is_alive:
            self._child.tell(Look(project.id, frame))

    async def preview(
        self, project: OpenProject, asked: PromptObject, is_gone: Callable[[], Awaitable[bool]]
    ) -> bytes:
        """The mask of a prompt that is not an edit yet, for the page.

        Raises:
            BusyError: a newer one was asked for meanwhile, or nobody waits for it any more.
            NotReadyError: the tracker is not there.
            RemoteError: the tracker refuses the prompt.
        """
        child = self._ready()
        source = self._projects[project.id][1].source
        if source is None or asked.frame >= (source.info.frames or 0):
            raise NotReadyError("the video is still being looked at: try again in a moment")
        self._preview += 1
        number = self._preview
        async with self._previewing:  # one at a time; of those that wait only the newest
            if number != self._preview or await is_gone():
                raise BusyError("a newer preview was asked for")
            before = None
            if asked.object_id in project.project.objects:
                before = self._corrected(project, asked)
            message = Preview(project.id, asked.frame, asked.prompt, before)
            score, runs = await child.ask(message)
        return pack_masks([(asked.object_id, score, runs)])

    def edited(self, project: OpenProject) -> None:
        """The state of a project has changed: solve its prompts, and plan its jobs anew."""
        if project.id not in self._projects:
            return
        running = self._running
        if running is not None and running.job.project is project:
            self._outdate(running)
        self._solve(project)
        self._pump()

    def _outdate(self, running: _Running) -> None:
        """End a run whose plan was made before an edit; its job is planned anew."""
        is_new = running.tag == running.job.project.project.head
        if is_new or running.is_outdated or running.job.kind != "track":
            return
        running.is_outdated = True
        self._tell(StopRun(running.number))

    def _corrected(self, project: OpenProject, asked: PromptObject) -> bytes | None:
        """Runs of the mask that clicks correct."""
        found = project.project.objects[asked.object_id]
        before = found.prompts.get(asked.frame, (None, 0))[0]
        if isinstance(before, PromptObject):
            result = project.project.corrected(asked.object_id, asked.frame)
        else:
            result = project.project.shown(asked.object_id, asked.frame)
        return result.runs if result is not None and result.area else None

    def _solve(self, project: OpenProject) -> None:
        sent = self._projects[project.id][1]
        if sent.source is None or self.state.state != "ready" or self._child is None:
            return
        if project.folder.read_only is not None:
            return
        for unsolved in project.project.unsolved():
            is_known = unsolved.edit.frame < (sent.source.info.frames or 0)
            if is_known and unsolved.tag not in sent.solving | sent.refused:
                sent.solving.add(unsolved.tag)
                self._do(self._solved(project, sent, unsolved, self._child))

    async def _solved(
        self, project: OpenProject, sent: _Sent, unsolved: Unsolved, child: Child
    ) -> None:
        edit, before = unsolved.edit, unsolved.before
        i, frame = edit.object_id, edit.frame
        message = Solve(
            project.id, i, frame, unsolved.tag, edit.prompt, before.runs if before else None
        )
        try:
            result = await child.ask(message)
            project.take([result])
        except RemoteError as error:
            sent.refused.add(unsolved.tag)
            project.tell_error(str(error), i, frame)
        except ChildError as error:
            log.warning("%s", error)
        except OSError as error:
            sent.refused.add(unsolved.tag)
            project.tell_error(_disk(error), i, frame)
        finally:
            sent.solving.discard(unsolved.tag)
        if project.id in self._projects:
            self._pump()

    # --- jobs --------------------------------------------------------------------------------

    def track(self, project: OpenProject, body: JobBody) -> dict[str, Any]:
        """Begin a job, and return it for the page.

        Raises:
            ReadOnlyError: nothing may be changed.
            InputError: there is nothing to track, or too many jobs wait.
        """
        project.project.check_writable()
        if not project.project.objects:
            raise InputError("there is nothing to track: show an object first, by a click or a box")
        job = self._jobs.add(project, body)
        self._keep(project)
        project.events.publish("job", job.json())
        self._start()
        self._pump()
        return job.json()

    def stop_job(self, project: OpenProject, id_: str) -> dict[str, Any]:
        """End a job; its frames are kept. Raises MissingError."""
        job = self._jobs.find(project, id_)
        if job is None:
            raise MissingError("there is no such job")
        if job.state == "queued":
            self._end(job, "stopped")
        elif job.state == "running":
            job.is_stopping = True
            if self._child is not None and self._running is not None:
                self._child.tell(StopRun(self._running.number))
        return job.json()

    def export(self, project: OpenProject, formats: list[str], body: JobBody) -> dict[str, Any]:
        """Write outputs. Raises InputError, and ReadOnlyError for a project of another server."""
        if project.folder.read_only is not None:
            project.project.check_writable()
        job = self._jobs.add(project, body, "export")
        job.state = "queued"
        found = Export.new(project.folder.path, job.id, tuple(formats))
        self._exports.setdefault(project.id, []).append(found)
        job.total = max(1, project.frames)
        project.events.publish("job", job.json())
        self._start()
        self._pump()
        return {"id": found.id, "job": job.json()}

    def exports(self, project: OpenProject) -> list[Export]:
        """Exports of this and of earlier servers."""
        known = self._exports.setdefault(project.id, [])
        return Export.earlier(project.folder.path, {e.id for e in known}) + known

    def find_export(self, project: OpenProject, id_: str) -> Export:
        """Raises MissingError."""
        found = next((e for e in self.exports(project) if e.id == id_), None)
        if found is None:
            raise MissingError("there is no such export")
        return found

    def _pump(self) -> None:
        """Begin the next run, if the process is idle."""
        if self._running is not None or self._child is None or self.state.state != "ready":
            return
        job = self._jobs.next(self._can_run)
        if job is None or not self._can_run(job):
            return
        if job.is_stopping:
            self._end(job, "stopped")
            self._pump()
            return
        if job.state == "queued":
            job.state, job.began = "running", time.monotonic()
        if job.kind == "export":
            self._begin_export(job)
        else:
            self._begin(job)

    def _can_run(self, job: Job) -> bool:
        if job.project.id not in self._projects or not job.project.is_whole:
            return False
        sent = self._projects[job.project.id][1]
        if sent.source is None:
            return False
        waiting = {u.tag for u in job.project.project.unsolved()} - sent.refused
        return job.kind == "export" or not waiting

    def _begin(self, job: Job) -> None:
        project = job.project
        if project.folder.trouble is not None:
            self._end(job, "failed", project.folder.trouble)
            self._pump()
            return
        plan = Plan(project, job.body, again=job.again_left)
        job.again_left = False
        if not plan.orders:
            self._end(job, "done")
            self._pump()
            return
        forget_snapshots(project)
        number = next(self._numbers)
        job.total = job.done + plan.frames
        self._running = _Running(
            job, number, plan.tag, plan.orders, EarlyStop(plan.orders), before=job.done
        )
        folder = str(project.folder.path / "snapshots")
        self._tell(Run(project.id, number, plan.tag, plan.orders, folder))
        project.events.publish("job", job.json())

    def _begin_export(self, job: Job) -> None:
        project = job.project
        found = next(e for e in self._exports[project.id] if e.job_id == job.id)
        number = next(self._numbers)
        self._running = _Running(job, number, 0, (), EarlyStop(()))
        found.state = "running"
        project.events.publish("job", job.json())
        self._do(self._send_export(job, found, number))

    async def _send_export(self, job: Job, found: Export, number: int) -> None:
        await job.project.settled()  # files that are moved would not be read
        if self._running is not None and self._running.number == number:
            self._tell(order_of(job.project, found, job.body, number))

    # --- what the process says ---------------------------------------------------------------

    def _hear(self, message: Any) -> None:
        if isinstance(message, TrackerState):
            self._set_state(message)
        elif isinstance(message, Found):
            self._found(message)
        elif isinstance(message, Progress):
            self._progressed(message)
        elif isinstance(message, RunEnded):
            self._ended(message)

    def _ended(self, message: RunEnded) -> None:
        if self._running is not None and self._running.number == message.number:
            self._over(message.error)

    def _found(self, message: Found) -> None:
        running = self._running
        if running is None or running.number != message.number:
            return
        project = running.job.project
        olds = [(n, r, self._old(project, r)) for n, r in message.results]
        try:
            project.take([result for _, result in message.results])
        except OSError as error:
            running.job.error = _disk(error)
            running.job.is_stopping = True
            self._tell(StopRun(running.number))
            return
        running.job.done += len(message.results)
        for number, new, old in olds:
            running.job.frame = new.frame
            if self._early_stop and new.object_id in project.project.objects:
                self._stop_early(running, number, new, old)
        self._tell_progress(running)

    def _old(self, project: OpenProject, new: Result) -> Result | None:
        if not self._early_stop or new.object_id not in project.project.objects:
            return None
        return project.project.shown(new.object_id, new.frame)

    def _stop_early(self, running: _Running, number: int, new: Result, old: Result | None) -> None:
        if running.is_outdated or not running.early.is_over(
            number, new, old, running.job.project.project
        ):
            return
        span = running.orders[number].span
        self._tell(StopRun(running.number, number))
        with suppress(OSError):
            project = running.job.project.project
            project.keep_rest(span.object_id, new.frame + 1, span.last, running.tag)
            running.job.total -= span.last - new.frame

    def _progressed(self, message: Progress) -> None:
        running = self._running
        if running is not None and running.number == message.number:
            running.job.done, running.job.total = message.done, message.total
            self._tell_progress(running)

    def _tell_progress(self, running: _Running) -> None:
        now = time.monotonic()
        if now - running.told < PROGRESS_SECONDS:
            return
        running.told = now
        facts = running.job.json()
        names = ("done", "total", "fps", "eta", "frame")
        data = {"job": running.job.id} | {name: facts[name] for name in names}
        running.job.project.events.publish("progress", data)

    def _over(self, error: str | None) -> None:
        """The run has ended: the job is over, or goes on with the present state."""
        running, self._running = self._running, None
        assert running is not None
        job = running.job
        error = job.error or error
        if job.kind == "export":
            self._export_over(job, error)
        elif error is not None:
            self._end(job, "failed", error)
        elif job.is_stopping:
            self._end(job, "stopped")
        elif not running.is_outdated and job.done == running.before:
            self._end(job, "done")  # the frames that are left cannot be read
        self._pump()

    def _export_over(self, job: Job, error: str | None) -> None:
        found = next(e for e in self._exports[job.project.id] if e.job_id == job.id)
        state = "failed" if error else "stopped" if job.is_stopping else "done"
        found.state, found.error = state, error
        self._end(job, state, error)
        job.project.events.publish("export", found.json())

    def _end(self, job: Job, state: str, error: str | None = None) -> None:
        job.state, job.error = state, error
        project = job.project
        if project.id in self._projects:
            self._keep(project)
            project.tell_states()
            project.events.publish("job", job.json())

    def _keep(self, project: OpenProject) -> None:
        with suppress(OSError):
            store_jobs(project, self._jobs.of(project))

    # --- the process -------------------------------------------------------------------------

    def _start(self) -> None:
        if self._child is not None and self._child.is_alive:
            return
        self.state = TrackerState("starting")
        args = (self._recipe, self._device)
        name = "segment-concept-tracker"
        self._child = self._new_child(serve_work, args, name, self._hear, self._died)
        for project, sent in self._projects.values():
            sent.source, sent.solving = None, set()
            self._give_source(project)

    def _ready(self) -> Child:
        self._start_if_crashed()
        if self._child is None or self.state.state in ("starting", "loading"):
            raise NotReadyError(_STARTING)
        if self.state.state == "failed":
            raise NotReadyError(self.state.message or "the tracker cannot be loaded")
        return self._child

    def _start_if_crashed(self) -> None:
        if self.state.state == "crashed":
            self._start()

    def _give_source(self, project: OpenProject) -> None:
        sent = self._projects[project.id][1]
        if project.source is not None and sent.source is not project.source:
            sent.source = project.source
            self._tell(Footing(project.id, project.source))

    def _tell(self, message: Any) -> None:
        if self._child is not None and self._child.is_alive:
            self._child.tell(message)

    def _set_state(self, state: TrackerState) -> None:
        self.state = state
        for project, _ in self._projects.values():
            project.events.publish("tracker", {"state": state.state, "message": state.message})
        if state.state == "failed":
            for job in [j for j in self._jobs.jobs if not j.is_over]:
                self._end(job, "failed", state.message)
        for project, _ in list(self._projects.values()):
            self._solve(project)
        self._pump()

    def _died(self, reason: str) -> None:
        if self.state.state == "failed":
            return  # it has said why, and ended
        text = f"the tracker has stopped ({reason}): what was tracked is kept; begin again"
        self.state = TrackerState("crashed", text)
        running, self._running = self._running, None
        if running is not None:
            if running.job.kind == "export":
                self._export_over(running.job, text)
            else:
                self._end(running.job, "failed", text)
        for project, sent in self._projects.values():
            sent.refused |= sent.solving  # it may be the prompt that it dies of
            project.events.publish("tracker", {"state": "failed", "message": text})

    def _do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _disk(error: OSError) -> str:
    return (
        f"nothing can be written ({error.strerror or error}): what was tracked is kept; free some "
        "space and begin again"
    )
