"""Several trackers on one video: images side by side, speed, memory, and how far they agree."""

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
AT_ONCE = 16  # frames that one tracker gets before the next one does; held in memory
WIDEST = 1920  # pixels of the video that is written; pictures are made smaller to fit
LABEL = 28  # pixels above each picture, for its name
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class CompareJob:
    """What to track, where, and the video to write."""

    source: VideoSource
    shown: tuple[TimedPrompt, ...]
    out: Path  # an MP4 file
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result. Entry i belongs to the i-th tracker."""

    names: tuple[str, ...]
    frames: int
    finished: bool
    seconds: tuple[float, ...]  # spent tracking, without reading and drawing
    held: tuple[int, ...]  # peak size of the session's state in bytes, without the weights
    agreement: NDArray[np.float64]  # (trackers, trackers) mean IoU over objects and frames

    def rate(self, tracker: int) -> float:
        """Frames a second."""
        return self.frames / self.seconds[tracker] if self.seconds[tracker] > 0 else 0.0


def check_comparison(job: CompareJob) -> PlaybackSchedule:
    """What will be played. Changes nothing.

    Raises:
        InputError: the prompts do not fit the video, or the file cannot be written.
    """
    if job.out.suffix.lower() != ".mp4":
        raise InputError(f"{job.out}: an MP4 file is written, so its name ends with .mp4")
    if not job.out.parent.is_dir():
        raise InputError(f"there is no folder {job.out.parent}: make it, or write elsewhere")
    if job.out.exists() and not job.overwrite:
        raise InputError(f"{job.out} is there already: take another name, or --overwrite")
    return make_schedule(job.source, job.shown, Direction.FORWARD)


def run_compare(
    job: CompareJob, trackers: Mapping[str, VideoTracker], monitor: RunMonitor | None = None
) -> Comparison:
    """Play the video once, forwards: every few frames go to one tracker after another.

    If `monitor` stops the run, what was done is written.

    Raises:
        InputError: fewer than two trackers, as `check_comparison`, or a tracker refuses a prompt.
        OSError: the disk is full or read-only.
    """
    if len(trackers) < 2:
        raise InputError("a comparison needs at least two trackers")
    plan, monitor = check_comparison(job), monitor or RunMonitor()
    runners = [_Runner(name, tracker, tracker.session()) for name, tracker in trackers.items()]
    agreement = _Agreement(len(runners))
    done, finished = 0, True
    live, total = job.source.info.live, plan.frames(job.source.info.frames)
    read = read_ahead(job.source.frames(plan.passes[0].start), FRAMES_AHEAD, newest_only=live)
    with TemporaryDirectory(prefix=".compare-", dir=job.out.parent) as folder, closing(read):
        video = PartWriter(Path(folder), "compare", job.source.info, OVERLAY_CRF)
        while finished and (frames := list(islice(read, 1 if live else AT_ONCE))):
            each = [runner.track(frames, plan.prompts_at, live=live) for runner in runners]
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
    seconds, held = tuple(r.seconds for r in runners), tuple(r.held for r in runners)
    return Comparison(tuple(trackers), done, finished, seconds, held, agreement.mean())


def side_by_side(frame: Frame, found: Mapping[str, Mapping[ObjectId, Bitmap]]) -> Image:
    """The frame once for each tracker, with its name above, in as square a grid as can be.

    Args:
        frame: the picture.
        found: by tracker, masks (H, W) of objects.
    """
    columns = ceil(sqrt(len(found)))
    height, width = frame.size
    scale = min(1.0, WIDEST / (columns * width))
    size = max(2, round(width * scale)), max(2, round(height * scale))  # (w, h), as OpenCV has it
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
    held: int = 0

    def track(self, frames: Sequence[Frame], prompts: Prompts, *, live: bool) -> Sequence[Masks]:
        """The masks on each of the next frames. Adds up the time, and notes the most memory."""
        began, found = time.perf_counter(), []
        try:
            for _, result in play(self.session, frames, prompts, live=live):
                found.append({i: result.mask(i) for i in result.object_ids})  # waits for a GPU
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from error
        self.seconds += time.perf_counter() - began
        self.held = max(self.held, session_nbytes(self.session, self.tracker))
        return found


@dataclass(slots=True, eq=False)
class _Agreement:
    """Adds up IoUs of every tracker's masks with every other's."""

    trackers: int
    count: int = 0
    sums: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.sums = np.zeros((self.trackers, self.trackers))

    def add(self, found: Sequence[Mapping[ObjectId, Bitmap]]) -> None:
        for object_id in found[0]:
            masks = [one[object_id] for one in found]
            self.count += 1
            self.sums += [[mask_iou(a, b) for b in masks] for a in masks]

    def mean(self) -> NDArray[np.float64]:
        return self.sums / max(self.count, 1)


def _tile(picture: Image, name: str, size: tuple[int, int]) -> Image:
    """The picture made as small as `size` (w, h), under a strip with a name."""
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    strip = np.zeros((LABEL, size[0], 3), np.uint8)
    full, _ = cv2.getTextSize(name, FONT, 1.0, 1)
    scale = min(0.6, 0.95 * size[0] / full[0])
    cv2.putText(strip, name, (4, LABEL - 9), FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack((strip, small)).astype(np.uint8)
