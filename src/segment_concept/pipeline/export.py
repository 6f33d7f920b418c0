"""Write other outputs of a finished run, from the masks that it has recorded: nothing is tracked.

The journal holds masks, not logits, so `matte` and `matte-png` get hard edges, and `explain` has
no pictures of keyframes. Only videos need the frames of the source, which is decoded once more.
"""

import logging
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segment_concept.ops.rle import decode_rle
from segment_concept.pipeline.journal import JOURNAL, FrameRecord, JournalIndex
from segment_concept.pipeline.outputs import (
    CERTAIN_LOGIT,
    VIDEOS,
    FrameMasks,
    OutputFormat,
    frame_writers,
)
from segment_concept.pipeline.results import request_video, rewrite_result, write_rle
from segment_concept.pipeline.run_folder import (
    EXPLAINED,
    RESULT,
    IfExists,
    OutputFolder,
    open_output_folder,
)
from segment_concept.pipeline.timeline.page import write_explanation
from segment_concept.runtime.files import sync_all
from segment_concept.types import Frame, InputError
from segment_concept.video.encode import PartWriter, join
from segment_concept.video.source import VideoSource

log = logging.getLogger(__name__)

_SOFT = {OutputFormat.MATTE, OutputFormat.MATTE_PNG}
_SYNC_AFTER = 1000  # image files


def export_outputs(
    out: Path, save: frozenset[OutputFormat], source: VideoSource | None = None
) -> tuple[OutputFormat, ...]:
    """Write outputs of a finished run.

    Args:
        out: the output folder of the run.
        save: what to write; what is there already is left as it is.
        source: the video that was tracked; only overlay and matte need it.

    Returns:
        What was written.

    Raises:
        InputError: there is no finished run, its masks are damaged or missing, or the video is
            missing or another one.
        OutputError: the disk is full or read-only.
    """
    if not (out / RESULT).exists():
        raise InputError(f"{out} holds no finished run: give the --out folder of `track`")
    with open_output_folder(out, IfExists.RESUME) as folder:
        result = folder.result()
        if result is None:
            raise InputError(f"the run in {out} is not finished: continue it with --resume")
        return export_into(folder, result, save, source)


def export_into(
    folder: OutputFolder,
    result: Mapping[str, Any],
    save: frozenset[OutputFormat],
    source: VideoSource | None,
) -> tuple[OutputFormat, ...]:
    """As `export_outputs`, into a folder that is locked, whose result was read."""
    request = result["request"]
    new = frozenset(kind for kind in save if kind.value not in request["outputs"])
    if not new:
        return ()
    if source is None and new & set(VIDEOS):
        raise InputError("overlay and matte show the video: give it with --video")
    if source is not None and request_video(source) != request["video"]:
        raise InputError(f"{source.name} is not the video that was tracked in {folder.path}")
    journal = JournalIndex(folder.state / JOURNAL)
    if journal.frames != result["frames_with_masks"]:
        raise InputError(
            f"{folder.state / JOURNAL}, which holds the masks, is damaged or missing: begin again "
            "with --overwrite"
        )
    if new & _SOFT:
        log.warning("the matte has hard edges: only outlines of the masks are recorded")
    _write_frames(folder, journal, new, source)
    outputs = sorted({*request["outputs"], *(kind.value for kind in new)})
    now = dict(request) | {"outputs": outputs}
    if OutputFormat.RLE in new:
        write_rle(folder.path / "rle.json", journal, request["video"])
    if OutputFormat.EXPLAIN in new:
        write_explanation(folder.path / EXPLAINED, folder.state, journal, now)
    rewrite_result(folder.path / RESULT, dict(result) | {"request": now})
    return tuple(kind for kind in OutputFormat if kind in new)


def _write_frames(
    folder: OutputFolder,
    journal: JournalIndex,
    new: frozenset[OutputFormat],
    source: VideoSource | None,
) -> None:
    videos = {
        kind: PartWriter(folder.state, kind.value, source.info, crf)
        for kind, crf in VIDEOS.items()
        if kind in new and source is not None
    }
    writers = frame_writers(folder.path, new, videos)
    if not writers:
        return
    unsynced: list[Path] = []
    with closing(_frames(journal, source if videos else None)) as frames:
        for record, frame in frames:
            found = _masks(record, frame)
            for writer in writers:
                unsynced += writer.write(found)
            if len(unsynced) > _SYNC_AFTER:
                sync_all(unsynced)
                unsynced.clear()
    sync_all(unsynced)
    for kind, video in videos.items():
        video.cut()
        if source is not None:
            join(folder.state, video.parts, source.info, folder.path / f"{kind.value}.mp4")


def _frames(
    journal: JournalIndex, source: VideoSource | None
) -> Generator[tuple[FrameRecord, Frame], None, None]:
    """The records with their frames, which are black without a source."""
    pictures: Iterator[Frame] | None = None
    for record in journal:
        if source is None:
            black = np.broadcast_to(np.uint8(0), (*record.size, 3))  # takes no memory
            yield record, Frame(record.frame, black, record.seconds)
            continue
        pictures = pictures or source.frames(record.frame)
        frame = next((each for each in pictures if each.index >= record.frame), None)
        if frame is None or frame.index != record.frame:
            raise InputError(
                f"{source.name} has no frame {record.frame}, and the run has: was it changed?"
            )
        yield record, frame


def _masks(record: FrameRecord, frame: Frame) -> FrameMasks:
    ids = tuple(each.id for each in record.objects)
    logits = np.full((len(ids), *record.size), -CERTAIN_LOGIT, np.float32)
    for row, each in zip(logits, record.objects, strict=True):
        row[decode_rle(each.counts, record.size)] = CERTAIN_LOGIT
    return FrameMasks(frame, record.name, ids, torch.from_numpy(logits))
