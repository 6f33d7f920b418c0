"""Compare trackers on one video: images side by side, speed, memory and agreement."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from math import ceil, sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.ops.overlap import mask_iou
from segment_concept.pipeline.memory_usage import session_nbytes
from segment_concept.pipeline.outputs import OVERLAY_CRF
from segment_concept.pipeline.playback import play
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.schedule import Direction, PlaybackSchedule, make_schedule
from segment_concept.pipeline.track import RunMonitor
from segment_concept.runtime.background import read_ahead
from segment_concept.tracking.api import Prompts, TrackingSession, VideoTracker
from segment_concept.types import Bitmap, Frame, Image, InputError, ObjectId
from segment_concept.video.draw import overlay, to_i420
from segment_concept.video.encode import PartWriter, join
from segment_concept.video.source import VideoSource

Masks: TypeAlias = Mapping[ObjectId, Bitmap]

FRAMES_AHEAD = 4
AT_ONCE = 16  # frames per batch: each tracker in turn gets a batch
WIDEST = 1920  # maximum width of the written video in pixels; images are scaled to fit
LABEL = 28  # height of the label above each image, in pixels
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class CompareJob:
    """A video, its prompts, and the video to write."""

    source: VideoSource
    prompts: tuple[TimedPrompt, ...]
    out: Path  # an MP4 file
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result. Entry i belongs to the i-th tracker."""

    names: tuple[str, ...]
    frames: int
    finished: bool
    seconds: tuple[float, ...]  # spent tracking, without reading and drawing
    memory_bytes: tuple[int, ...]  # maximum size of the session's state, without weights
    agreement: NDArray[np.float64]  # (trackers, trackers) mean IoU over objects and frames

    def rate(self, tracker: int) -> float:
        """Frames per second."""
        return self.frames / self.seconds[tracker] if self.seconds[tracker] > 0 else 0.0


def check_comparison(job: CompareJob) -> PlaybackSchedule:
    """Make the schedule and check the output path. Writes nothing.

    Raises:
        InputError: the prompts do not fit the video, or the file cannot be written.
    """
    if job.out.suffix.lower() != ".mp4":
        raise InputError(f"{job.out}: the name of the output must end with .mp4")
    if not job.out.parent.is_dir():
        raise InputError(
            f"there is no folder {job.out.parent}: create it, or choose another output"
        )
    if job.out.exists() and not job.overwrite:
        raise InputError(f"{job.out} already exists: choose another name, or use --overwrite")
    return make_schedule(job.source, job.prompts, Direction.FORWARD)


def run_compare(
    job: CompareJob, trackers: Mapping[str, VideoTracker], monitor: RunMonitor | None = None
) -> Comparison:
    """Play the video once, forward. Each tracker in turn gets the next few frames.

    If `monitor` stops the run, the video has the frames done so far.

    Raises:
        InputError: fewer than two trackers, as `check_comparison`, or a tracker refuses a prompt.
        OSError: the disk is full or read-only.
    """
    if len(trackers) < 2:
        raise InputError("a comparison needs at least two trackers")
    schedule, monitor = check_comparison(job), monitor or RunMonitor()
    runners = [_Runner(name, tracker, tracker.session()) for name, tracker in trackers.items()]
    agreement = _Agreement(len(runners))
    done, finished = 0, True
    live, total = job.source.info.live, schedule.frames(job.source.info.frames)
    read = read_ahead(job.source.frames(schedule.passes[0].start), FRAMES_AHEAD, newest_only=live)
    with TemporaryDirectory(prefix=".compare-", dir=job.out.parent) as folder, closing(read):
        video = PartWriter(Path(folder), "compare", job.source.info, OVERLAY_CRF)
        while finished and (frames := list(islice(read, 1 if live else AT_ONCE))):
            each = [runner.track(frames, schedule.prompts_at, live=live) for runner in runners]
            for frame, *found in zip(frames, *each, strict=True):
                agreement.add(found)
                drawn = side_by_side(frame, dict(zip(trackers, found, strict=True)))
                video.write(frame, to_i420(drawn))
                done += 1
                monitor.on_frame(done, total)
                if monitor.should_stop():
                    finished = False
                    break
        video.cut()
        join(Path(folder), video.parts, job.source.info, job.out)
    seconds, memory_bytes = (
        tuple(r.seconds for r in runners),
        tuple(r.memory_bytes for r in runners),
    )
    return Comparison(tuple(trackers), done, finished, seconds, memory_bytes, agreement.mean())


def side_by_side(frame: Frame, found: Mapping[str, Mapping[ObjectId, Bitmap]]) -> Image:
    """The frame once per tracker, labeled with its name, in a nearly square grid.

    Args:
        frame: the video frame.
        found: for each tracker the masks of objects, (H, W) bool.
    """
    columns = ceil(sqrt(len(found)))
    height, width = frame.size
    scale = min(1.0, WIDEST / (columns * width))
    size = max(2, round(width * scale)), max(2, round(height * scale))  # (w, h), as in OpenCV
    tiles = [_tile(overlay(frame.rgb, masks.items()), name, size) for name, masks in found.items()]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)


@dataclass(slots=True, eq=False)
class _Runner:
    """One of the trackers."""

    name: str
    tracker: VideoTracker
    session: TrackingSession
    seconds: float = 0.0
    memory_bytes: int = 0

    def track(self, frames: Sequence[Frame], prompts: Prompts, *, live: bool) -> Sequence[Masks]:
        """The masks on each of the next frames. Updates time and memory use."""
        began, found = time.perf_counter(), []
        try:
            for _, result in play(self.session, frames, prompts, live=live):
                found.append({i: result.mask(i) for i in result.object_ids})  # waits for a GPU
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from error
        self.seconds += time.perf_counter() - began
        self.memory_bytes = max(self.memory_bytes, session_nbytes(self.session, self.tracker))
        return found


@dataclass(slots=True, eq=False)
class _Agreement:
    """Sums of the IoU between the masks of every pair of trackers."""

    trackers: int
    count: int = 0
    sums: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.sums = np.zeros((self.trackers, self.trackers))

    def add(self, found: Sequence[Mapping[ObjectId, Bitmap]]) -> None:
        for object_id in found[0]:
            masks = [masks[object_id] for masks in found]
            self.count += 1
            self.sums += [[mask_iou(a, b) for b in masks] for a in masks]

    def mean(self) -> NDArray[np.float64]:
        return self.sums / max(self.count, 1)


def _tile(picture: Image, name: str, size: tuple[int, int]) -> Image:
    """The image resized to `size` (w, h), below a strip with the name."""
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    strip = np.zeros((LABEL, size[0], 3), np.uint8)
    full, _ = cv2.getTextSize(name, FONT, 1.0, 1)
    scale = min(0.6, 0.95 * size[0] / full[0])
    cv2.putText(strip, name, (4, LABEL - 9), FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack((strip, small)).astype(np.uint8)
