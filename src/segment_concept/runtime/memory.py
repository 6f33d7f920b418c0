"""Peak memory of this process."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # only recipes need torch; `--help` must not load it
    pass


def process_peak() -> int | None:
    """Peak memory of this process in bytes; None if the system does not report it."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def gpu_peak() -> int | None:
    """Peak GPU memory of this process in bytes; None if it has no GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated())
