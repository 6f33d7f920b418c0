"""Errors as one sentence, static files, and numbers in addresses."""

import errno
import gzip
import logging
import mimetypes
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from segment_concept.runtime.names import is_number
from segment_concept.types import InputError
from segment_concept.web.children import ChildError, RemoteError
from segment_concept.web.guard import ForbiddenError
from segment_concept.web.opened import MissingError
from segment_concept.web.project import ReadOnlyError, RevisionError
from segment_concept.web.uploads import OffsetError, TooLargeError

if TYPE_CHECKING:  # it has another place in Python 3.10
    from importlib.resources.abc import Traversable

log = logging.getLogger(__name__)

BINARY = "application/octet-stream"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
}
_LARGEST = 2**31 - 2


class BusyError(InputError):
    """Something else is done just now: ask again in a moment."""


class NotReadyError(InputError):
    """The tracker is not there, yet or any more; the message says why."""


def add_error_handlers(app: FastAPI) -> None:
    """Every error becomes {"error": a sentence} with the status that fits."""
    simple: list[tuple[type[Exception], int]] = [
        (ForbiddenError, 403),
        (MissingError, 404),
        (BusyError, 429),
        (NotReadyError, 503),
        (ReadOnlyError, 403),
        (TooLargeError, 413),
        (ChildError, 503),
        (InputError, 400),
    ]
    for kind, status in simple:
        app.add_exception_handler(kind, _with_status(status))

    @app.exception_handler(RevisionError)
    async def revision(_: Request, error: RevisionError) -> Response:
        return _error(409, str(error), rev=error.rev)

    @app.exception_handler(OffsetError)
    async def offset(_: Request, error: OffsetError) -> Response:
        reply = _error(409, str(error))
        reply.headers["upload-offset"] = str(error.offset)
        return reply

    @app.exception_handler(RemoteError)
    async def remote(_: Request, error: RemoteError) -> Response:
        return _error(404 if error.kind == "input" else 503, str(error))

    @app.exception_handler(RequestValidationError)
    async def validation(_: Request, error: RequestValidationError) -> Response:
        return _error(400, _first_problem(error))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        words = {404: "there is no such address", 405: "this address is not used in this way"}
        return _error(error.status_code, words.get(error.status_code, str(error.detail)))

    @app.exception_handler(OSError)
    async def disk(_: Request, error: OSError) -> Response:
        log.warning("%s", error)
        if error.errno in _FULL:
            return _error(507, "the disk is full: nothing was changed; free some space and repeat")
        return _error(
            507, f"nothing can be written ({error.strerror or error}): nothing was changed"
        )


def _with_status(status: int) -> Any:
    async def handle(_: Request, error: Exception) -> Response:
        return _error(status, str(error))

    return handle


def _error(status: int, error: str, **more: Any) -> JSONResponse:
    return JSONResponse({"error": error, **more}, status)


def _first_problem(error: RequestValidationError) -> str:
    problems = error.errors()
    if not problems:
        return "the request has another form than expected"
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
    words = str(first["msg"]).replace("\n", " ")
    return f"{where or 'the request'}: {words}"[:300]


def disk_sentence(error: OSError) -> str:
    """What to say when a result cannot be kept."""
    return (
        f"nothing can be written ({error.strerror or error}): what was tracked is kept; free some "
        "space and begin again"
    )


def number(
    value: str | None, name: str = "a frame", *, least: int = 0, most: int = _LARGEST
) -> int:
    """A whole number from an address. Raises InputError."""
    if value is None or not is_number(value) or not least <= int(value) <= most:
        raise InputError(f"{name} is a whole number from {least} to {most}")
    return int(value)


def text(value: str | None, name: str) -> str:
    """Short text from an address. Raises InputError."""
    if not value or len(value) > 64:
        raise InputError(f"{name} is text of up to 64 characters")
    return value


def static_file(name: str, request: Request) -> Response:
    """A file of the page, compressed if the browser takes that. Raises MissingError."""
    found = _static_files().get(name or "index.html")
    if found is None:
        raise MissingError("there is no such file")
    suffix = "." + found.name.rpartition(".")[2]
    kind = _TYPES.get(suffix) or mimetypes.guess_type(found.name)[0] or BINARY
    headers = {"cache-control": "no-cache", "vary": "accept-encoding"}
    content = found.read_bytes()
    if "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["content-encoding"] = _compressed(content), "gzip"
    return Response(content, media_type=kind, headers=headers)


@lru_cache(maxsize=64)
def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


@cache
def _static_files() -> "dict[str, Traversable]":
    """All files of the page, by their address. Nothing else can be asked for."""
    package = files("segment_concept")
    found: dict[str, Traversable] = {}

    def add(folder: "Traversable", prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                add(entry, f"{prefix}{entry.name}/")
            elif not entry.name.startswith("."):
                found[prefix + entry.name] = entry

    static = package / "web" / "static"
    if static.is_dir():
        add(static, "")
    charts = package / "assets" / "html" / "charts.css"
    if charts.is_file():
        found["charts.css"] = charts
    return found
