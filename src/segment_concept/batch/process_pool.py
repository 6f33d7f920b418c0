"""Workers that are processes of this machine."""

import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import cast

from segment_concept.batch.pool import Unit, WorkerError, WorkerEvent, WorkerFactory
from segment_concept.types import SegmentConceptError

_PATIENCE = 5.0  # seconds in which a worker should exit by itself


@dataclass(frozen=True, slots=True)
class _Answer:
    result: object = None
    error: str = ""


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    line: "Connection[Unit, _Answer]"
    busy: bool = False


class ProcessPool:
    """Workers that are processes of this machine; each keeps its model between units."""

    def __init__(self, opener: WorkerFactory, size: int) -> None:
        self.size = size
        self._opener = opener
        # Spawned, not forked: the caller may use threads and a GPU.
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, _Worker] = {}

    def give(self, worker_index: int, unit: Unit) -> None:
        """Send a unit, to a new process if needed."""
        worker = self._workers.get(worker_index)
        if worker is None or not worker.process.is_alive():
            worker = self._workers[worker_index] = self._start(worker_index)
        worker.busy = True
        with suppress(BrokenPipeError):  # it has just died; `wait` reports that
            worker.line.send(unit)

    def _start(self, worker_index: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        # Not daemons: a worker may start processes, for example to decode.
        process = self._context.Process(target=_serve, args=(self._opener, worker_index, theirs))
        process.start()
        theirs.close()
        return _Worker(process, cast("Connection[Unit, _Answer]", ours))

    def wait(self) -> list[WorkerEvent]:
        """Wait until a process has answered or ended."""
        busy = {worker_index: w for worker_index, w in self._workers.items() if w.busy}
        ready = set(wait([x for w in busy.values() for x in (w.line, w.process.sentinel)]))
        return [
            self._hear(worker_index, worker)
            for worker_index, worker in busy.items()
            if worker.line in ready or worker.process.sentinel in ready
        ]

    def _hear(self, worker_index: int, worker: _Worker) -> WorkerEvent:
        worker.busy = False
        try:
            answer = worker.line.recv()
        except (EOFError, OSError):
            worker.process.join()
            del self._workers[worker_index]
            return WorkerEvent(worker_index, lost=_cause(worker.process.exitcode))
        if answer.error:
            raise WorkerError(answer.error)
        return WorkerEvent(worker_index, answer.result)

    def close(self) -> None:
        """Let idle processes exit and terminate busy ones."""
        for worker in self._workers.values():
            worker.line.close()
            if worker.busy:
                worker.process.terminate()
        for worker in self._workers.values():
            worker.process.join(_PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        memory = ", perhaps for lack of memory" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{memory}"
    return f"its process ended with exit code {exit_code}"


def _serve(opener: WorkerFactory, worker_index: int, line: "Connection[_Answer, Unit]") -> None:
    """Main loop of a worker: receive a unit, work, answer, until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    work = None
    while True:
        try:
            unit = line.recv()
        except (EOFError, OSError):
            return
        try:
            work = work or opener(worker_index)
            answer = _Answer(work(unit))
        except SegmentConceptError as error:
            answer = _Answer(error=str(error))
        except Exception as error:
            answer = _Answer(error=f"{type(error).__name__}: {error}")
        line.send(answer)


def _die_with_parent() -> None:
    """Exit if the parent dies: a killed run may be started again and must not be disturbed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
