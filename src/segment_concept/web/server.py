"""Run the server: its address, its token, the browser, and when it ends by itself."""

import asyncio
import ipaddress
import logging
import socket
import threading
import time
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from segment_concept.types import InputError, SegmentConceptError
from segment_concept.web.app import make_app
from segment_concept.web.guard import Access
from segment_concept.web.workspace import Settings, Workspace

log = logging.getLogger(__name__)

IDLE_SECONDS = 75  # after which a connection is closed
POLL = 1.0  # seconds between two looks at whether a page is open


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the server is reached.

    Attributes:
        host, port: where it listens; port 0 for any free one.
        token: the secret; None to make one.
        allowed: further values of `Host`, for proxies.
        opens_browser: whether to open the page.
        ends_after: seconds without an open page after which the server ends; None for never.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    allowed: tuple[str, ...] = ()
    opens_browser: bool = True
    ends_after: float | None = 600.0

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False


def read_token(option: str | None) -> str | None:
    """The secret that `--token FILE|auto` gives. Raises InputError."""
    if option in (None, "auto"):
        return None
    from segment_concept.runtime.limits import read_text

    token = read_text(Path(str(option)), "file with a token", 4096).strip()
    if len(token) < 32 or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(f"{option} holds no token: write 32 or more letters and digits into it")
    return token


def run_server(
    settings: Settings, options: ServerOptions, media: Path | None, say: Callable[[str], None]
) -> None:
    """Serve until Ctrl-C, or until no page has been open for a while.

    Args:
        settings: what to serve.
        options: how it is reached.
        media: a video to open at once.
        say: prints a line for the person.

    Raises:
        InputError: the address cannot be used, or the video cannot be opened.
    """
    with suppress(KeyboardInterrupt):  # by then everything is saved
        asyncio.run(_serve(settings, options, media, say))


async def _serve(
    settings: Settings, options: ServerOptions, media: Path | None, say: Callable[[str], None]
) -> None:
    listener = _listener(options)
    port = listener.getsockname()[1]
    names = {options.host, "127.0.0.1", "localhost"} if options.is_local else {options.host}
    shown = f"[{options.host}]" if ":" in options.host else options.host
    hosts = frozenset({f"{n}:{port}" for n in names} | {f"{shown}:{port}"} | set(options.allowed))
    access = Access(hosts, cookie_name=f"segment-concept-{port}")
    if options.token is not None:
        access.token = options.token
    workspace = Workspace(settings)
    config = uvicorn.Config(
        make_app(workspace, access),
        log_level="warning",
        access_log=False,
        ws="none",
        timeout_keep_alive=IDLE_SECONDS,
        h11_max_incomplete_event_size=settings.limits.header_bytes,
        http="h11",
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    server = _Server(config)
    server.before_shutdown = workspace.say_goodbye
    main = asyncio.create_task(server.serve([listener]))
    try:
        await _until(lambda: server.started or main.done())
        if main.done():
            await main
            return
        fragment = f"t={access.token}"
        if media is not None:
            project = await workspace.open_path(media)
            fragment += f"&p={project.id}"
        address = f"http://{shown}:{port}/#{fragment}"
        say(f"the page: {address}")
        if options.opens_browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        if options.ends_after is not None:
            await _until_alone(workspace, options.ends_after, main)
            server.should_exit = True
    except SegmentConceptError:
        server.should_exit = True
        await main
        raise
    await main


class _Server(uvicorn.Server):
    """Ends the streams of events first: pages would hold the connections open for ever."""

    before_shutdown: Callable[[], None]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close everything."""
        self.before_shutdown()
        await super().shutdown(sockets)


def _listener(options: ServerOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((options.host, options.port))
    except OSError as error:
        found.close()
        raise InputError(
            f"{options.host}:{options.port} cannot be used ({error.strerror}): give another "
            "--port or --host"
        ) from error
    return found


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.02)


async def _until_alone(workspace: Workspace, seconds: float, main: "asyncio.Task[None]") -> None:
    """Wait until no page has been open for a while and nothing is tracked."""
    workspace.page_left()
    while not main.done():
        await asyncio.sleep(POLL)
        if workspace.listeners or workspace.tracking.is_busy:
            workspace.page_left()
        elif time.monotonic() - workspace.last_page_left > seconds:
            return
