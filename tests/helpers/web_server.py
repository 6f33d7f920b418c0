"""A real server of the page in a process of its own, with a tracker that follows colors."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

import segment_concept

T = TypeVar("T")
COLORS = "helpers.video_toys:ColorTracker"
PATIENCE = 240.0  # seconds; only a server that hangs needs them


@dataclass
class LiveServer:
    """`segment-concept web`, running.

    Attributes:
        root: the folder that it serves.
        url: the address with the token, for a browser.
        base: scheme, host and port.
    """

    root: Path
    video: Path | None = None
    recipe: str = COLORS
    options: tuple[str, ...] = ()
    url: str = ""
    base: str = ""
    token: str = ""
    project: str = ""
    process: Any = field(default=None, repr=False)

    def start(self) -> "LiveServer":
        """Start it, and wait until it has said its address."""
        source, tests = Path(segment_concept.__file__).parents[1], Path(__file__).parents[1]
        paths = [str(source), str(tests), os.environ.get("PYTHONPATH", "")]
        command = [sys.executable, "-m", "segment_concept", "web", str(self.video or self.root)]
        command += ["--no-browser", "--recipe", self.recipe, *self.options]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.search(r"((http://[^/]*)/#t=([\w-]+)(?:&p=(\w+))?)", line)
            if found:
                self.url, self.base, self.token = found[1], found[2], found[3]
                self.project = found[4] or ""
                return self
        raise AssertionError(f"the server has ended with {self.process.wait()}")

    def client(self) -> httpx.Client:
        """A client that has shown the token."""
        headers = {"origin": self.base, "content-type": "application/json"}
        found = httpx.Client(base_url=f"{self.base}/api/v1", headers=headers, timeout=PATIENCE)
        bearer = {"authorization": f"Bearer {self.token}"}
        assert found.post("/session", headers=bearer, content="{}").status_code == 200
        return found

    def kill(self) -> None:
        """End it as a crash or a power failure would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ctrl-C; returns the exit code."""
        self.process.send_signal(2)
        return int(self.process.wait(PATIENCE))


def wait_until(get: Callable[[], T], is_so: Callable[[T], bool]) -> T:
    """Ask again until the answer is as it should be."""
    end = time.monotonic() + PATIENCE
    while not is_so(found := get()):
        assert time.monotonic() < end, f"still {found}"
        time.sleep(0.02)
    return found
