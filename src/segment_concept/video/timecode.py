"""Places in a video: a frame's number, a moment, or an editor's timecode."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from segment_concept.types import InputError
from segment_concept.video.source import VideoSource

_FRAME = re.compile(r"-?\d{1,12}", re.ASCII)
_SECONDS = re.compile(r"(\d{1,12}(?:\.\d*)?|\.\d+)s|\d{1,12}\.\d*|\.\d+", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2}(?:\.\d*)?)", re.ASCII)
_TIMECODE = re.compile(r"\d{1,3}:\d\d:\d\d[:;]\d{2,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Seconds:
    """A moment, counted from the first frame."""

    value: float

    def __post_init__(self) -> None:
        if not 0 <= self.value < math.inf:
            raise InputError(f"{self.value:g} s: expected 0 or more")


@dataclass(frozen=True, slots=True)
class Timecode:
    """`HH:MM:SS:FF`, counted from the first frame at the video's rate."""

    code: str


TimePoint = int | Seconds | Timecode  # a frame's index, a moment, or a timecode


def parse_at(text: str) -> TimePoint:
    """A frame (`12`), seconds (`1.5`, `1.5s`), a time (`01:30`, `00:01:30.5`) or a timecode
    (`00:01:30:12`).

    Raises:
        InputError: it is none of these.
    """
    stripped = text.strip()
    if _FRAME.fullmatch(stripped):
        return int(stripped)
    if _SECONDS.fullmatch(stripped):
        return Seconds(float(stripped.rstrip("s")))
    if clock := _CLOCK.fullmatch(stripped):
        hours, minutes, seconds = clock.groups()
        if float(seconds) < 60 and (hours is None or int(minutes) < 60):
            return Seconds(3600.0 * int(hours or 0) + 60.0 * int(minutes) + float(seconds))
    if _TIMECODE.fullmatch(stripped):
        return Timecode(stripped)
    raise InputError(
        f"{text!r} is no place in a video: expected a frame such as 12, seconds such as 1.5s, "
        "or a time such as 00:01:30 or 00:01:30:12"
    )


def index_of(source: VideoSource, at: TimePoint) -> int:
    """The frame at a place in a video.

    Raises:
        InputError: the video is over by then, or has no such timecode.
    """
    if isinstance(at, Seconds):
        return source.index_at(at.value)
    if isinstance(at, Timecode):
        return frame_of_timecode(at.code, source.info.rate)
    return at


def frame_of_timecode(code: str, rate: Fraction, *, drops: bool = False) -> int:
    """`01:02:03:04` as a number of frames; `;` before the frames says that numbers are dropped.

    Raises:
        InputError: there is no such timecode at that rate.
    """
    a_second = max(1, round(rate))
    hours, minutes, seconds, frames = (int(part) for part in re.split("[:;.]", code))
    if minutes > 59 or seconds > 59 or frames >= a_second:
        raise InputError(f"there is no timecode {code} at {a_second} frames a second")
    count = ((hours * 60 + minutes) * 60 + seconds) * a_second + frames
    if not (drops or ";" in code) or a_second % 30:
        return count
    # Two numbers of 30 are left out every minute, but not every tenth.
    passed = hours * 60 + minutes
    return count - a_second // 15 * (passed - passed // 10)
