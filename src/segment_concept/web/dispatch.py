"""Gives work to the process that tracks, and results to the projects. Lives in the event loop."""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from segment_concept.types import InputError
from segment_concept.video.source import VideoSource
from segment_concept.web.children import Child
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
from segment_concept.web.prompts import Prompts
from segment_concept.web.replies import disk_sentence
from segment_concept.web.store import Result
from segment_concept.web.tracker_process import Listeners, TrackerProcess
from segment_concept.web.wire import JobBody
from segment_concept.web.work import Found, Progress, Run, RunEnded, StopRun

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.25  # between two events of progress
CLOSING_TURNS = 100  # of 50 ms in which the present frame of a project that is closed ends


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
        listeners = Listeners(self._hear, self._state_changed, self._crashed)
        self.tracker = TrackerProcess(recipe, device, listeners, new_child)
        self.prompts = Prompts(self.tracker, self._solved)
        self._early_stop = early_stop
        self._projects: dict[str, OpenProject] = {}
        self._jobs = JobList()
        self._running: _Running | None = None
        self._numbers = itertools.count(1)
        self._exports: dict[str, list[Export]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether something is tracked or written."""
        return self._running is not None

    # --- projects ----------------------------------------------------------------------------

    def opened(self, project: OpenProject) -> None:
        """A project was opened: go on where an earlier server has stopped."""
        self._projects[project.id] = project
        self.tracker.start()
        if project.folder.read_only is None and project.folder.trouble is None:
            for body in stored_jobs(project.folder.path):
                self._jobs.add(project, body)
        if project.source is not None:
            self.tracker.show(project.id, project.source)
        self.edited(project)

    def knows_frames(self, project: OpenProject, source: VideoSource) -> None:
        """More frames of a video are known."""
        project.source = source
        if project.id in self._projects:
            self.tracker.show(project.id, source)
            self.edited(project)

    async def closed(self, project: OpenProject) -> None:
        """Stop what is done for a project; its jobs go on when it is opened again."""
        self._projects.pop(project.id, None)
        running = self._running
        if running is not None and running.job.project is project:
            self.tracker.tell(StopRun(running.number))
            for _ in range(CLOSING_TURNS):
                if self._running is not running:
                    break
                await asyncio.sleep(0.05)
        self._jobs.jobs = [job for job in self._jobs.jobs if job.project is not project]
        self.prompts.forget(project)
        self.tracker.forget(project.id)

    async def stop(self) -> None:
        """End the process."""
        await self.tracker.stop(at_once=self._running is not None)

    def edited(self, project: OpenProject) -> None:
        """The state of a project has changed: solve its prompts, and plan its jobs anew."""
        if project.id not in self._projects:
            return
        running = self._running
        if running is not None and running.job.project is project:
            self._outdate(running)
        self.prompts.solve(project)
        self._pump()

    def _solved(self, project: OpenProject) -> None:
        if project.id in self._projects:
            self._pump()

    def _outdate(self, running: _Running) -> None:
        """End a run whose plan was made before an edit; its job is planned anew."""
        is_new = running.tag == running.job.project.project.head
        if is_new or running.is_outdated or running.job.kind != "track":
            return
        running.is_outdated = True
        self.tracker.tell(StopRun(running.number))

    def jobs_json(self, project: OpenProject) -> list[dict[str, Any]]:
        """Jobs of a project that are not over."""
        return [job.json() for job in self._jobs.of(project)]

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
        self.tracker.start()
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
            if self._running is not None:
                self.tracker.tell(StopRun(self._running.number))
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
        self.tracker.start()
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
        if self._running is not None or not self.tracker.is_ready:
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
        project = job.project
        if project.id not in self._projects or not project.is_whole or project.source is None:
            return False
        return job.kind == "export" or self.prompts.are_solved(project)

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
        self.tracker.tell(Run(project.id, number, plan.tag, plan.orders, folder))
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
            self.tracker.tell(order_of(job.project, found, job.body, number))

    # --- what the process says ---------------------------------------------------------------

    def _hear(self, message: Any) -> None:
        if isinstance(message, Found):
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
            running.job.error = disk_sentence(error)
            running.job.is_stopping = True
            self.tracker.tell(StopRun(running.number))
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
        self.tracker.tell(StopRun(running.number, number))
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

    def _state_changed(self) -> None:
        state = self.tracker.state
        for project in list(self._projects.values()):
            project.events.publish("tracker", {"state": state.state, "message": state.message})
        if state.state == "failed":
            for job in [j for j in self._jobs.jobs if not j.is_over]:
                self._end(job, "failed", state.message)
        for project in list(self._projects.values()):
            self.prompts.solve(project)
        self._pump()

    def _crashed(self, text: str) -> None:
        running, self._running = self._running, None
        self.prompts.give_up()
        if running is not None and running.job.kind == "export":
            self._export_over(running.job, text)
        elif running is not None:
            self._end(running.job, "failed", text)
        for project in self._projects.values():
            project.events.publish("tracker", {"state": "failed", "message": text})

    def _do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
