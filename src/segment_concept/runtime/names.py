"""Names that come from a file: as part of a path, and as they are shown."""

from segment_concept.types import InputError

_LONGEST = 255  # bytes, of one component of a path on the usual file systems
_FORBIDDEN = frozenset('/\\:*?"<>|')


def checked_name(name: str, source: object) -> str:
    """Return a name that is safe as one component of a path.

    Names of videos and objects stand in lists and metadata that a stranger may have written.
    `../../x` or `/etc/x` would make a program read or write outside of its folders.

    Args:
        name: as it stands in the file.
        source: the file, for the error.

    Raises:
        InputError: the name is empty, `.` or `..`, has a separator, a control character or a
            character that Windows forbids, or is too long.
    """
    unusable = (
        name in ("", ".", "..")
        or not _FORBIDDEN.isdisjoint(name)
        or any(ord(character) < 32 for character in name)
        or len(name.encode("utf-8", "surrogateescape")) > _LONGEST
    )
    if unusable:
        raise InputError(
            f"{source}: {name[:60]!r} cannot be the name of a folder: expected a plain name "
            "without / \\ : or control characters"
        )
    return name


def printable(text: str) -> str:
    """Text of any origin as a terminal may show it: control characters are written out."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def is_number(text: str) -> bool:
    """Whether a text is a decimal number of ASCII digits, unlike `str.isdigit`, which takes ²."""
    return text.isascii() and text.isdecimal() and len(text) <= 18
