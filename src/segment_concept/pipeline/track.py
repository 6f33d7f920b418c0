"""The main job: follow objects through a video and write down where they are.

Reading and encoding, tracking, and writing overlap in three threads with short queues between them.
From time to time, and when it is stopped, a run is saved so that it can go on exactly where it was.
"""

import logging
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.pipeline.journal import JournalIndex
from segment_concept.pipeline.outputs import (
    VIDEOS,
    FrameOutput,
    OutputFormat,
    Recorder,
    WrittenState,
)
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.results import (
    TrackSummary,
    as_json,
    digest,
    prompt_as_json,
    read_summary,
    write_result,
    write_rle,
)
from segment_concept.pipeline.run_folder import (
    EXPLAINED,
    RESULT,
    Checkpoint,
    IfExists,
    OutputFolder,
    check_folder,
    open_output_folder,
)
from segment_concept.pipeline.schedule import (
    Direction,
    Pass,
    PlaybackSchedule,
    Position,
    make_schedule,
)
from segment_concept.pipeline.session_state import NotStorableError, dump_session, load_session
from segment_concept.pipeline.timeline.page import write_explanation
from segment_concept.runtime.background import BackgroundWorker, read_ahead
from segment_concept.runtime.parallel import shared_cores
from segment_concept.tracking.api import TrackingSession, VideoTracker
from segment_concept.tracking.prefetch import PrefetchingSegmenter
from segment_concept.tracking.session import Session, Tracker
from segment_concept.types import Frame, FrameResult, InputError, ObjectId, Prompt
from segment_concept.video.encode import join
from segment_concept.video.source import VideoSource, read_frame

log = logging.getLogger(__name__)

SAVE_EVERY = 60.0  # seconds between checkpoints
FRAMES_AHEAD = 2  # that are read and encoded, and wait
RESULTS_BEHIND = 2
DEFAULT_SAVE = frozenset({OutputFormat.OVERLAY, OutputFormat.PALETTE})


@dataclass(frozen=True, slots=True)
class TrackJob:
    """What to follow, where, and what to write.

    `provenance` is written into `result.json`; its "recipe" and "weights" must be the same for a
    run to be resumed.
    """

    source: VideoSource
    shown: tuple[TimedPrompt, ...]
    out: Path
    save: frozenset[OutputFormat] = DEFAULT_SAVE
    direction: Direction = Direction.BOTH
    if_exists: IfExists = IfExists.REFUSE
    provenance: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunMonitor:
    """How a run is observed and stopped."""

    on_frame: Callable[[int, int | None], None] = lambda done, total: None
    should_stop: Callable[[], bool] = lambda: False
    save_every: float = SAVE_EVERY  # seconds


def check_job(job: TrackJob) -> PlaybackSchedule:
    """What will be played. Changes nothing.

    Raises:
        InputError: the prompts do not fit the video, or the output folder is in use.
    """
    plan = make_schedule(job.source, job.shown, job.direction)
    check_folder(job.out, job.if_exists)
    return plan


def run_track(
    job: TrackJob, tracker: VideoTracker, watch: RunMonitor | None = None
) -> TrackSummary:
    """Do the job. A run that was stopped by `watch` is kept and can be resumed.

    Masks and scores of a resumed run equal those of an undisturbed one. Where the tracker's
    session cannot be stored, resuming plays the frames again that were done, without writing.

    Raises:
        InputError: prompts, video or output folder cannot be used; nothing was changed then.
        OutputError: the disk is full or read-only; what was written is kept.
    """
    plan = check_job(job)
    request = request_of(job)
    with open_output_folder(job.out, job.if_exists) as folder:
        before = folder.finished_result(request)
        if before is not None:
            return read_summary(job.out, before)
        checkpoint = folder.load(request)
        folder.begin(request)
        run = Run(job, plan, tracker, folder, watch or RunMonitor(), checkpoint)
        return run.play(request)


class Run:
    """A run in progress. The folder is its own: `claimed`, or inside one that is."""

    def __init__(
        self,
        job: TrackJob,
        plan: PlaybackSchedule,
        tracker: VideoTracker,
        folder: OutputFolder,
        watch: RunMonitor,
        checkpoint: Checkpoint | None,
    ) -> None:
        self._cores = shared_cores if _works_side_by_side(tracker) else nullcontext
        self._lookout: PrefetchingSegmenter | None = None
        if isinstance(tracker, Tracker) and not job.source.info.live:  # of live ones some are lost
            self._lookout = PrefetchingSegmenter(
                tracker.segmenter, FRAMES_AHEAD + 2
            )  # one put, one got
            tracker = replace(tracker, segmenter=self._lookout)
        self._job, self._plan, self._tracker, self._folder = job, plan, tracker, folder
        self._watch = watch
        begin = Position(0, plan.passes[0].start)
        self._written_to = checkpoint.position if checkpoint else begin
        stored = checkpoint.session if checkpoint else None
        self._position = self._written_to if stored else begin
        self._session = load_session(stored, tracker) if stored else self._begun()
        written = checkpoint.written if checkpoint else WrittenState()
        self._recorder = Recorder(job.out, folder.state, job.source.info, job.save, written)
        self._writer = BackgroundWorker(self._recorder.record, RESULTS_BEHIND)
        self._stepped = 0
        self._began = self._saved_at = time.monotonic()

    def play(self, request: Mapping[str, Any]) -> TrackSummary:
        """To the end, or until it is stopped."""
        try:
            with self._cores():
                finished = self._play_passes()
            return self._finish(request, finished=finished)
        except InputError:
            # Refused before the session changed: what came before is as good as after Ctrl-C.
            if self._written_to == self._position:
                self._folder.abandoned = self._recorder.is_empty
            else:
                self._finish(request, finished=False)
            raise
        finally:
            self._writer.stop()
            self._recorder.close()

    def record(self) -> bool:
        """As `play`, but the journal is all that is made. False when it was stopped."""
        try:
            with self._cores():
                finished = self._play_passes()
            self._save()
            return finished
        finally:
            self._writer.stop()
            self._recorder.close()

    def _begun(self) -> TrackingSession:
        """A new session that knows what it is shown before it is played."""
        session = self._tracker.session()
        for index, prompts in self._plan.initial_prompts:
            session.prompt(read_frame(self._job.source, index), prompts)
        if isinstance(session, Session) and self._plan.initial_prompts:
            session.rewind(backwards=self._plan.passes[0].backwards)
        return session

    def _play_passes(self) -> bool:
        """True when all was played, False when it was stopped."""
        for number, part in enumerate(self._plan.passes):
            if number < self._position.number:
                continue
            if number > self._position.number:
                self._position = Position(number, part.start)
            self._recorder.begin(backwards=part.backwards, again=number > 0)
            with closing(self._frames(part)) as frames:
                for frame in frames:
                    self._step(frame, part)
                    if self._watch.should_stop():
                        return False
            self._writer.drain()
        return True

    def _frames(self, part: Pass) -> Generator[Frame, None, None]:
        source, start = self._job.source, self._position.frame
        frames = source.backwards(start) if part.backwards else source.frames(start)
        watched = frames if self._lookout is None else self._lookout.prefetch(frames)
        return read_ahead(watched, FRAMES_AHEAD, newest_only=source.info.live)

    def _step(self, frame: Frame, part: Pass) -> None:
        here = Position(self._position.number, frame.index)
        prompts_at = self._plan.prompts_at.get(frame.index, {}) if part.prompting else {}
        result = step_and_show(self._session, frame, prompts_at)
        if self._plan.is_past(here, self._written_to):
            self._hand_over(frame, result, here)
        self._position = replace(here, frame=frame.index + (-1 if part.backwards else 1))
        self._stepped += 1
        if time.monotonic() - self._saved_at > self._watch.save_every:
            self._save()
        self._watch.on_frame(*self._progress())

    def _hand_over(self, frame: Frame, result: FrameResult, here: Position) -> None:
        new_objects = self._plan.new_objects(here.number, frame.index, result.object_ids)
        if here.number > 0 and not new_objects:
            return
        if here in self._plan.seams:
            self._cut()
        name = self._job.source.frame_name(frame.index)
        self._writer.put(FrameOutput(frame, name, result, new_objects))

    def _progress(self) -> tuple[int, int | None]:
        here = self._position
        passes = self._plan.passes
        before = sum(p.start + 1 if p.backwards else 0 for p in passes[: here.number])
        length = self._job.source.info.frames
        if here.number > 0 and length is not None:
            before = length - passes[0].start
        return before + abs(here.frame - passes[here.number].start), self._plan.frames(length)

    def _cut(self) -> WrittenState:
        self._writer.drain()
        return self._recorder.cut()

    def _save(self) -> None:
        """Everything up to here can be resumed from."""
        written = self._cut()
        if self._plan.is_past(self._position, self._written_to):
            self._folder.save(Checkpoint(self._position, written, self._packed()))
            self._written_to = self._position
        self._saved_at = time.monotonic()

    def _packed(self) -> dict[str, Any] | None:
        try:
            return dump_session(self._session, self._tracker)
        except NotStorableError as error:
            log.debug("the session is not stored: %s", error)
            return None

    def _finish(self, request: Mapping[str, Any], *, finished: bool) -> TrackSummary:
        """Make the files that need all frames, of the frames that there are."""
        self._save()  # a disk that fills up now costs nothing that was tracked
        job, parts = self._job, self._recorder.parts()
        for kind in VIDEOS:
            if kind in job.save:
                target = job.out / f"{kind.value}.mp4"
                join(self._folder.state, parts[kind.value], job.source.info, target)
        journal = JournalIndex(self._recorder.journal)
        if OutputFormat.RLE in job.save:
            write_rle(job.out / "rle.json", journal, request["video"])
        found = digest(journal)
        header = {"finished": finished, "request": dict(request)} | as_json(job.provenance)
        if OutputFormat.EXPLAIN in job.save:
            write_explanation(job.out / EXPLAINED, self._folder.state, journal, request)
        write_result(job.out / RESULT, journal, header, found)
        took = time.monotonic() - self._began
        return TrackSummary(
            out=job.out,
            finished=finished,
            frames=found.frames,
            seconds=took,
            stepped=self._stepped,
            objects=found.objects,
            asked=tuple(found.asked),
            skipped=tuple(found.skipped),
        )


def step_and_show(
    session: TrackingSession, frame: Frame, prompts_at: Mapping[ObjectId, Prompt]
) -> FrameResult:
    """One frame, on which objects may be shown: those that are followed are tracked first."""
    if not prompts_at:
        return session.step(frame)
    if not session.object_ids:
        return session.prompt(frame, prompts_at)
    tracked = session.step(frame)
    shown = session.prompt(frame, prompts_at)
    rows = [row for row, i in enumerate(tracked.object_ids) if i not in shown.object_ids]
    return replace(
        tracked,
        object_ids=(*(tracked.object_ids[row] for row in rows), *shown.object_ids),
        logits=torch.cat((tracked.logits[rows], shown.logits)),
        presence=torch.cat((tracked.presence[rows], shown.presence)),
        quality=torch.cat((tracked.quality[rows], shown.quality)),
        keyframes=(
            *(tracked.keyframes[row] for row in rows if tracked.keyframes),
            *shown.keyframes,
        ),
    )


def request_of(job: TrackJob) -> dict[str, Any]:
    """What makes two runs the same run."""
    info = job.source.info
    return {
        "video": {
            "name": job.source.name,
            "size": list(info.size),
            "rate": str(info.rate),
            "frames": info.frames,
        },
        "prompts": [
            {"object": int(s.object_id), "at": as_json(s.at)} | prompt_as_json(s.prompt)
            for s in job.shown
        ],
        "direction": job.direction.value,
        "outputs": sorted(kind.value for kind in job.save),
        "recipe": as_json(job.provenance.get("recipe")),
        "weights": as_json(job.provenance.get("weights")),
    }


def _works_side_by_side(tracker: VideoTracker) -> bool:
    """Other networks keep all threads for every operator: theirs are large enough to divide."""
    segmenter = tracker.segmenter if isinstance(tracker, Tracker) else None
    return isinstance(segmenter, CompactSegmenter) and segmenter.on_cpu
