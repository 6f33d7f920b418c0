"""Tracking in the process of its own: sessions that begin anywhere, and run over spans."""

import logging
from collections import OrderedDict
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch

from segment_concept.pipeline.session_state import NotStorableError, dump_session, load_session
from segment_concept.runtime.background import read_ahead
from segment_concept.runtime.files import unfinished_name
from segment_concept.tracking.api import TrackingSession, VideoTracker
from segment_concept.tracking.feature_cache import FeatureCache
from segment_concept.tracking.session import Session
from segment_concept.tracking.teaching import forget_frames, hold_keyframe
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import (
    Frame,
    FrameResult,
    InputError,
    Mask,
    ObjectId,
    Prompt,
    SegmentConceptError,
)
from segment_concept.video.source import VideoSource
from segment_concept.web.frames import FrameCache
from segment_concept.web.opened import box_of
from segment_concept.web.runs import decode_runs, encode_runs
from segment_concept.web.store import BACKWARDS, CUT, QUERIED, Result
from segment_concept.web.work import Anchor, Preview, Run, Solve, SpanOrder

log = logging.getLogger(__name__)

SNAPSHOT_EVERY = 200  # frames
FEATURES = 16  # frames whose image features are kept
SEEDED = 4  # sessions that are kept to correct masks
PIXELS = 96 << 20  # bytes of decoded frames
AHEAD = 2  # frames that are read in advance
_ONLY: ObjectId = 1  # the object of sessions that live for one prompt


def load_tracker(name: str, device: str) -> VideoTracker:
    """The tracker of a recipe, or of a function `package.module:function` without arguments.

    Raises:
        SegmentConceptError: there is none, or its weights are missing.
    """
    if ":" in name:
        module, _, function = name.partition(":")
        return cast(VideoTracker, getattr(import_module(module), function)())
    from segment_concept.checkpoints.load import load

    return load(name, device=device)


class TrackedVideo:
    """A video in this process: its frames, their features, and sessions for prompts."""

    def __init__(
        self, source: VideoSource, tracker: VideoTracker, before: "TrackedVideo | None" = None
    ) -> None:
        """`before` is what was known of the video when fewer of its frames were."""
        self.source, self.tracker = source, tracker
        self._frames = FrameCache(source, PIXELS)
        known = before._features if before else None
        self._features: FeatureCache | None = known or _features_of(tracker)
        self._seeded: OrderedDict[tuple[int, bytes], Session] = OrderedDict()

    def session(self) -> TrackingSession:
        """A new session that shares the features of frames with all others."""
        if isinstance(self.tracker, Tracker):
            return self.tracker.session(self._features)
        return self.tracker.session()

    def frame(self, index: int) -> Frame:
        """A frame. Raises InputError."""
        return self._frames.frame(index)

    def look(self, index: int) -> None:
        """Compute the features of a frame in advance. Raises InputError."""
        frame = self.frame(index)
        if self._features is not None:
            self._features.features(frame)

    def preview(self, asked: Preview) -> tuple[float, bytes]:
        """Score and runs of a prompt. Raises InputError."""
        result = self._segment(asked.frame, asked.prompt, asked.before, refine=False)
        return float(result.quality[0]), encode_runs(result.mask(_ONLY))

    def solve(self, asked: Solve) -> Result:
        """The mask of a prompt. Raises InputError."""
        result = self._segment(asked.frame, asked.prompt, asked.before, refine=asked.refine)
        return _result(asked.object_id, asked.frame, asked.tag, result, _ONLY, backwards=False)

    def _segment(
        self, index: int, prompt: Prompt, before: bytes | None, *, refine: bool
    ) -> FrameResult:
        frame = self.frame(index)
        if not isinstance(self.tracker, Tracker):
            return self.tracker.session().prompt(frame, {_ONLY: prompt})
        session = self.tracker.session(self._features)
        if before is not None:
            session = self._correcting(frame, before)
        return session.preview(frame, {_ONLY: prompt}, refine=refine)

    def _correcting(self, frame: Frame, before: bytes) -> Session:
        """A session to which the object was shown on this frame, so that prompts correct it."""
        key = frame.index, before
        if key not in self._seeded:
            assert isinstance(self.tracker, Tracker)
            session = self.tracker.session(self._features)
            session.prompt(frame, {_ONLY: Mask(decode_runs(before, frame.size))})
            while len(self._seeded) >= SEEDED:
                self._seeded.popitem(last=False)
            self._seeded[key] = session
        return self._seeded[key]


@dataclass(slots=True, eq=False)
class _Active:
    """A span that is being tracked."""

    number: int
    order: SpanOrder
    session: TrackingSession
    since_snapshot: int = 0


class Runner:
    """Tracks the spans of a run. Spans of several objects are played together."""

    def __init__(self, video: TrackedVideo, run: Run) -> None:
        self._video, self._run = video, run
        self._dropped: set[int] = set()
        self._active: list[_Active] = []

    def drop(self, order: int) -> None:
        """Leave out what is left of a span."""
        self._dropped.add(order)

    def play(self) -> Iterator[list[tuple[int, Result]]]:
        """The results of frame after frame; nothing where frames only lead to a span."""
        for backwards in (False, True):
            waiting = [
                (n, order)
                for n, order in enumerate(self._run.orders)
                if order.span.backwards == backwards
            ]
            waiting.sort(key=lambda pair: pair[1].span.first, reverse=backwards)
            while waiting:
                yield from self._stretch(waiting, backwards=backwards)

    def _stretch(
        self, waiting: list[tuple[int, SpanOrder]], *, backwards: bool
    ) -> Iterator[list[tuple[int, Result]]]:
        """Play from the first waiting span until no span is active; those are taken away."""
        start = waiting[0][1].span.first
        read = (
            self._video.source.backwards(start) if backwards else self._video.source.frames(start)
        )
        frames = read_ahead(read, AHEAD)
        try:
            for frame in frames:
                while waiting and _has_begun(waiting[0][1], frame.index, backwards=backwards):
                    number, order = waiting.pop(0)
                    session = yield from self._begin(order)
                    self._active.append(_Active(number, order, session))
                yield [self._step(each, frame) for each in self._alive(frame.index)]
                for each in [a for a in self._active if _is_last(a.order, frame.index)]:
                    self._snapshot(each, frame.index)
                self._active = [a for a in self._alive(frame.index + (-1 if backwards else 1))]
                if not self._active:
                    return
        finally:
            if isinstance(frames, Generator):
                frames.close()
            self._active = []
        # The video ended, or is damaged, before the span did.
        waiting[:] = [w for w in waiting if not _has_begun(w[1], start, backwards=backwards)]

    def _alive(self, index: int) -> list[_Active]:
        return [
            a
            for a in self._active
            if a.number not in self._dropped and not _is_past(a.order, index)
        ]

    def _step(self, active: _Active, frame: Frame) -> tuple[int, Result]:
        span = active.order.span
        result = active.session.step(frame)
        active.since_snapshot += 1
        if result.cut or active.since_snapshot >= SNAPSHOT_EVERY:
            self._snapshot(active, frame.index)
        i = span.object_id
        return active.number, _result(
            i, frame.index, self._run.tag, result, i, backwards=span.backwards
        )

    def _begin(self, order: SpanOrder) -> Generator[list[Any], None, TrackingSession]:
        """A session that stands right before the span."""
        span, session = order.span, self._restored(order)
        step = -1 if span.backwards else 1
        at = order.snapshot_frame
        if session is None:
            session = self._video.session()
            for anchor in order.anchors:
                session.prompt(
                    self._video.frame(anchor.frame), {span.object_id: self._mask(anchor)}
                )
                yield []
            at = order.anchors[-1].frame
        self._teach(session, order)
        for index in range(at + step, span.first, step):
            if not any(a <= index <= b for a, b in order.skipped):
                with suppress(InputError):  # a damaged frame
                    session.step(self._video.frame(index))
                yield []
        return session

    def _teach(self, session: TrackingSession, order: SpanOrder) -> None:
        """What a person has said of whole shots."""
        if not isinstance(session, Session):
            return
        for first, last in order.skipped:
            forget_frames(session, order.span.object_id, range(first, last + 1))
        for keyframe in order.keyframes:
            frame = self._video.frame(keyframe.frame)
            hold_keyframe(session, order.span.object_id, frame, self._mask(keyframe).bitmap)

    def _mask(self, anchor: Anchor) -> Mask:
        return Mask(decode_runs(anchor.runs, self._video.source.info.size))

    def _restored(self, order: SpanOrder) -> TrackingSession | None:
        if order.snapshot is None:
            return None
        try:
            packed = torch.load(order.snapshot, weights_only=True)
            session = load_session(packed, self._video.tracker)
        except (OSError, RuntimeError, SegmentConceptError, EOFError, ValueError) as error:
            log.warning("%s cannot be used (%s)", order.snapshot, error)
            return None
        if isinstance(session, Session):
            session.features = self._video.session().features  # type: ignore[attr-defined]
        return session

    def _snapshot(self, active: _Active, index: int) -> None:
        """Store the state after a frame. A disk that is full is no reason to stop tracking."""
        active.since_snapshot = 0
        span, session = active.order.span, active.session
        shared = getattr(session, "features", None)
        path = snapshot_path(
            self._run.snapshots, span.object_id, index, self._run.tag, backwards=span.backwards
        )
        partial = path.with_name(unfinished_name(path.name))
        try:
            if isinstance(session, Session):
                session.features = None
            packed = dump_session(session, self._video.tracker)
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(packed, partial)
            partial.replace(path)
        except (OSError, RuntimeError, NotStorableError) as error:
            log.debug("no snapshot: %s", error)
            partial.unlink(missing_ok=True)
        finally:
            if isinstance(session, Session):
                session.features = shared


def snapshot_path(folder: str, object_id: int, frame: int, tag: int, *, backwards: bool) -> Path:
    """Where the state of tracking after a frame is stored."""
    way = "b" if backwards else "f"
    return Path(folder) / f"o{object_id:03d}-{way}{frame:07d}-e{tag:06d}.pt"


def _features_of(tracker: VideoTracker) -> FeatureCache | None:
    return FeatureCache(tracker.segmenter, FEATURES) if isinstance(tracker, Tracker) else None


def _has_begun(order: SpanOrder, index: int, *, backwards: bool) -> bool:
    return order.span.first >= index if backwards else order.span.first <= index


def _is_last(order: SpanOrder, index: int) -> bool:
    return order.span.last == index


def _is_past(order: SpanOrder, index: int) -> bool:
    return index < order.span.last if order.span.backwards else index > order.span.last


def _result(
    object_id: int,
    frame: int,
    tag: int,
    found: FrameResult,
    row_of: ObjectId,
    *,
    backwards: bool,
) -> Result:
    row = found.object_ids.index(row_of)
    mask = found.mask(row_of)
    flags = CUT * found.cut | QUERIED * found.concept_queried | BACKWARDS * backwards
    return Result(
        object_id=object_id,
        frame=frame,
        tag=tag,
        presence=float(found.presence[row]),
        score=float(found.quality[row].clamp(0, 1)),
        area=int(mask.sum()),
        box=box_of(mask),
        flags=flags,
        runs=encode_runs(mask),
        scene_change=found.scene_change,
        keyframes=tuple(found.keyframes[row]) if found.keyframes else (),
    )
