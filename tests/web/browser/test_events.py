"""The stream of events goes on where it broke off."""

from collections.abc import Iterator
from typing import Any

import pytest

from helpers.web_files import Files, serve

EVENTS, PIECE = 10, 3


class _Breaking(Files):
    """Sends events from the one after the last that is known, and hangs up after three."""

    def do_GET(self) -> None:  # noqa: N802 (named by http.server)
        if not self.path.startswith("/api/v1/projects/p/events"):
            return super().do_GET()
        known = self.headers.get("Last-Event-ID") or self.path.partition("after=")[2]
        first = int(known.partition("-")[2]) + 1
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"retry: 20\n\n")
        for number in range(first, min(first + PIECE, EVENTS + 1)):
            text = f'id: a-{number}\nevent: progress\ndata: {{"done": {number}}}\n\n'
            self.wfile.write(text.encode())
        self.close_connection = True
        return None


@pytest.fixture
def address() -> Iterator[str]:
    with serve(_Breaking) as found:
        yield found


FOLLOW = """async last => {
        const { follow, ProjectApi } = await import('/api.js');
        const seen = [], connections = [];
        await new Promise(done => {
          const source = follow(new ProjectApi('p'), 'a-0', {
            event: (name, data, id) => {
              seen.push([name, data.done, id]);
              if (data.done === last) { source.close(); done(); }
            },
            connected: (now, refused) => {
              connections.push([now, refused]);
              if (refused) done();
            },
          });
        });
        return { seen, connections };
    }"""


def test_no_event_is_lost_or_doubled_when_the_connection_breaks(window: Any, address: str) -> None:
    window.goto(f"{address}/favicon.svg")
    found = window.evaluate(FOLLOW, EVENTS)
    assert found["seen"] == [["progress", n, f"a-{n}"] for n in range(1, EVENTS + 1)]
    assert found["connections"][:3] == [[True, False], [False, False], [True, False]]


class _Refusing(Files):
    """A server that does not know the page."""

    def do_GET(self) -> None:  # noqa: N802 (named by http.server)
        if self.path.startswith("/api/"):
            return self.send_error(401)
        return super().do_GET()


def test_a_server_that_refuses_is_told_from_one_that_is_away(window: Any) -> None:
    with serve(_Refusing) as address:
        window.goto(f"{address}/favicon.svg")
        assert window.evaluate(FOLLOW, 1)["connections"] == [[False, True]]
