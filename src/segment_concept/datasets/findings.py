"""What a check has to say: where, what, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """An error stops the work or spoils its result; a warning is worth knowing."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark about a dataset or about predictions; empty fields do not apply."""

    severity: Severity
    message: str
    video: str = ""
    object_name: str = ""
    frame: str = ""

    def __str__(self) -> str:
        places = (("video", self.video), ("object", self.object_name), ("frame", self.frame))
        place = ", ".join(f"{kind} {name}" for kind, name in places if name)
        return f"{place}: {self.message}" if place else self.message


def error(message: str, video: str = "", object_name: str = "", frame: str = "") -> Finding:
    """A finding that stops the work."""
    return Finding(Severity.ERROR, message, video, object_name, frame)


def warning(message: str, video: str = "", object_name: str = "", frame: str = "") -> Finding:
    """A finding that is worth knowing."""
    return Finding(Severity.WARNING, message, video, object_name, frame)


def errors_of(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The errors among the findings."""
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first few names and how many more there are."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
