"""Start programs of the tests as torchrun would."""

import os
import socket
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def free_port() -> str:
    """A port of this machine that nothing listens to, at which processes can meet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def start_ranks(
    module: str, *arguments: str | Path, last: tuple[str, ...] = ()
) -> "list[subprocess.Popen[str]]":
    """A run of two processes; the second one has the arguments `last` too."""
    port = free_port()
    return [
        start(module, *arguments, *(last if rank else ()), rank=rank, ranks=2, port=port)
        for rank in range(2)
    ]


def start(
    module: str, *arguments: str | Path, rank: int = 0, ranks: int = 1, port: str = ""
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
            "MASTER_PORT": port,
        }
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
