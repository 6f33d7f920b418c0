"""Workers that are actors of a Ray cluster."""

import importlib
from typing import Any

from segment_concept.batch.pool import Unit, Work, WorkerError, WorkerEvent, WorkerFactory
from segment_concept.types import InputError


class _Actor:
    """A worker in the cluster; it keeps its model between units."""

    def __init__(self) -> None:
        self._work: Work | None = None

    def do(self, opener: WorkerFactory, worker_index: int, unit: Unit) -> Any:
        """Work on a unit; the worker is prepared first if needed."""
        # Not in the constructor: an error there looks like a lost actor.
        self._work = self._work or opener(worker_index)
        return self._work(unit)


class RayPool:
    """Workers that are actors, with one GPU each if the cluster has GPUs.

    Joins the cluster that Ray finds (`RAY_ADDRESS`, or `ray start` on this machine); otherwise
    starts one on this machine, which `close` stops.
    """

    def __init__(self, opener: WorkerFactory, size: int) -> None:
        """Raises InputError if Ray is not installed or does not start."""
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise InputError(
                "--engine ray needs Ray: pip install 'segment-concept[batch]'"
            ) from error
        self.size = size
        self._started = not self._ray.is_initialized()
        if self._started:
            self._start()
        self._opener = self._ray.put(opener)  # sent once for all units
        self._actors: dict[int, Any] = {}
        self._answers: dict[Any, int] = {}  # index of the worker by the reference of its answer

    def _start(self) -> None:
        try:
            self._ray.init(include_dashboard=False, log_to_driver=False)
        except Exception as error:  # Ray raises what its parts raise
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(
                f"Ray does not start ({why}): check the cluster with `ray status`, unset "
                "RAY_ADDRESS to start one on this machine, or use --engine local"
            ) from error

    def give(self, worker_index: int, unit: Unit) -> None:
        """Send a unit, to a new actor if needed."""
        if worker_index not in self._actors:
            gpus = 1 if self._ray.cluster_resources().get("GPU", 0) else 0
            # Ray must not restart it: lost workers are reported, and retried by the caller.
            maker = self._ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Actor)
            self._actors[worker_index] = maker.remote()
        promise = self._actors[worker_index].do.remote(self._opener, worker_index, unit)
        self._answers[promise] = worker_index

    def wait(self) -> list[WorkerEvent]:
        """Wait until an actor has answered or was lost."""
        ready, _ = self._ray.wait(list(self._answers), num_returns=1)
        return [self._hear(promise) for promise in ready]

    def _hear(self, promise: Any) -> WorkerEvent:
        worker_index = self._answers.pop(promise)
        errors = self._ray.exceptions
        try:
            return WorkerEvent(worker_index, self._ray.get(promise))
        except errors.RayTaskError as error:
            cause = getattr(error, "cause", None) or error
            raise WorkerError(str(cause)) from error
        except errors.RayError as error:  # the actor, its process or its machine is lost
            self._actors.pop(worker_index)
            why = (str(error).strip() or type(error).__name__).splitlines()
            return WorkerEvent(
                worker_index, lost=f"its actor was lost ({type(error).__name__}: {why[-1].strip()})"
            )

    def close(self) -> None:
        """Stop the actors, and the cluster if it was started here."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        if self._started:
            self._ray.shutdown()
