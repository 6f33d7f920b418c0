"""The process that decodes stills and reads the tables of videos, with limits.

A file that a stranger has made may ask for any amount of time and memory, or end the process.
"""

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.types import InputError, SegmentConceptError
from segment_concept.video.source import VideoInfo, VideoSource
from segment_concept.video.video_file import VideoFile
from segment_concept.web.children import Inbox, Link, Reply, Request
from segment_concept.web.frames import FrameCache, jpeg, open_media, suffix_of, table_of

log = logging.getLogger(__name__)

AHEAD = 2  # frames that are decoded in idle time, in the direction of travel
MEMORY = 8 << 30  # bytes of address space
CPU_SECONDS = 30  # of one still


@dataclass(frozen=True, slots=True)
class OpenVideo:
    """Request: look at a video. Its table follows in `TableMessage`s."""

    key: str
    path: str


@dataclass(frozen=True, slots=True)
class CloseVideo:
    """Message: forget a video."""

    key: str


@dataclass(frozen=True, slots=True)
class Still:
    """Request: a frame as JPEG; `width` 0 for that of the video."""

    key: str
    index: int
    width: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TableMessage:
    """The times of all frames that are known by now, in seconds."""

    key: str
    seconds: NDArray[np.float64]
    info: VideoInfo
    whole: bool
    about_frames: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """Request: the suffix that fits the content of a file."""

    path: str


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """The video with all frames that are known by now, for the tracker."""

    key: str
    source: VideoSource


@dataclass(slots=True)
class _Opened:
    cache: FrameCache
    newest: int = -1  # the index that was asked for last
    step: int = 1  # direction of travel
    grown: threading.Event = field(default_factory=threading.Event)


class _Server:
    """Answers requests in the order that serves the person: the newest large still first."""

    def __init__(self, inbox: Inbox, cpu_seconds: int = CPU_SECONDS) -> None:
        self._inbox, self._cpu_seconds = inbox, cpu_seconds
        self._videos: dict[str, _Opened] = {}

    def run(self) -> None:
        while not self._inbox.is_closed:
            message = self._inbox.take(_newest, None if not self._ahead() else 0)
            if isinstance(message, Request):
                self._inbox.send(self._reply(message))
            elif isinstance(message, CloseVideo):
                self._videos.pop(message.key, None)

    def _reply(self, request: Request) -> Reply:
        try:
            with _limited_cpu(self._cpu_seconds):
                return Reply(request.number, self._answer(request.content))
        except SegmentConceptError as error:
            return Reply(request.number, error=str(error), kind="input")
        except (OSError, MemoryError, ValueError, RuntimeError) as error:
            log.warning("%s: %s", request.content, error)
            what = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return Reply(request.number, error=f"the video cannot be read ({what})", kind="other")

    def _answer(self, content: Any) -> Any:
        if isinstance(content, OpenVideo):
            return self._open(content)
        if isinstance(content, Probe):
            return suffix_of(Path(content.path))
        assert isinstance(content, Still)
        video = self._videos.get(content.key)
        if video is None:
            raise InputError("the video is not open: open the project again")
        if video.grown.is_set():
            video.grown.clear()
            video.cache.forget_reader()
        if content.width == 0:
            video.step = -1 if content.index < video.newest else 1
            video.newest = content.index
        return jpeg(video.cache.frame(content.index), content.width)

    def _open(self, content: OpenVideo) -> TableMessage:
        source = open_media(Path(content.path))
        video = _Opened(FrameCache(source))
        self._videos[content.key] = video
        if isinstance(source, VideoFile) and not source.is_whole:
            work = threading.Thread(target=self._scan, args=(content.key, source), daemon=True)
            first = _table(content.key, source, whole=False)
            self._inbox.send(SourceMessage(content.key, source.so_far()))
            work.start()
            return first
        self._inbox.send(SourceMessage(content.key, source))
        return _table(content.key, source, whole=True)

    def _scan(self, key: str, source: VideoFile) -> None:
        """Read the times of all frames, beside the stills."""
        sent = time.monotonic()
        try:
            for _ in source.read_on():
                if key not in self._videos:
                    return
                self._videos[key].grown.set()
                if time.monotonic() - sent > 0.2:
                    sent = time.monotonic()
                    self._inbox.send(_table(key, source, whole=False))
            # The tracker then needs no second look at the file.
            self._inbox.send(SourceMessage(key, source.so_far()))
            self._inbox.send(_table(key, source, whole=True))
        except Exception as error:  # whatever a damaged file leads to: the page says it
            log.warning("%s: %s", source.name, error)
            empty = np.zeros(0)
            text = f"the times of the frames cannot be read ({error})"
            self._inbox.send(TableMessage(key, empty, source.info, False, 0, text))

    def _ahead(self) -> bool:
        """Decode a frame that will probably be wanted next; False where there is none."""
        for video in self._videos.values():
            if video.newest < 0:
                continue
            for n in range(1, AHEAD + 1):
                index = video.newest + n * video.step
                if 0 <= index < (video.cache.source.info.frames or 0) and index not in video.cache:
                    with suppress(SegmentConceptError), _limited_cpu(self._cpu_seconds):
                        video.cache.frame(index)
                        return index in video.cache
                    video.newest = -1
                    return False
        return False


def _table(key: str, source: VideoSource, *, whole: bool) -> TableMessage:
    about = source.about_frames if isinstance(source, VideoFile) else source.info.frames
    return TableMessage(key, table_of(source), source.info, whole, about or 0)


def _newest(messages: list[Any]) -> int | None:
    """Large stills before small ones, and the newest first; everything else in its order."""
    for place, message in enumerate(messages):
        if not (isinstance(message, Request) and isinstance(message.content, Still)):
            return place
    large = [n for n, message in enumerate(messages) if message.content.width == 0]
    return large[-1] if large else len(messages) - 1


class _limited_cpu:  # noqa: N801  (used like a function)
    """End the process if one still needs too much time; a hostile file can ask for any."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._set(self._seconds)

    def __exit__(self, *_: object) -> None:
        self._set(None)

    def _set(self, more: int | None) -> None:
        if not self._seconds:
            return
        with suppress(ImportError, ValueError, OSError):
            import resource

            hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
            used = time.process_time()
            soft = resource.RLIM_INFINITY if more is None else int(used) + more
            resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def limit_memory(most: int) -> None:
    """Limit the address space of this process, where the system can; 0 for no limit."""
    if not most:
        return
    with suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def serve_frames(link: Link, limits: Mapping[str, int]) -> None:
    """Main function of the process.

    Args:
        link: to the server.
        limits: `memory` in bytes of address space, `cpu_seconds` of a still; 0 for none.
    """
    cv2.setNumThreads(1)
    limit_memory(limits.get("memory", MEMORY))
    _Server(Inbox(link), limits.get("cpu_seconds", CPU_SECONDS)).run()
