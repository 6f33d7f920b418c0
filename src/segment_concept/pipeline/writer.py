"""Write results to files in another thread. Nothing is tracked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segment_concept.pipeline.journal import JournalIndex
from segment_concept.pipeline.outputs import (
    VIDEOS,
    FrameOutput,
    OutputFormat,
    Recorder,
    WrittenState,
)
from segment_concept.pipeline.results import Digest, digest, write_result, write_rle
from segment_concept.pipeline.run_folder import EXPLAINED, RESULT
from segment_concept.pipeline.schedule import Pass
from segment_concept.pipeline.timeline.page import write_explanation
from segment_concept.runtime.background import BackgroundWorker
from segment_concept.types import OutputError
from segment_concept.video.encode import join
from segment_concept.video.source import VideoInfo

QUEUED_RESULTS = 2  # results that wait for the writing thread


class ResultWriter:
    """Writes results in another thread, in the order in which they are put.

    Args:
        out: the output folder.
        state: folder for files that are needed until the run ends.
        info: size, rate and length of the video.
        save: which outputs to write.
        written: progress of an earlier run; anything written after it is dropped.
    """

    def __init__(
        self,
        out: Path,
        state: Path,
        info: VideoInfo,
        save: frozenset[OutputFormat],
        written: WrittenState,
    ) -> None:
        self._out, self._state, self._info, self._save = out, state, info, save
        self._recorder = Recorder(out, state, info, save, written)
        self._worker = BackgroundWorker(self._recorder.record, QUEUED_RESULTS)
        self._part: Pass | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written yet."""
        return self._recorder.is_empty

    def put(self, output: FrameOutput, part: Pass) -> None:
        """Queue one frame of a pass for writing. Raises OSError if the disk is full."""
        if part is not self._part:
            self._worker.drain()
            self._recorder.begin(backwards=part.backwards, again=part.fills)
            self._part = part
        self._worker.put(output)

    def cut(self) -> WrittenState:
        """Wait until everything is on disk, and return the progress from which to resume."""
        self._worker.drain()
        return self._recorder.cut()

    def finish(
        self, header: Mapping[str, Any], request: Mapping[str, Any], end: int | None = None
    ) -> Digest:
        """Write the files that need all frames, from the frames done so far.

        Results are on disk before videos are joined, in case that fails.

        Args:
            header: the first fields of `result.json`.
            request: the request of the run; its "video" describes the source.
            end: number of frames of the video, if it was played to its end.
        """
        written = self.cut()
        journal = JournalIndex(self._recorder.journal)
        if journal.length != written.journal:
            raise OutputError(
                f"{self._recorder.journal} was changed or damaged while the run went on: "
                "continue with --resume"
            )
        if OutputFormat.RLE in self._save:
            write_rle(self._out / "rle.json", journal, request["video"])
        found = digest(journal, end)
        write_result(self._out / RESULT, journal, {**header, "finished": False}, found)
        parts = self._recorder.parts()
        for kind in VIDEOS:
            if kind in self._save:
                target = self._out / f"{kind.value}.mp4"
                join(self._state, parts[kind.value], self._info, target)
        if OutputFormat.EXPLAIN in self._save:
            write_explanation(self._out / EXPLAINED, self._state, journal, request)
        if header["finished"]:
            write_result(self._out / RESULT, journal, header, found)
        return found

    def close(self) -> None:
        """Stop the thread and close the files."""
        self._worker.stop()
        self._recorder.close()
