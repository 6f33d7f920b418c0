"""The files of the page behind a server that can do nothing else."""

import contextlib
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from threading import Thread
from typing import Any

STATIC = Path(str(files("segment_concept"))) / "web" / "static"


class Files(SimpleHTTPRequestHandler):
    """Serves the files of the page, and logs nothing."""

    def __init__(self, *request: Any) -> None:
        super().__init__(*request, directory=str(STATIC))

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serve(handler: type[Files] = Files) -> Iterator[str]:
    """Serve on a free port; yields the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
