"""memory."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # recipes load torch, which `--help` can do without
    pass


def process_peak() -> int | None:
    """Bytes that this process occupied at most; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def gpu_peak() -> int | None:
    """Bytes that this process occupied at most on its GPU; None where it has none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated())
