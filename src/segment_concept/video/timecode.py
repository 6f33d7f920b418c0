"""timecode."""

from dataclasses import dataclass

from segment_concept.types import InputError


@dataclass(frozen=True, slots=True)
class Seconds:
    """A moment, counted from the first frame."""

    value: float

    def __post_init__(self) -> None:
        if not self.value >= 0:
            raise InputError(f"{self.value:g} s: expected 0 or more")


TimePoint = int | Seconds  # a frame's index, or a moment


def parse_at(text: str) -> TimePoint:
    """`12` is a frame, `1.5s` a moment. Raises InputError."""
    stripped = text.strip()
    try:
        if stripped.endswith("s"):
            return Seconds(float(stripped[:-1]))
        return int(stripped)
    except ValueError:
        raise InputError(
            f"{text!r} is no place in a video: expected a frame such as 12 or seconds such as 1.5s"
        ) from None
