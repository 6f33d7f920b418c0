"""Lock the folder of a run. Different shards of one run may hold it together."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from segment_concept.batch.shard import Shard
from segment_concept.runtime.files import locked

_WHOLE = ".lock"
_WAIT = 2.0  # seconds for which a starting run waits for another one that is just starting


@contextmanager
def run_locked(folder: Path, shard: Shard) -> Iterator[None]:
    """Keep other runs from doing the same work in this folder.

    A shard has a lock file of its own, and holds that of the whole run only while it starts. A run
    of everything holds the latter to its end, and starts only if no shard is at work.

    Raises:
        InputError: another run is doing this work.
    """
    with ExitStack() as held:
        with ExitStack() as starting:
            starting.enter_context(locked(folder / _WHOLE, folder, _WAIT))
            if shard.is_all:
                for other in folder.glob(f"{_WHOLE}-*"):
                    with locked(other, folder):
                        pass
                held.enter_context(starting.pop_all())
            else:
                own = f"{_WHOLE}-{shard.index}-of-{shard.count}"
                held.enter_context(locked(folder / own, folder))
        yield
