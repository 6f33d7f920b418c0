"""One folder, one run: two may share it only as different shards of the same work."""

import errno
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from segment_concept.batch.shard import Shard
from segment_concept.types import InputError

_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # some network disks have none


@contextmanager
def locked(folder: Path, shard: Shard) -> Iterator[None]:
    """Keep others from doing the same work in this folder; given back even by a kill.

    Raises:
        InputError: another run is at it.
    """
    with ExitStack() as stack:
        whole = stack.enter_context((folder / ".lock").open("wb"))
        _lock(whole, folder, shared=not shard.is_all)
        if not shard.is_all:
            name = f".lock-{shard.index}-of-{shard.count}"
            _lock(stack.enter_context((folder / name).open("wb")), folder, shared=False)
        yield


def _lock(file: IO[bytes], folder: Path, *, shared: bool) -> None:
    if sys.platform == "win32":  # has no shared locks that a kill gives back
        return
    import fcntl

    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return
        if error.errno not in _HELD:
            raise
        raise InputError(
            f"another run is writing to {folder}: wait for it, or name another folder with --out"
        ) from error
