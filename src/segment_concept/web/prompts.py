"""Masks of prompts: previews while a person hovers, and those of edits."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from segment_concept.web.children import Child, ChildError, RemoteError
from segment_concept.web.edits import PromptObject
from segment_concept.web.opened import OpenProject
from segment_concept.web.project import Unsolved
from segment_concept.web.replies import BusyError, NotReadyError, disk_sentence
from segment_concept.web.runs import pack_masks
from segment_concept.web.tracker_process import TrackerProcess
from segment_concept.web.work import ComputeFeatures, Preview, Solve

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """Prompts of a project, by the numbers of their edits."""

    solving: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)  # by the tracker: they block nothing


class Prompts:
    """Asks the tracker for masks. `on_solved` is called with a project when one has come."""

    def __init__(self, tracker: TrackerProcess, on_solved: Callable[[OpenProject], None]) -> None:
        self._tracker, self._on_solved = tracker, on_solved
        self._known: dict[str, _Known] = defaultdict(_Known)
        self._newest = 0  # number of the newest preview
        self._previewing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    def look(self, project: OpenProject, frame: int) -> None:
        """Compute the features of a frame in idle time."""
        self._tracker.tell(ComputeFeatures(project.id, frame))

    async def preview(
        self, project: OpenProject, asked: PromptObject, is_gone: Callable[[], Awaitable[bool]]
    ) -> bytes:
        """The mask of a prompt that is not an edit yet, for the page.

        Raises:
            BusyError: a newer one was asked for meanwhile, or nobody waits for it any more.
            NotReadyError: the tracker is not there, or does not know the frame yet.
            RemoteError: the tracker refuses the prompt.
        """
        child = self._tracker.ready()
        if asked.frame >= self._tracker.frames(project.id):
            raise NotReadyError("the video is still being looked at: try again in a moment")
        self._newest += 1
        number = self._newest
        async with self._previewing:  # one at a time; of those that wait only the newest
            if number != self._newest or await is_gone():
                raise BusyError("a newer preview was asked for")
            before = _corrected(project, asked)
            message = Preview(project.id, asked.frame, asked.prompt, before)
            score, runs = await child.ask(message)
        return pack_masks([(asked.object_id, score, runs)])

    def solve(self, project: OpenProject) -> None:
        """Ask for the masks of prompts that have none."""
        if not self._tracker.is_ready or project.folder.read_only is not None:
            return
        known, frames = self._known[project.id], self._tracker.frames(project.id)
        for unsolved in project.project.unsolved():
            is_new = unsolved.tag not in known.solving | known.refused
            if is_new and unsolved.edit.frame < frames:
                known.solving.add(unsolved.tag)
                child = self._tracker.ready()
                task = asyncio.get_running_loop().create_task(
                    self._solved(project, unsolved, child)
                )
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def are_solved(self, project: OpenProject) -> bool:
        """Whether every prompt has its refined mask, or was refused."""
        known = self._known[project.id]
        waiting = {unsolved.tag for unsolved in project.project.unsolved()}
        return waiting | known.solving <= known.refused

    def give_up(self) -> None:
        """The tracker has crashed, perhaps of a prompt: do not ask for those again."""
        for known in self._known.values():
            known.refused |= known.solving
            known.solving.clear()

    def forget(self, project: OpenProject) -> None:
        """A project was closed."""
        self._known.pop(project.id, None)

    async def _solved(self, project: OpenProject, unsolved: Unsolved, child: Child) -> None:
        edit, before, known = unsolved.edit, unsolved.before, self._known[project.id]
        i, frame = edit.object_id, edit.frame
        runs = None if before is None else before.runs
        quick = Solve(project.id, i, frame, unsolved.tag, edit.prompt, runs, refine=False)
        try:
            project.take([await child.ask(quick)])  # to be seen at once
            project.take([await child.ask(replace(quick, refine=True))])
        except RemoteError as error:
            known.refused.add(unsolved.tag)
            project.tell_error(str(error), i, frame)
        except ChildError as error:
            log.warning("%s", error)
        except OSError as error:
            known.refused.add(unsolved.tag)
            project.tell_error(disk_sentence(error), i, frame)
        finally:
            known.solving.discard(unsolved.tag)
        self._on_solved(project)


def _corrected(project: OpenProject, asked: PromptObject) -> bytes | None:
    """Runs of the mask that clicks correct; None for a new object."""
    found = project.project.objects.get(asked.object_id)
    if found is None:
        return None
    before = found.prompts.get(asked.frame, (None, 0))[0]
    if isinstance(before, PromptObject):
        result = project.project.corrected(asked.object_id, asked.frame)
    else:
        result = project.project.shown(asked.object_id, asked.frame)
    return result.runs if result is not None and result.area else None
