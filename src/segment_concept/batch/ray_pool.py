"""Workers as actors of a Ray cluster."""

import importlib
from typing import Any

from segment_concept.batch.pool import Unit, Work, WorkerError, WorkerEvent, WorkerFactory
from segment_concept.types import InputError


class _Actor:
    """One worker, somewhere in the cluster; it keeps its model between units."""

    def __init__(self) -> None:
        self._work: Work | None = None

    def do(self, opener: WorkerFactory, worker_index: int, unit: Unit) -> Any:
        """Work on a unit, made ready first if need be."""
        # Not in the constructor: what goes wrong there looks like a lost actor.
        self._work = self._work or opener(worker_index)
        return self._work(unit)


class RayPool:
    """Workers that are actors, one GPU each where the cluster has any.

    A cluster is joined where Ray finds one (`RAY_ADDRESS`, or `ray start` on this machine), else
    one is started on this machine and ended by `close`.
    """

    def __init__(self, opener: WorkerFactory, size: int) -> None:
        """Raises InputError where Ray is not installed."""
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise InputError(
                "--engine ray needs Ray: pip install 'segment-concept[batch]'"
            ) from error
        self.size = size
        self._started = not self._ray.is_initialized()
        if self._started:
            self._ray.init(include_dashboard=False, log_to_driver=False)
        self._opener = self._ray.put(opener)  # sent once, however many units there are
        self._actors: dict[int, Any] = {}
        self._answers: dict[Any, int] = {}  # the place by the promise of its answer

    def give(self, worker_index: int, unit: Unit) -> None:
        """Send the unit, to a new actor if need be."""
        if worker_index not in self._actors:
            gpus = 1 if self._ray.cluster_resources().get("GPU", 0) else 0
            # Ray must not restart it by itself: who is lost is told of, and retried by us.
            maker = self._ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Actor)
            self._actors[worker_index] = maker.remote()
        promise = self._actors[worker_index].do.remote(self._opener, worker_index, unit)
        self._answers[promise] = worker_index

    def wait(self) -> list[WorkerEvent]:
        """Sleep until an actor has answered or was lost."""
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
        except errors.RayError as error:  # the actor, its process or its machine is gone
            self._actors.pop(worker_index)
            why = (str(error).strip() or type(error).__name__).splitlines()
            return WorkerEvent(
                worker_index, lost=f"its actor was lost ({type(error).__name__}: {why[-1].strip()})"
            )

    def close(self) -> None:
        """End the actors, and the cluster if it was started here."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        if self._started:
            self._ray.shutdown()
