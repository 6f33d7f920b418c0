"""What the server and the process that tracks say to each other, and that process's main loop.

The process is busy with one run at a time. Between two frames of it, it answers whatever a person
waits for: a preview, the mask of a prompt.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segment_concept.types import Box, Points, SegmentConceptError
from segment_concept.video.source import VideoSource
from segment_concept.web.children import Inbox, Link, Reply, Request
from segment_concept.web.spans import Span
from segment_concept.web.store import Result

if TYPE_CHECKING:  # they load torch
    from segment_concept.tracking.api import VideoTracker
    from segment_concept.web.runner import TrackedVideo

log = logging.getLogger(__name__)

_WORK = 4  # the rank of what takes long, see `_rank`
IDLE = 0.25  # seconds between two looks for messages, if there is nothing to do


@dataclass(frozen=True, slots=True)
class ProjectVideo:
    """Message: a video, or more of it."""

    key: str
    source: VideoSource


@dataclass(frozen=True, slots=True)
class Forget:
    """Message: a project was closed."""

    key: str


@dataclass(frozen=True, slots=True)
class ComputeFeatures:
    """Message: a person rests on this frame, and will probably prompt there."""

    key: str
    frame: int


@dataclass(frozen=True, slots=True)
class Preview:
    """Request: the mask of a prompt that is not an edit yet, as (score, runs).

    Attributes:
        before: runs of the mask that the prompt corrects; None for a new object.
    """

    key: str
    frame: int
    prompt: Points | Box
    before: bytes | None


@dataclass(frozen=True, slots=True)
class Solve:
    """Request: the mask of a prompt that is an edit, as `Result`; refined if wanted."""

    key: str
    object_id: int
    frame: int
    tag: int
    prompt: Points | Box
    before: bytes | None
    refine: bool = True


@dataclass(frozen=True, slots=True)
class Anchor:
    """A mask that a person has given or kept."""

    frame: int
    runs: bytes


@dataclass(frozen=True, slots=True)
class SpanOrder:
    """Frames of an object to track.

    Attributes:
        span: the frames.
        anchors: where tracking begins: earlier ones first, the nearest last.
        snapshot: a file with the state of tracking after frame `snapshot_frame`, to begin there.
        skipped: (first, last) of frames on which a person said that the object is not there.
        keyframes: of shots that a person has confirmed.
    """

    span: Span
    anchors: tuple[Anchor, ...]
    snapshot: str | None = None
    snapshot_frame: int = 0
    skipped: tuple[tuple[int, int], ...] = ()
    keyframes: tuple[Anchor, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """Message: track these frames. `snapshots` is the folder for states of tracking."""

    key: str
    number: int
    tag: int
    orders: tuple[SpanOrder, ...]
    snapshots: str


@dataclass(frozen=True, slots=True)
class StopRun:
    """Message: end a run after the present frame; `order` to end one of its spans only."""

    number: int
    order: int | None = None


@dataclass(frozen=True, slots=True)
class ExportRun:
    """Message: write outputs of a project; see `exports.write_export`."""

    key: str
    number: int
    project: str
    folder: str
    formats: tuple[str, ...]
    tags: dict[int, list[tuple[int, int, int]]]  # object -> (first, last, tag)
    cuts: tuple[int, ...]
    recipe: str


@dataclass(frozen=True, slots=True)
class TrackerState:
    """From the process: whether it can track. `state` is loading, ready or failed."""

    state: str
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """From the process: what a run has found on a frame; `order` tells for which span."""

    key: str
    number: int
    results: tuple[tuple[int, Result], ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """From the process: how far an export is."""

    key: str
    number: int
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class RunEnded:
    """From the process: a run is over. `error` says why if it did not come to its end."""

    key: str
    number: int
    error: str | None = None


def serve_work(link: Link, recipe: str, device: str) -> None:
    """Main function of the process."""
    inbox = Inbox(link)
    inbox.send(TrackerState("loading"))
    try:
        from segment_concept.web.runner import load_tracker

        tracker = load_tracker(recipe, device)
    except Exception as error:  # weights, devices, a module of the user: the page says it
        log.warning("%s", error)
        inbox.send(TrackerState("failed", _sentence(error)))
        return
    inbox.send(TrackerState("ready"))
    _Worker(inbox, tracker).serve()


class _Worker:
    def __init__(self, inbox: Inbox, tracker: "VideoTracker") -> None:
        self._inbox, self._tracker = inbox, tracker
        self._videos: dict[str, TrackedVideo] = {}

    def serve(self) -> None:
        while not self._inbox.is_closed:
            message = self._inbox.take(_most_urgent, IDLE)
            if isinstance(message, Run):
                self._run(message)
            elif isinstance(message, ExportRun):
                self._export(message)
            elif message is not None:
                self._handle(message)

    def _handle(self, message: Any) -> None:
        """Everything but runs."""
        from segment_concept.web.runner import TrackedVideo

        if isinstance(message, Request):
            self._inbox.send(self._reply(message))
        elif isinstance(message, ProjectVideo):
            old = self._videos.get(message.key)
            self._videos[message.key] = TrackedVideo(message.source, self._tracker, old)
        elif isinstance(message, Forget):
            self._videos.pop(message.key, None)
        elif isinstance(message, ComputeFeatures) and message.key in self._videos:
            try:
                self._videos[message.key].look(message.frame)
            except SegmentConceptError as error:
                log.debug("%s", error)

    def _reply(self, request: Request) -> Reply:
        content = request.content
        try:
            video = self._videos[content.key]
            if isinstance(content, Preview):
                return Reply(request.number, video.preview(content))
            return Reply(request.number, video.solve(content))
        except KeyError:
            text = "the video is not known to the tracker yet: try again in a moment"
            return Reply(request.number, error=text, kind="other")
        except Exception as error:  # of a network or a device: the page says it
            kind = "input" if isinstance(error, SegmentConceptError) else "other"
            return Reply(request.number, error=_sentence(error), kind=kind)

    def _run(self, run: Run) -> None:
        error = None
        try:
            self._drive(run.number, self._results(run))
        except Exception as problem:  # as above; what was found before is kept
            error = _sentence(problem)
        self._inbox.send(RunEnded(run.key, run.number, error))

    def _results(self, run: Run) -> Iterator[Any]:
        from segment_concept.web.runner import Runner

        runner = Runner(self._videos[run.key], run)
        for results in runner.play():
            for stop in self._inbox.drop(lambda m: _stops(m, run.number) and m.order is not None):
                runner.drop(stop.order)
            yield Found(run.key, run.number, tuple(results)) if results else None

    def _export(self, order: ExportRun) -> None:
        error = None
        try:
            from segment_concept.web.exports import write_export

            source = self._videos[order.key].source
            steps = write_export(order, source)
            self._drive(order.number, (Progress(order.key, order.number, *step) for step in steps))
        except Exception as problem:  # as above
            error = _sentence(problem)
        self._inbox.send(RunEnded(order.key, order.number, error))

    def _drive(self, number: int, messages: Iterable[Any]) -> None:
        """Send what a run yields, and answer people in between, until it ends or is stopped."""
        for message in messages:
            if message is not None:
                self._inbox.send(message)
            while (urgent := self._inbox.take(_urgent, 0)) is not None:
                self._handle(urgent)
            stopped = self._inbox.drop(lambda m: _stops(m, number) and m.order is None)
            if stopped or self._inbox.is_closed:
                return


def _stops(message: Any, number: int) -> bool:
    return isinstance(message, StopRun) and message.number == number


def _rank(message: Any) -> int:
    """The order in which messages are served."""
    if isinstance(message, ProjectVideo | Forget):
        return 0
    if isinstance(message, Request):
        is_refining = isinstance(message.content, Solve) and message.content.refine
        return 2 if is_refining else 1
    return 3 if isinstance(message, ComputeFeatures) else _WORK


def _most_urgent(messages: list[Any]) -> int | None:
    """The next message; stops of runs that have ended are left for `drop`."""
    places = [n for n, m in enumerate(messages) if not isinstance(m, StopRun)]
    return min(places, key=lambda n: _rank(messages[n]), default=None)


def _urgent(messages: list[Any]) -> int | None:
    place = _most_urgent(messages)
    return None if place is None or _rank(messages[place]) == _WORK else place


def _sentence(error: Exception) -> str:
    if isinstance(error, SegmentConceptError):
        return str(error)
    text = str(error).splitlines()[0][:200] if str(error) else ""
    name = type(error).__name__
    if "OutOfMemory" in name or isinstance(error, MemoryError) or "not enough memory" in text:
        return (
            "the memory of the device is full: close other programs, or start the server with a "
            "smaller recipe or with --device cpu"
        )
    if isinstance(error, OSError):
        return f"a file cannot be read or written ({error.strerror or text}): look at the disk"
    return f"the tracker failed ({name}: {text}): the frames made so far are kept"
