"""Findings of a check: location, problem and remedy."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """An error prevents or invalidates a result; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of a dataset or of predictions; fields that do not apply are empty."""

    severity: Severity
    message: str
    video: str = ""
    object_name: str = ""
    frame: str = ""

    def __str__(self) -> str:
        places = (("video", self.video), ("object", self.object_name), ("frame", self.frame))
        location = ", ".join(f"{kind} {name}" for kind, name in places if name)
        return f"{location}: {self.message}" if location else self.message


def error(message: str, video: str = "", object_name: str = "", frame: str = "") -> Finding:
    """Make a finding that prevents a result."""
    return Finding(Severity.ERROR, message, video, object_name, frame)


def warning(message: str, video: str = "", object_name: str = "", frame: str = "") -> Finding:
    """Make a finding that does not prevent a result."""
    return Finding(Severity.WARNING, message, video, object_name, frame)


def errors_of(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The errors among the findings."""
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)


def listed(names: Sequence[str], most: int = 5) -> str:
    """List the first few names, and count the rest."""
    first = ", ".join(names[:most])
    return f"{first} and {len(names) - most} more" if len(names) > most else first
