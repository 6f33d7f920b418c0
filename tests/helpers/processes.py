"""Start programs of the tests as torchrun would."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
PORT = "29641"  # at which the processes of a run meet


def start(
    module: str, *arguments: str | Path, rank: int = 0, ranks: int = 1
) -> "subprocess.Popen[str]":
    """One process of a run of `ranks` processes."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
        "OMP_NUM_THREADS": "1",
    }
    if ranks > 1:
        environment |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(ranks),
            "LOCAL_WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": PORT,
        }
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
