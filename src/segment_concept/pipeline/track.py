"""Track objects through a video and write the results to a folder.

Three threads read and encode, track, and write, with short queues between them. A run saves its
state at intervals and when it is stopped, so that it can be resumed with the same results.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segment_concept.pipeline.checkpoint import FORMAT, Checkpoint, damaged
from segment_concept.pipeline.export import export_into
from segment_concept.pipeline.outputs import FrameOutput, OutputFormat, WrittenState
from segment_concept.pipeline.playback import Playback, PlayedFrame
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.results import (
    TrackSummary,
    as_json,
    prompt_as_json,
    read_summary,
    request_video,
)
from segment_concept.pipeline.run_folder import (
    RESULT,
    IfExists,
    OutputFolder,
    check_folder,
    open_output_folder,
)
from segment_concept.pipeline.schedule import (
    Direction,
    PlaybackSchedule,
    Position,
    make_schedule,
)
from segment_concept.pipeline.session_state import NotStorableError, dump_session, load_session
from segment_concept.pipeline.writer import ResultWriter
from segment_concept.tracking.api import VideoTracker
from segment_concept.tracking.offline import check_offline
from segment_concept.types import InputError
from segment_concept.video.source import VideoSource

log = logging.getLogger(__name__)

SAVE_EVERY = 60.0  # seconds between checkpoints
DEFAULT_SAVE = frozenset({OutputFormat.OVERLAY, OutputFormat.PALETTE})


@dataclass(frozen=True, slots=True)
class TrackJob:
    """A video, its prompts, and the outputs to write.

    Attributes:
        source: the video.
        prompts: of all objects.
        out: the output folder.
        save: which outputs to write.
        direction: which way to track from the prompted frames.
        offline: track the video twice, the second time with the finalized keyframe banks.
        if_exists: what to do with an output folder that is not empty.
        provenance: recipe, weights and versions; written into `result.json`. Its "recipe" and
            "weights" must be the same when a run is resumed.
    """

    source: VideoSource
    prompts: tuple[TimedPrompt, ...]
    out: Path
    save: frozenset[OutputFormat] = DEFAULT_SAVE
    direction: Direction = Direction.BOTH
    offline: bool = False
    if_exists: IfExists = IfExists.REFUSE
    provenance: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunMonitor:
    """How a run is observed and stopped.

    Attributes:
        on_frame: called after every frame with the number of frames done and the total.
        should_stop: called after every frame; True stops the run.
        save_every: seconds between checkpoints.
    """

    on_frame: Callable[[int, int | None], None] = lambda done, total: None
    should_stop: Callable[[], bool] = lambda: False
    save_every: float = SAVE_EVERY


def check_job(job: TrackJob) -> PlaybackSchedule:
    """Make the schedule to pass to `run_track`. Reads the prompted frames and writes nothing.

    Raises:
        InputError: the prompts do not fit the video, the output folder is in use, or a live
            source is to be tracked offline.
    """
    if job.offline and job.source.info.live:
        raise InputError(
            f"{job.source.name} is a live source, and offline mode plays the video twice: record "
            "it first, or leave --offline out"
        )
    plan = make_schedule(job.source, job.prompts, job.direction)
    check_folder(job.out, job.if_exists)
    return plan.with_second_pass() if job.offline else plan


def run_track(
    job: TrackJob,
    tracker: VideoTracker,
    monitor: RunMonitor | None = None,
    plan: PlaybackSchedule | None = None,
) -> TrackSummary:
    """Track and write. A run that `monitor` stops can be resumed.

    A resumed run has the same masks and scores as an uninterrupted one. If the tracker's session
    cannot be saved, the finished frames are tracked again, without writing. If a finished run is
    resumed with other outputs, these are made from its masks, and nothing is tracked.

    Args:
        job: the video, prompts and outputs.
        tracker: the tracker.
        monitor: progress and stopping.
        plan: the schedule from `check_job`, if it was called before.

    Raises:
        InputError: prompts, video, tracker or output folder cannot be used; nothing was written.
        OutputError: the disk is full or read-only; written results are kept.
    """
    if job.offline:
        check_offline(tracker)
    plan = plan or check_job(job)
    request = request_of(job)
    with open_output_folder(job.out, job.if_exists) as folder:
        finished = folder.finished_result(request)
        if finished is not None:
            return _finished_before(job, folder, finished)
        checkpoint = folder.load(request, plan)
        folder.begin(request)
        return _Run(job, plan, tracker, folder, monitor or RunMonitor(), checkpoint).run(request)


def _finished_before(
    job: TrackJob, folder: OutputFolder, result: Mapping[str, Any]
) -> TrackSummary:
    """The results of a finished run; outputs that it lacks are written."""
    try:
        summary = read_summary(job.out, result)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(job.out / RESULT) from error
    export_into(folder, result, job.save, job.source)
    return summary


class _Run:
    """A run in progress."""

    def __init__(
        self,
        job: TrackJob,
        plan: PlaybackSchedule,
        tracker: VideoTracker,
        folder: OutputFolder,
        monitor: RunMonitor,
        checkpoint: Checkpoint | None,
    ) -> None:
        self._job, self._plan, self._tracker, self._folder = job, plan, tracker, folder
        self._monitor = monitor
        start = Position(0, plan.passes[0].start)
        self._saved = checkpoint.position if checkpoint else start
        stored = checkpoint.session if checkpoint else None
        session = load_session(stored, tracker) if stored else tracker.session()
        position = self._saved if stored else start
        self._playback = Playback(job.source, plan, session, position)
        written = checkpoint.written if checkpoint else WrittenState()
        self._writer = ResultWriter(job.out, folder.state, job.source.info, job.save, written)
        self._began = self._saved_at = time.monotonic()

    def run(self, request: Mapping[str, Any]) -> TrackSummary:
        """Track to the end, or until the run is stopped."""
        try:
            return self._finish(request, finished=self._play())
        except InputError:
            # The session is unchanged, so the earlier frames can be saved as after Ctrl-C.
            if self._saved == self._playback.position:
                self._folder.abandoned = self._writer.is_empty
            else:
                self._finish(request, finished=False)
            raise
        finally:
            self._writer.close()

    def _play(self) -> bool:
        """Whether the video was played to its end; False if the run was stopped."""
        with closing(self._playback.play()) as played:
            for each in played:
                self._write(each)
                if time.monotonic() - self._saved_at > self._monitor.save_every:
                    self._save()
                self._monitor.on_frame(*self._playback.progress())
                if self._monitor.should_stop():
                    return False
        return True

    def _write(self, played: PlayedFrame) -> None:
        if not self._plan.is_past(played.position, self._saved):
            return  # written before this run was resumed
        frame, result = played.frame, played.result
        new = self._plan.new_objects(played.part, frame.index, result.object_ids)
        if not new and (played.part.fills or not played.part.written):
            return
        if played.position in self._plan.seams:
            self._writer.cut()
        name = self._job.source.frame_name(frame.index)
        self._writer.put(FrameOutput(frame, name, result, new), played.part)

    def _save(self) -> None:
        """Save a checkpoint from which the run can be resumed."""
        written, position = self._writer.cut(), self._playback.position
        if self._plan.is_past(position, self._saved):
            self._folder.save(Checkpoint(position, written, self._packed()))
            self._saved = position
        self._saved_at = time.monotonic()

    def _packed(self) -> dict[str, Any] | None:
        try:
            return dump_session(self._playback.session, self._tracker)
        except NotStorableError as error:
            log.debug("the session is not stored: %s", error)
            return None

    def _end(self) -> int | None:
        """Number of frames of the video; None if it is not played to its end, or live."""
        if self._job.direction is Direction.BACKWARD or self._job.source.info.live:
            return None
        return self._job.source.info.frames

    def _finish(self, request: Mapping[str, Any], *, finished: bool) -> TrackSummary:
        self._save()  # before the videos are joined, which may fill the disk
        header: dict[str, Any] = {"finished": finished, "request": dict(request)}
        header |= {"video_incomplete": self._job.source.info.incomplete}
        header |= as_json(self._job.provenance)
        found = self._writer.finish(header, request, self._end() if finished else None)
        return TrackSummary(
            out=self._job.out,
            finished=finished,
            frames=found.frames,
            seconds=time.monotonic() - self._began,
            stepped=self._playback.count,
            objects=found.objects,
            queries=tuple(found.queries),
            skipped=tuple(found.skipped),
            carried=found.carried,
        )


def request_of(job: TrackJob) -> dict[str, Any]:
    """Everything that determines the results. A run is resumed only by an equal request."""
    return {
        "format": FORMAT,
        "video": request_video(job.source),
        "prompts": [
            {"object": int(s.object_id), "at": as_json(s.at)} | prompt_as_json(s.prompt)
            for s in job.prompts
        ],
        "direction": job.direction.value,
        "offline": job.offline,
        "outputs": sorted(kind.value for kind in job.save),
        "recipe": as_json(job.provenance.get("recipe")),
        "weights": as_json(job.provenance.get("weights")),
    }
