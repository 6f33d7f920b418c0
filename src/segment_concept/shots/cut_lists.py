"""Read cut lists: a CMX 3600 EDL, or frames and times in a text file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from segment_concept.runtime.limits import read_text
from segment_concept.types import InputError
from segment_concept.video.source import VideoSource
from segment_concept.video.timecode import frame_of_timecode, index_of, parse_at

_MAX_BYTES = 16 << 20  # of a cut list
_CODE = r"\d{1,2}:\d\d:\d\d[:;.]\d{2,3}"
_EVENT = re.compile(
    # number, reel, tracks, transition and its length, source in and out, record in and out
    rf"^\s*\d+\s+(?P<reel>\S.*?)\s+(?P<tracks>\S+)\s+(?:C|D|W\d+|K\s*[BO]?)(?:\s+(?P<long>\d+))?"
    rf"\s+{_CODE}\s+{_CODE}\s+(?P<start>{_CODE})\s+(?P<end>{_CODE})\s*$"
)
_LOOKS_LIKE_EDL = re.compile(rf"^\s*TITLE:|^\s*FCM:|{_CODE}\s+{_CODE}\s+{_CODE}\s+{_CODE}", re.M)
_LOOKS_LIKE_EVENT = re.compile(rf"^\s*\d+\s.*{_CODE}")


@dataclass(frozen=True, slots=True)
class _Event:
    """A video event on the timeline, in frames of its timecode."""

    start: int
    shown: int  # first frame after the transition from the event before
    end: int  # the first frame after it


def read_cuts(path: Path, source: VideoSource) -> frozenset[int]:
    """Frames of a video that start a shot, read from a CMX 3600 EDL or a plain list.

    An EDL counts by the record times of its video events; the earliest is the first frame of the
    video. After a dissolve or wipe the shot starts when the transition is over, and black between
    two events is a shot. Timecodes are read at the frame rate of the video, rounded to an integer
    (23.976 as 24), and as drop-frame if `;` or `FCM: DROP FRAME` says so.

    A plain list has frames (120) and times (4.8s), separated by spaces, commas or line breaks;
    # starts a comment.

    Raises:
        InputError: the file is missing or not text, a line is invalid, or no cut within the video
            is listed.
    """
    text = read_text(path, "cut list", _MAX_BYTES)
    try:
        if _LOOKS_LIKE_EDL.search(text):
            cuts = cuts_of_edl(text, source.info.rate)
        else:
            cuts = frozenset(_listed(text, source))
    except InputError as error:
        raise InputError(f"{path}, {error}") from error
    return _within(cuts, path, source)


def _within(cuts: frozenset[int], path: Path, source: VideoSource) -> frozenset[int]:
    if not cuts:
        raise InputError(
            f"{path} lists no cut: expected frame indices, times such as 4.8s, or an EDL"
        )
    length = source.info.frames
    if length is not None and min(cuts) >= length:
        raise InputError(
            f"{path}: the first cut is on frame {min(cuts)} and {source.name} has about {length} "
            "frames: check that the list belongs to this video"
        )
    return cuts


def _listed(text: str, source: VideoSource) -> Iterator[int]:
    for number, line in enumerate(text.splitlines(), start=1):
        for word in line.partition("#")[0].replace(",", " ").split():
            try:
                index = index_of(source, parse_at(word))
            except InputError as error:
                raise InputError(f"line {number}: {error}") from error
            if index < 0:
                raise InputError(f"line {number}: frame {index}: frames count from 0")
            if index > 0:  # the first shot starts there anyway
                yield index


def cuts_of_edl(text: str, rate: Fraction) -> frozenset[int]:
    """Frames that start a shot, from the text of a CMX 3600 EDL at `rate` frames per second.

    Raises:
        InputError: an event cannot be read, or a timecode does not exist at that rate.
    """
    events = list(_events(text, rate))
    if not events:
        raise InputError("no video event: expected lines of a CMX 3600 EDL on track V")
    first, last = min(e.start for e in events), max(e.end for e in events)
    edges = {e.shown for e in events} | {e.end for e in events}
    # During a dissolve, the end of the first event lies within the transition.
    inside = {t for e in events for t in edges if e.start <= t < e.shown}
    return frozenset(t - first for t in edges - inside if first < t < last)


def _events(text: str, rate: Fraction) -> Iterator[_Event]:
    drops = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip().upper().startswith("FCM:"):
            drops = "NON" not in line.upper()
        match = _EVENT.match(line)
        if match is None:
            if _LOOKS_LIKE_EVENT.match(line):
                raise InputError(
                    f"line {number}: {line.strip()!r} is not an event of a CMX 3600 EDL: expected "
                    "number, reel, track, transition, and four timecodes"
                )
            continue
        if not _has_picture(match["tracks"]):
            continue
        try:
            start, end = (frame_of_timecode(match[n], rate, drops=drops) for n in ("start", "end"))
        except InputError as error:
            raise InputError(f"line {number}: {error}") from error
        if end < start:
            raise InputError(f"line {number}: the event ends ({match['end']}) before it starts")
        if end > start:  # the first line of a transition has no length
            yield _Event(start, min(end, start + int(match["long"] or 0)), end)


def _has_picture(tracks: str) -> bool:
    """Whether tracks have video: V, V2, AA/V, B (both). A, A2 and AA are audio only."""
    return "V" in tracks.upper() or tracks.upper() == "B"
