"""One project: what a person has said of a video, and what was tracked. No event loop, no process.

Edits are appended to a journal; the state follows from the edits up to the present one, and from
the results that belong to these. Taking an edit back moves the present one.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from segment_concept.types import InputError, SegmentConceptError
from segment_concept.web.edit_log import EditLog
from segment_concept.web.edits import (
    MOST_OBJECTS,
    AddObject,
    ChangeObject,
    ClearPrompt,
    DeleteObject,
    DrawMask,
    Edit,
    PromptObject,
    color_of,
    edit_from_json,
    prompt_as_json,
)
from segment_concept.web.folder import ProjectFolder
from segment_concept.web.runs import empty_runs
from segment_concept.web.spans import NEVER, Fixed, FrameState, ObjectStates
from segment_concept.web.store import BACKWARDS, CUT, Result, ResultStore

EDITS = "edits.jsonl"
_REMEMBERED = 512  # answers to operations, in case they come again


class RevisionError(SegmentConceptError):
    """The edit was made to an earlier revision. `rev` is the present one."""

    def __init__(self, rev: int) -> None:
        super().__init__("the project was changed meanwhile: look at it, then repeat the edit")
        self.rev = rev


class ReadOnlyError(SegmentConceptError):
    """The project cannot be changed; the message says why."""


@dataclass(slots=True, eq=False)
class TrackedObject:
    """An object of a project."""

    name: str
    color: str
    states: ObjectStates = field(default_factory=ObjectStates)
    prompts: dict[int, tuple[PromptObject | DrawMask, int]] = field(default_factory=dict)  # + tag
    corrected: dict[int, int] = field(default_factory=dict)  # frame -> tag before its first click


@dataclass(frozen=True, slots=True)
class Unsolved:
    """A prompt whose mask is not known yet."""

    edit: PromptObject
    tag: int
    before: Result | None  # what is corrected


class Project:
    """What is known of a video.

    Attributes:
        objects: by id.
        cuts: first frames of shots, as far as known.
        store: the results.
    """

    def __init__(self, folder: ProjectFolder, size: tuple[int, int]) -> None:
        """Read the journal of edits and the results.

        Raises:
            OSError: the folder cannot be read.
        """
        self.folder, self.size = folder, size
        self.objects: dict[int, TrackedObject] = {}
        self.cuts: set[int] = set()
        read_only = folder.read_only is not None
        self.store = ResultStore(folder.path, read_only=read_only)
        newest = max((tag for _, tag in self.store.tags()), default=0)
        self._log = EditLog(folder.path / EDITS, newest, read_only=read_only)
        self._answers: dict[str, dict[str, Any]] = {}
        self._replay()

    @property
    def rev(self) -> int:
        """Number of changes so far."""
        return self._log.rev

    @property
    def head(self) -> int:
        """The present edit; results that are found now bear this tag."""
        return self._log.head

    @property
    def can_undo(self) -> bool:
        """Whether there is an edit to take back."""
        return self._log.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether an edit was taken back."""
        return self._log.can_redo

    # --- changes -----------------------------------------------------------------------------

    def edit(self, op: str, rev: int, values: Mapping[str, Any]) -> dict[str, Any]:
        """Make an edit (see `edits`), and return the reply for the page.

        Raises:
            RevisionError, ReadOnlyError: it cannot be made now.
            InputError: it makes no sense.
            OSError: the disk is full; nothing has changed.
        """
        if op in self._answers:
            return self._answers[op]
        self._check(rev)
        edit = edit_from_json(values, self._log.free_id())
        self._check_edit(edit)
        return self._append(op, edit, self._log.reserve())

    def draw(self, op: str, rev: int, edit: DrawMask, found: Result) -> dict[str, Any]:
        """Replace the mask of a frame by a drawn one, whatever its tag. Raises as `edit`."""
        if op in self._answers:
            return self._answers[op]
        self._check(rev)
        self._check_edit(edit)
        number = self._log.reserve()
        self.store.add([replace(found, tag=number)])  # before the edit that refers to it
        return self._append(op, edit, number)

    def undo(self, op: str, rev: int) -> dict[str, Any]:
        """Take the present edit back. Raises as `edit`."""
        return self._move(op, rev, self._log.undo)

    def redo(self, op: str, rev: int) -> dict[str, Any]:
        """Make the edit again that was taken back last. Raises as `edit`."""
        return self._move(op, rev, self._log.redo)

    def take(self, results: Iterable[Result]) -> None:
        """Keep results of tracking or of prompts, and show those that belong to the present state.

        Raises:
            OSError: the disk is full; none of them is kept.
        """
        results = [r for r in results if r.object_id in self.objects or r.tag != self.head]
        self.store.add(results)
        if any(r.tag != self.head for r in results):
            self._replay()
            return
        for result in results:
            back = bool(result.flags & BACKWARDS)
            states = self.objects[result.object_id].states
            states.add([result.frame], result.tag, back, result.area == 0)
            self._note_cut(result)

    def keep_rest(self, object_id: int, first: int, last: int, tag: int) -> None:
        """The masks of stale frames (inclusive) would not change: they are valid after all.

        Raises:
            OSError: the disk is full.
        """
        self._log.keep(object_id, first, last, tag)
        if tag == self.head and object_id in self.objects:
            self.objects[object_id].states.refresh(first, last)
        else:
            self._replay()

    def check_writable(self) -> None:
        """Raises ReadOnlyError if nothing may be changed."""
        reason = self.folder.read_only or self.folder.trouble
        if reason is not None:
            raise ReadOnlyError(reason)

    # --- what is known -----------------------------------------------------------------------

    def shown(self, object_id: int, frame: int) -> Result | None:
        """The result of an object on a frame, as the page shows it."""
        states = self.objects[object_id].states
        if frame >= len(states):
            return None
        if states.fixed[frame] == Fixed.DENIED:
            runs = empty_runs(self.size)
            return Result(object_id, frame, self.head, 0.0, 0.0, 0, (0, 0, 0, 0), 0, runs)
        tag = int(states.tag[frame])
        return None if tag == NEVER else self.store.get(object_id, frame, tag)

    def unsolved(self) -> list[Unsolved]:
        """Prompts whose masks are not known, in the order in which they were given."""
        found = [
            Unsolved(edit, tag, self.corrected(i, frame))
            for i, each in self.objects.items()
            for frame, (edit, tag) in each.prompts.items()
            if isinstance(edit, PromptObject) and each.states.tag[frame] != tag
        ]
        return sorted(found, key=lambda unsolved: unsolved.tag)

    def objects_json(self) -> list[dict[str, Any]]:
        """All objects for the page."""
        return [_object_json(i, each) for i, each in sorted(self.objects.items())]

    def close(self) -> None:
        """Put everything into its place on the disk, and let others write."""
        if self.folder.read_only is None:
            self.store.close()
        self.folder.release()

    # --- the edits ---------------------------------------------------------------------------

    def _check(self, rev: int) -> None:
        self.check_writable()
        if rev != self.rev:
            raise RevisionError(self.rev)

    def _check_edit(self, edit: Edit) -> None:
        i = edit.object_id
        known = i in self.objects
        if isinstance(edit, AddObject):
            if known:
                raise InputError(f"there is an object {i} already: choose another number")
            if i > MOST_OBJECTS:
                raise InputError(f"a project has up to {MOST_OBJECTS} objects: begin another one")
        elif not known and not isinstance(edit, PromptObject | DrawMask):
            raise InputError(f"there is no object {i}: add it first")
        elif isinstance(edit, ClearPrompt) and edit.frame not in self.objects[i].prompts:
            raise InputError(f"object {i} has no prompt on frame {edit.frame}: nothing to clear")

    def _append(self, op: str, edit: Edit, number: int) -> dict[str, Any]:
        self._log.append(op, edit, number)
        self._apply(edit, number)
        return self._answer(op)

    def _move(self, op: str, rev: int, move: Callable[[str], None]) -> dict[str, Any]:
        if op in self._answers:
            return self._answers[op]
        self._check(rev)
        move(op)
        self._replay()
        return self._answer(op)

    def _answer(self, op: str) -> dict[str, Any]:
        reply = {
            "rev": self.rev,
            "op": op,
            "objects": self.objects_json(),
            "undo": self.can_undo,
            "redo": self.can_redo,
        }
        self._answers[op] = reply
        while len(self._answers) > _REMEMBERED:
            del self._answers[next(iter(self._answers))]
        return reply

    # --- the state ---------------------------------------------------------------------------

    def _replay(self) -> None:
        """The state from all edits up to the present one and their results."""
        self.objects = {}
        tags: dict[int, list[int]] = {}
        for i, tag in self.store.tags():
            tags.setdefault(tag, []).append(i)
        for number, edit in self._log.path():
            self._apply(edit, number)
            for i in tags.get(number, ()):
                if i in self.objects:
                    self._add_rows(i, number)
            for i, first, last in self._log.fresh(number):
                if i in self.objects:
                    self.objects[i].states.refresh(first, last)

    def _add_rows(self, object_id: int, tag: int) -> None:
        rows = self.store.rows(object_id, tag)
        back = (rows["flags"] & BACKWARDS) > 0
        states = self.objects[object_id].states
        states.add(rows["frame"], tag, back, rows["area"] == 0)
        cuts = (rows["frame"] + back)[(rows["flags"] & CUT) > 0]
        self.cuts.update(int(frame) for frame in cuts)

    def _note_cut(self, result: Result) -> None:
        """Played backward, a cut is noticed on the last frame of the shot before it."""
        if result.flags & CUT:
            self.cuts.add(result.frame + bool(result.flags & BACKWARDS))

    def _apply(self, edit: Edit, tag: int) -> None:
        i = edit.object_id
        if isinstance(edit, PromptObject | DrawMask) and i not in self.objects:
            self.objects[i] = TrackedObject(f"Object {i}", color_of(i))
        if isinstance(edit, AddObject):
            self.objects[i] = TrackedObject(edit.name, edit.color)
        elif isinstance(edit, DeleteObject):
            self.objects.pop(i, None)
        elif i in self.objects:
            self._change(self.objects[i], edit, tag)

    def _change(self, found: TrackedObject, edit: Edit, tag: int) -> None:
        if isinstance(edit, ChangeObject):
            found.name = edit.name or found.name
            found.color = edit.color or found.color
            return
        if isinstance(edit, PromptObject | DrawMask):
            before, _ = found.prompts.get(edit.frame, (None, 0))
            if not isinstance(before, PromptObject):
                known = edit.frame < len(found.states)
                found.corrected[edit.frame] = int(found.states.tag[edit.frame]) if known else NEVER
            found.prompts[edit.frame] = (edit, tag)
        elif isinstance(edit, ClearPrompt):
            found.prompts.pop(edit.frame, None)
        found.states.apply(edit)
        if isinstance(edit, DrawMask):
            drawn = self.store.get(edit.object_id, edit.frame, tag)
            if drawn is not None:
                found.states.add([edit.frame], tag, False, drawn.area == 0)

    def corrected(self, object_id: int, frame: int) -> Result | None:
        """The mask that clicks on a frame correct: what was there before the first of them."""
        tag = self.objects[object_id].corrected.get(frame, NEVER)
        found = None if tag == NEVER else self.store.get(object_id, frame, tag)
        return found if found is not None and found.area else None


def _object_json(object_id: int, found: TrackedObject) -> dict[str, Any]:
    states = found.states
    verdicts = [("confirmed", Fixed.CONFIRMED), ("denied", Fixed.DENIED)]
    return {
        "id": object_id,
        "name": found.name,
        "color": found.color,
        "prompts": [_prompt_json(edit) for _, (edit, _) in sorted(found.prompts.items())],
        "locked": [[a, b] for a, b in states.fixed_runs(Fixed.LOCKED)],
        "verdicts": [
            {"from": a, "to": b, "verdict": word}
            for word, kind in verdicts
            for a, b in states.fixed_runs(kind)
        ],
        "states": states_json(states),
    }


def result_json(project: Project, result: Result) -> tuple[FrameState, dict[str, Any]]:
    """The state of an object on the frame of a result, and what the page shows of both."""
    states = project.objects[result.object_id].states
    state = FrameState(int(states.states()[result.frame : result.frame + 1].sum()))
    return state, {
        "id": result.object_id,
        "state": state.name.lower(),
        "presence": round(result.presence, 4),
        "score": round(result.score, 4),
        "area": result.area,
        "box": list(result.box) if result.area else None,
    }


def states_json(states: ObjectStates) -> list[list[Any]]:
    """[[first, last, name], ...] of stretches that are not empty."""
    return [[a, b, FrameState(state).name.lower()] for a, b, state in states.runs()]


def _prompt_json(edit: PromptObject | DrawMask) -> dict[str, Any]:
    if isinstance(edit, DrawMask):
        return {"frame": edit.frame, "kind": "mask", "points": [], "box": None}
    kind = "points" if edit.points else "box"
    return {"frame": edit.frame, "kind": kind} | prompt_as_json(edit)
