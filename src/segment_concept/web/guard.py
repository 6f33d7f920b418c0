"""What protects the page: who may ask, from where, how much, and which files. Knows no route.

The server is for one person on one machine, but every website in that person's browser can send
requests to it, and whoever is on the network can if it listens there. So a request needs a token,
the right `Host` (against DNS rebinding), and for changes the right `Origin` and a content type
that no form can send (against cross-site requests).
"""

import asyncio
import json
import secrets
import stat
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from segment_concept.types import InputError, SegmentConceptError

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MIB = 1 << 20
SAFE = frozenset({"GET", "HEAD"})
API, EXCHANGE = "/api/", "/api/v1/session"
CONTENT_TYPES = frozenset({"application/json", "application/octet-stream"})
SAME_SITE = frozenset({"same-origin", "none", ""})
SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; media-src 'self'; connect-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class ForbiddenError(SegmentConceptError):
    """The path lies outside of the folder that may be browsed, or is no file or folder."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a client may ask for."""

    json_bytes: int = MIB
    piece_bytes: int = 8 * MIB  # of an upload, or a mask
    header_bytes: int = 16 << 10
    at_once: int = 10  # requests of a client that are answered at the same time
    streams: int = 16  # connections of a client on which it hears events
    body_seconds: float = 60.0  # in which a body must have arrived
    upload_bytes: int = 20 << 30
    free_share: float = 0.1  # of the disk that uploads leave free


@dataclass(slots=True)
class Access:
    """Who may use the server.

    Attributes:
        hosts: values of `Host` that are this server, such as `127.0.0.1:8000`.
        token: the secret in the address that the command opens.
        cookie_name: of the cookie that replaces it.
    """

    hosts: frozenset[str]
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    cookie_name: str = "segment-concept"
    _cookies: set[str] = field(default_factory=set)

    def is_token(self, given: str) -> bool:
        """Compare in constant time."""
        return secrets.compare_digest(given.encode(), self.token.encode())

    def new_cookie(self) -> str:
        """A secret for the browser that has shown the token."""
        value = secrets.token_urlsafe(32)
        self._cookies.add(value)
        return value

    def is_known(self, headers: "Headers") -> bool:
        """Whether a request has the token or a cookie."""
        if self.has_token(headers):
            return True
        given = headers.cookies.get(self.cookie_name, "")
        found = [secrets.compare_digest(given.encode(), known.encode()) for known in self._cookies]
        return any(found)

    def has_token(self, headers: "Headers") -> bool:
        """Whether a request has the token itself, which no other website knows."""
        scheme, _, given = headers["authorization"].partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given.strip())

    def origins(self) -> frozenset[str]:
        """Values of `Origin` that are this server; https if a proxy is in front."""
        return frozenset(
            f"{scheme}://{host}" for host in self.hosts for scheme in ("http", "https")
        )


class Headers:
    """Headers by lower-case name; missing ones are empty."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = list(raw)

    def __getitem__(self, name: str) -> str:
        found = self.all(name)
        return found[0] if found else ""

    def all(self, name: str) -> list[str]:
        """Every value."""
        wanted = name.encode()
        return [v.decode("latin-1") for k, v in self._raw if k.lower() == wanted]

    @property
    def size(self) -> int:
        """Bytes of all names and values."""
        return sum(len(k) + len(v) for k, v in self._raw)

    @property
    def cookies(self) -> dict[str, str]:
        """Cookies by name."""
        parts = (part.partition("=") for part in self["cookie"].split(";"))
        return {name.strip(): value.strip() for name, _, value in parts}


def refusal(scope: Scope, access: Access, limits: Limits) -> tuple[int, str] | None:
    """Why a request is refused before its body is read: status and sentence; None if it is not."""
    headers, path, method = Headers(scope["headers"]), scope["path"], scope["method"]
    if headers.size > limits.header_bytes:
        return 413, f"the headers are larger than {limits.header_bytes} bytes"
    if len(headers.all("host")) != 1 or headers["host"].lower() not in access.hosts:
        return 403, "this address is not served here: open the one that the command printed"
    if "\0" in path or "\\" in path or ".." in path.split("/"):
        return 403, "this path is not served"
    if not path.startswith(API):
        return None if method in SAFE else (403, "only requests of the page change something")
    if headers["sec-fetch-site"].lower() not in SAME_SITE:
        return 403, "another website has sent this request"
    if method not in SAFE:
        found = _refused_change(headers, access)
        if found is not None:
            return found
    known = access.has_token(headers) if path == EXCHANGE else access.is_known(headers)
    return None if known else (401, "the token is missing: open the address the command printed")


def _refused_change(headers: Headers, access: Access) -> tuple[int, str] | None:
    origin = headers["origin"]
    by_program = not origin and access.has_token(headers)  # browsers always send an origin
    if not by_program and origin not in access.origins():
        return 403, "another website has sent this request"
    if headers["content-type"].lower() not in CONTENT_TYPES:
        return 415, "send application/json or application/octet-stream"
    return None


class Guard:
    """Wraps an application (ASGI): refuses, limits, and adds the headers of every reply."""

    def __init__(self, app: App, access: Access, limits: Limits) -> None:
        self._app, self._access, self._limits = app, access, limits
        self._busy: Counter[tuple[str, bool]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no web sockets
        guarded = _with_headers(send)
        found = refusal(scope, self._access, self._limits)
        if found is not None:
            await _answer(guarded, *found)
            return
        is_stream = scope["path"].endswith("/events")
        client = ((scope.get("client") or ("",))[0], is_stream)
        if self._busy[client] >= (self._limits.streams if is_stream else self._limits.at_once):
            await _answer(guarded, 429, "too many requests at once: wait for the others")
            return
        self._busy[client] += 1
        try:
            await self._serve(scope, receive, guarded)
        finally:
            self._busy[client] -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in SAFE:
            await self._app(scope, receive, send)
            return
        is_piece = Headers(scope["headers"])["content-type"].lower() == "application/octet-stream"
        most = self._limits.piece_bytes if is_piece else self._limits.json_bytes
        try:
            body = await asyncio.wait_for(
                _read_body(scope, receive, most), self._limits.body_seconds
            )
        except asyncio.TimeoutError:
            await _answer(send, 413, "the request did not arrive in time: send it again")
            return
        if body is None:
            await _answer(send, 413, f"the request is larger than {most} bytes: send less")
            return
        await self._app(scope, _replayed(body, receive), send)


async def _read_body(scope: Scope, receive: Receive, most: int) -> bytes | None:
    """The body; None if it is too large, which is known from its header at best."""
    announced = Headers(scope["headers"])["content-length"]
    if announced and (not announced.isdecimal() or len(announced) > 15 or int(announced) > most):
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body"):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body, then whatever follows."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            given += [
                (name.encode(), value.encode())
                for name, value in SECURITY_HEADERS.items()
                if name.encode() not in names
            ]
            if b"cache-control" not in names:
                given.append((b"cache-control", b"no-store"))
            message = {**message, "headers": given}
        await send(message)

    return guarded


async def _answer(send: Send, status: int, error: str) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def path_inside(root: Path, name: str) -> Path:
    """The file or folder of that name below `root`, with links followed.

    Args:
        root: the folder that may be browsed.
        name: a relative path with `/`, as the page shows it; empty for `root` itself.

    Raises:
        ForbiddenError: it lies outside of `root`, is absolute, or is a device or pipe.
        InputError: it is not there.
    """
    if "\0" in name or "\\" in name or name.startswith("/") or ":" in name.split("/")[0][1:2]:
        raise ForbiddenError("this is no name below the folder that is open here")
    base = root.resolve()
    try:
        found = (base / name).resolve(strict=True)
        mode = found.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"there is no {name[:200]!r}: look again, it may have been moved"
        ) from error
    if not found.is_relative_to(base):
        raise ForbiddenError(f"{name[:200]!r} lies outside of the folder that is open here")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ForbiddenError(f"{name[:200]!r} is a device or a pipe, which is not opened")
    return found
