"""Check that HTML is well formed."""

from html.parser import HTMLParser


class Strict(HTMLParser):
    """Fails where tags do not close in order."""

    empty = frozenset({"meta", "img", "rect", "path", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.empty:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in self.empty or self.open.pop() == tag


def well_formed(text: str) -> Strict:
    reader = Strict()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader
