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
    """The result of a video; `trace` is the traceback of an unexpected error, for the log."""

    record: VideoRecord
    cost: Cost | None = None
    trace: str = ""


@dataclass(frozen=True)
class PredictionWorker:
    """Settings of a worker, on any machine. Calling it loads the tracker.

    Attributes:
        source: loads the tracker.
        dataset: without its videos.
        run: the folder for results.
        alone: track each object in its own session.
        threads: number of threads to compute with; 0 for torch's default.
        offline: track each video twice.
    """

    source: TrackerSource
    dataset: Dataset
    run: RunFolder
    alone: bool = False
    threads: int = 0
    offline: bool = False

    def __call__(self, worker_index: int) -> Callable[[VideoEntry], Outcome]:
        """Load the tracker and return a function that predicts one video."""
        log_to(self.run.path / LOG)
        tracker = self.source.load(worker_index)
        torch = sys.modules.get("torch")  # not every tracker needs torch
        if self.threads:
            cv2.setNumThreads(self.threads)
        if self.threads and torch is not None:
            torch.set_num_threads(self.threads)
        return lambda video: self._predict(tracker, video)

    def _predict(self, tracker: VideoTracker, video: VideoEntry) -> Outcome:
        start = time.perf_counter()
        try:
            with self.run.staging_folder(video.name) as draft:
                job = video_job(self.dataset, video, alone=self.alone, offline=self.offline)
                prediction = predict_video(tracker, job, draft)
                record = VideoRecord(video.name, prediction)
                cost = _cost(prediction, time.perf_counter() - start)
                self.run.commit(draft, record, cost)
        except OutputError:
            raise
        except SegmentConceptError as error:
            return Outcome(VideoRecord(video.name, None, str(error)))
        except Exception as error:  # any other error of a tracker concerns this video only
            problem = f"{type(error).__name__}: {error}"
            return Outcome(VideoRecord(video.name, None, problem), None, traceback.format_exc())
        return Outcome(record, cost)


def log_to(path: Path) -> logging.Handler:
    """Also write this process's log messages to a file, which several processes may share."""
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
