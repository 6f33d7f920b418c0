"""Keep freed memory in the process, and limit the primitive caches of oneDNN and torch.

glibc returns large blocks to the system when they are freed, and the system clears every page when
it is allocated again. The activations of a network are such blocks, of the same sizes on every
frame: on a CPU this takes a sixth of the time of a frame (docs/LOG.md).

oneDNN compiles a primitive for every shape of a product and keeps the last 1024. Regions of
interest have new shapes all the time, and the primitives grow to 400 MB. torch keeps the last 1024
of every kind and thread besides, which grew by 5 MB a frame.
"""

import ctypes
import os
import platform
from functools import lru_cache

# mallopt's numbers, from malloc.h
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD, _ARENA_MAX = -3, -1, -2, -8
_LARGEST_KEPT = 32 << 20  # bytes; the maximum that every glibc accepts
_UNUSED_KEPT = 512 << 20  # bytes at the end of the heap; more are returned to the system
_GROWTH = 64 << 20  # bytes requested at once
# oneDNN primitives; a frame needs about a hundred, and with 128 it takes a tenth longer
_PROGRAMS = 256
_THREAD_PROGRAMS = 16  # of every kind and thread; the others are found in oneDNN's own cache
_ARENAS = 1  # heaps; otherwise every thread keeps freed memory in its own


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let this process keep and reuse freed blocks of up to 32 MB.

    Does nothing and returns False if the C library is not glibc, or if the environment already
    configures it (`MALLOC_..._` or `GLIBC_TUNABLES`).
    """
    configured = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if configured or platform.libc_ver()[0] != "glibc":
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
    """Let oneDNN and torch keep fewer primitives, unless the environment sets a number.

    Both read the environment once, before their first operator.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_PROGRAMS))
    os.environ.setdefault("LRU_CACHE_CAPACITY", str(_THREAD_PROGRAMS))
