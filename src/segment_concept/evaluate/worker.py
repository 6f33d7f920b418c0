"""Worker that predicts one video and records time and memory."""

import logging
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2

from segment_concept.datasets.types import Dataset, VideoEntry
from segment_concept.evaluate.predict import Prediction, predict_video, video_job
from segment_concept.evaluate.run_folder import Cost, RunFolder, VideoRecord
from segment_concept.evaluate.tracker_source import TrackerSource
from segment_concept.runtime.memory import gpu_peak, process_peak
from segment_concept.tracking.api import VideoTracker
from segment_concept.types import OutputError, SegmentConceptError

LOG = "log.txt"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a video; `trace` is for the log where it failed in an unexpected way."""

    record: VideoRecord
    cost: Cost | None = None
    trace: str = ""


@dataclass(frozen=True)
class PredictionWorker:
    """Everything that a worker needs, wherever it is; called with its place, it makes ready.

    `dataset` is without its videos; `threads` that the worker may compute with, 0 for torch's own
    choice.
    """

    source: TrackerSource
    dataset: Dataset
    run: RunFolder
    alone: bool = False
    threads: int = 0
    offline: bool = False

    def __call__(self, worker_index: int) -> Callable[[VideoEntry], Outcome]:
        """Load the tracker, and return what predicts a video with it."""
        log_to(self.run.path / LOG)
        tracker = self.source.load(worker_index)
        torch = sys.modules.get("torch")  # a tracker may do without
        if self.threads:
            cv2.setNumThreads(self.threads)
        if self.threads and torch is not None:
            torch.set_num_threads(self.threads)
        return lambda video: self._predict(tracker, video)

    def _predict(self, tracker: VideoTracker, video: VideoEntry) -> Outcome:
        started = time.perf_counter()
        try:
            with self.run.staging_folder(video.name) as draft:
                job = video_job(self.dataset, video, alone=self.alone, offline=self.offline)
                prediction = predict_video(tracker, job, draft)
                record = VideoRecord(video.name, prediction)
                cost = _cost(prediction, time.perf_counter() - started)
                self.run.commit(draft, record, cost)
        except OutputError:
            raise
        except SegmentConceptError as error:
            return Outcome(VideoRecord(video.name, None, str(error)))
        except Exception as error:  # whatever a tracker may raise spoils its own video only
            problem = f"{type(error).__name__}: {error}"
            return Outcome(VideoRecord(video.name, None, problem), None, traceback.format_exc())
        return Outcome(record, cost)


def log_to(path: Path) -> logging.Handler:
    """Let this process's messages go to a file too; several processes may share it."""
    logger = logging.getLogger("segment_concept")
    for handler in logger.handlers:
        if getattr(handler, "baseFilename", "") == str(path.resolve()):
            return handler
    handler = logging.FileHandler(path.resolve(), encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return handler


def _cost(prediction: Prediction, seconds: float) -> Cost:
    return Cost(prediction.frames, seconds, process_peak(), gpu_peak(), _device_name())


def _device_name() -> str:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return "cpu"
    return str(torch.cuda.get_device_name())
