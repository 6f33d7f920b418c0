"""What the C library does with memory that is freed, and how much oneDNN keeps of what it made.

GLIBC gives large blocks back to the system as soon as they are free, and the system clears every
page when it is asked for again. A network's intermediate results are such blocks, of the same sizes
on every frame: on a CPU a sixth of a frame's time goes into that (docs/LOG.md).

oneDNN writes a program for every shape of a product and keeps the last 1024. Windows in which
objects are looked for have ever other shapes, and the programs grow to 400 MB.
"""

import ctypes
import os
import platform
from functools import lru_cache

# mallopt's numbers, from malloc.h
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD, _ARENA_MAX = -3, -1, -2, -8
_LARGEST_KEPT = 32 << 20  # bytes; the most that every GLIBC takes for it
_UNUSED_KEPT = 512 << 20  # bytes at the end of the heap; beyond that they are given back
_GROWTH = 64 << 20  # bytes that are asked for at once
_PROGRAMS = 256  # of oneDNN; a frame takes about a hundred
_ARENAS = 1  # heaps: every thread would keep what it freed in one of its own


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let this process keep blocks of up to 32 MB that it frees, to use them again.

    Does nothing, and returns False, where the C library is not GLIBC, or where the environment
    already tells it how to allocate (`MALLOC_..._` or `GLIBC_TUNABLES`).
    """
    told = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if told or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {
        _MMAP_THRESHOLD: _LARGEST_KEPT,
        _TRIM_THRESHOLD: _UNUSED_KEPT,
        _TOP_PAD: _GROWTH,
        _ARENA_MAX: _ARENAS,
    }
    return all([mallopt(what, value) == 1 for what, value in settings.items()])


def keep_few_programs() -> None:
    """Let oneDNN keep fewer programs, unless the environment says how many.

    It asks the environment once, before its first operator.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_PROGRAMS))
