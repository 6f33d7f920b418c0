"""The edits of a project, one a line of a growing file. Undo and redo are lines as well.

A line is on the disk before anybody is told of it. A last line that was not written fully is
dropped when the file is read.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from segment_concept.types import InputError
from segment_concept.web.edits import MOST_OBJECTS, Edit, edit_as_json, edit_from_json

log = logging.getLogger(__name__)


class EditLog:
    """Edits by number. Each follows another one, so that those taken back are kept.

    Attributes:
        rev: number of changes so far.
        head: the present edit, 0 before the first.
        newest: the highest number that was used.
    """

    def __init__(self, path: Path, newest: int = 0, *, read_only: bool = False) -> None:
        """Read what is there.

        Args:
            path: the file; it is created by the first edit.
            newest: the highest number that is in use elsewhere.
            read_only: do not cut off what was not written fully.

        Raises:
            OSError: it cannot be read.
        """
        self.rev = self.head = 0
        self._path = path
        self._edits: dict[int, tuple[int, Edit]] = {}  # number -> edit before it, edit
        self._redo: list[int] = []
        self._fresh: dict[int, list[tuple[int, int, int]]] = {}  # number -> object, first, last
        self._read(read_only=read_only)
        self.newest = max([newest, *self._edits])

    @property
    def can_undo(self) -> bool:
        """Whether there is an edit to take back."""
        return self.head > 0

    @property
    def can_redo(self) -> bool:
        """Whether an edit was taken back."""
        return bool(self._redo)

    def path(self) -> Iterator[tuple[int, Edit]]:
        """The edits up to the present one, in their order, with their numbers."""
        numbers, number = [], self.head
        while number:
            numbers.append(number)
            number = self._edits[number][0]
        return ((n, self._edits[n][1]) for n in reversed(numbers))

    def fresh(self, number: int) -> list[tuple[int, int, int]]:
        """(object, first, last) of stale frames whose masks are valid after that edit."""
        return self._fresh.get(number, [])

    def free_id(self) -> int:
        """The lowest number that no object has had."""
        used = {edit.object_id for _, edit in self._edits.values()}
        return next((i for i in range(1, MOST_OBJECTS + 1) if i not in used), MOST_OBJECTS + 1)

    def reserve(self) -> int:
        """A number for an edit that is about to be appended; it is not used twice."""
        self.newest += 1
        return self.newest

    def append(self, op: str, edit: Edit, number: int) -> None:
        """Append an edit after the present one.

        Raises:
            OSError: the disk is full; nothing has changed.
        """
        values = {"edit": edit_as_json(edit), "number": number, "after": self.head, "op": op}
        self._write(values)
        self._take(values, edit)

    def undo(self, op: str) -> None:
        """Take the present edit back. Raises InputError, and OSError as `append`."""
        if not self.can_undo:
            raise InputError("there is nothing to take back")
        self._write({"undo": True, "op": op})
        self._undo()

    def redo(self, op: str) -> None:
        """Make the edit again that was taken back last. Raises as `undo`."""
        if not self.can_redo:
            raise InputError("there is nothing to make again")
        self._write({"redo": True, "op": op})
        self._make_again()

    def keep(self, object_id: int, first: int, last: int, number: int) -> None:
        """Note that masks of stale frames are valid after an edit. Raises OSError."""
        self._write({"fresh": [object_id, first, last], "number": number})
        self._fresh.setdefault(number, []).append((object_id, first, last))

    def _take(self, values: Mapping[str, Any], edit: Edit) -> None:
        number = int(values["number"])
        self._edits[number] = (int(values["after"]), edit)
        self.head = number
        self._redo.clear()
        self.rev += 1

    def _undo(self) -> None:
        self._redo.append(self.head)
        self.head = self._edits[self.head][0]
        self.rev += 1

    def _make_again(self) -> None:
        self.head = self._redo.pop()
        self.rev += 1

    def _write(self, values: Mapping[str, Any]) -> None:
        with self._path.open("ab") as file:
            before = file.tell()
            try:
                file.write(json.dumps(values).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                _cut(self._path, before)
                raise

    def _read(self, *, read_only: bool) -> None:
        if not self._path.exists():
            return
        whole = 0
        with self._path.open("rb") as file:
            for line in file:
                if not self._is_read(line):
                    log.warning("the last change in %s was not written fully", self._path)
                    break
                whole += len(line)
        if not read_only and whole < self._path.stat().st_size:
            _cut(self._path, whole)

    def _is_read(self, line: bytes) -> bool:
        try:
            if line.endswith(b"\n"):
                self._read_line(json.loads(line))
                return True
        except (ValueError, KeyError, TypeError, IndexError) as error:
            log.debug("%s", error)
        return False

    def _read_line(self, values: Mapping[str, Any]) -> None:
        if "edit" in values:
            self._take(values, edit_from_json(values["edit"]))
        elif "fresh" in values:
            i, first, last = values["fresh"]
            self._fresh.setdefault(int(values["number"]), []).append((i, first, last))
        elif "undo" in values:
            self._undo()
        else:
            self._make_again()


def _cut(path: Path, length: int) -> None:
    with path.open("r+b") as file:
        file.truncate(length)
