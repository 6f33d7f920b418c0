"""Write the results of every frame in the requested formats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segment_concept.ops.png import gray_png, mask_png, palette_png
from segment_concept.ops.rle import decode_rle, encode_rle
from segment_concept.pipeline.journal import (
    JOURNAL,
    FrameRecord,
    Journal,
    JournalIndex,
    ObjectRecord,
)
from segment_concept.pipeline.timeline.thumbnails import ThumbnailRecorder
from segment_concept.runtime.files import sync_all, write_atomic
from segment_concept.types import Bitmap, Frame, FrameResult, ObjectId, masks_of
from segment_concept.video.draw import gray_to_i420, overlay, to_i420
from segment_concept.video.encode import Part, PartWriter
from segment_concept.video.source import VideoInfo

OVERLAY_CRF = 20
MATTE_CRF = 12  # keeps the edges of a matte
CERTAIN_LOGIT = 32.0  # magnitude of the logits of a binary mask


class OutputFormat(Enum):
    """Formats of the results."""

    OVERLAY = "overlay"  # overlay.mp4: the video with tinted, outlined objects, and its audio
    PALETTE = "palette"  # palette/00000.png: object ids in DAVIS's palette
    OBJECTS = "objects"  # objects/001/00000.png: a mask per object, in the layout of SA-V
    RLE = "rle"  # rle.json: COCO run-length masks with times
    MATTE = "matte"  # matte.mp4: all objects white on black with soft edges
    MATTE_PNG = "matte-png"  # matte/00000.png: the same as images
    EXPLAIN = "explain"  # explain.html: a timeline of the run


@dataclass(frozen=True)
class FrameMasks:
    """A frame and the objects on it. Row i of `logits` (O, H, W) belongs to `ids[i]`.

    Logits may be on a device; they leave it as masks, labels or alpha values only.
    """

    frame: Frame
    name: str
    ids: tuple[int, ...]
    logits: Tensor

    @cached_property
    def masks(self) -> NDArray[np.bool_]:
        """(O, H, W)."""
        return masks_of(self.logits)

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """(H, W) ids, 0 = background; overlapping pixels go to the highest logit."""
        if len(self.ids) > 1 and self.logits.device.type != "cpu":
            ids = np.asarray((0, *self.ids), np.uint8)
            highest, row = self.logits.max(dim=0)
            numbers: NDArray[np.uint8] = ((row + 1) * (highest > 0)).to(torch.uint8).cpu().numpy()
            return ids[numbers]
        labels = np.zeros(self.frame.size, np.uint8)
        if len(self.ids) == 1:
            labels[self.masks[0]] = self.ids[0]
            return labels
        best = np.zeros(self.frame.size, np.float32)
        for object_id, logits in zip(self.ids, self.logits.numpy(), strict=True):
            wins = logits > best
            labels[wins] = object_id
            np.copyto(best, logits, where=wins)
        return labels

    @cached_property
    def alpha(self) -> NDArray[np.uint8]:
        """(H, W) 0 to 255: score that the pixel belongs to any object."""
        if not self.ids:
            return np.zeros(self.frame.size, np.uint8)
        logits = self.logits.amax(dim=0).cpu().numpy()
        scores = 1 / (1 + np.exp(-logits.clip(-CERTAIN_LOGIT, CERTAIN_LOGIT)))
        return np.asarray(255 * scores + 0.5, np.uint8)


class FrameWriter(Protocol):
    """Writes one format."""

    def write(self, found: FrameMasks) -> Sequence[Path]:
        """Add a frame; returns the files that are complete but perhaps not yet on the disk.

        Raises:
            OSError: the disk is full.
        """
        ...


class _Palette:
    def __init__(self, folder: Path) -> None:
        self._folder = _make_folder(folder)

    def write(self, found: FrameMasks) -> Sequence[Path]:
        path = self._folder / f"{found.name}.png"
        write_atomic(path, palette_png(found.labels))
        return (path,)


class _Objects:
    def __init__(self, folder: Path) -> None:
        self._folder = _make_folder(folder)

    def write(self, found: FrameMasks) -> Sequence[Path]:
        paths = []
        for object_id, mask in zip(found.ids, found.masks, strict=True):
            path = _make_folder(self._folder / f"{object_id:03d}") / f"{found.name}.png"
            write_atomic(path, mask_png(mask))
            paths.append(path)
        return paths


class _MattePng:
    def __init__(self, folder: Path) -> None:
        self._folder = _make_folder(folder)

    def write(self, found: FrameMasks) -> Sequence[Path]:
        path = self._folder / f"{found.name}.png"
        write_atomic(path, gray_png(found.alpha))
        return (path,)


class _Overlay:
    def __init__(self, parts: PartWriter) -> None:
        self._parts = parts

    def write(self, found: FrameMasks) -> Sequence[Path]:
        picture = overlay(found.frame.rgb, zip(found.ids, found.masks, strict=True))
        self._parts.write(found.frame, to_i420(picture))
        return ()


class _Matte:
    def __init__(self, parts: PartWriter) -> None:
        self._parts = parts

    def write(self, found: FrameMasks) -> Sequence[Path]:
        self._parts.write(found.frame, gray_to_i420(found.alpha))
        return ()


VIDEOS: dict[OutputFormat, int] = {OutputFormat.OVERLAY: OVERLAY_CRF, OutputFormat.MATTE: MATTE_CRF}


@dataclass(frozen=True, slots=True)
class WrittenState:
    """Progress of the files in the state folder."""

    journal: int = 0  # bytes
    checksum: int = 0  # of the journal's records up to there
    parts: Mapping[str, Sequence[Part]] | None = None  # by name of the video


@dataclass(frozen=True, slots=True, eq=False)
class FrameOutput:
    """A result to be written."""

    frame: Frame
    name: str
    result: FrameResult
    object_ids: Sequence[ObjectId]  # the objects to write


class Recorder:
    """Writes frames to an output folder. Used by one thread at a time."""

    def __init__(
        self,
        out: Path,
        state: Path,
        info: VideoInfo,
        save: frozenset[OutputFormat],
        written: WrittenState,
    ) -> None:
        """Continue after `written`; anything after it is dropped."""
        parts = written.parts or {}
        self._journal = Journal(state / JOURNAL, written.journal, written.checksum)
        self._videos = {
            kind: PartWriter(state, kind.value, info, crf, parts.get(kind.value, ()))
            for kind, crf in VIDEOS.items()
            if kind in save
        }
        self._writers = frame_writers(out, save, self._videos)
        self._thumbnails = ThumbnailRecorder(state) if OutputFormat.EXPLAIN in save else None
        self._earlier: JournalIndex | None = None
        self._backwards = False
        self._unsynced: list[Path] = []

    def record(self, entry: FrameOutput) -> None:
        """Add a frame. Raises OSError if the disk is full."""
        found, objects = _masks_and_records(entry)
        if self._earlier is not None and entry.frame.index in self._earlier:
            earlier = self._earlier.record(entry.frame.index).objects
            found, objects = _merge(found, objects, earlier)
        result = entry.result
        color_change = None
        if self._thumbnails is not None:
            color_change = self._thumbnails.watch(entry.frame, result)
        self._journal.append(
            FrameRecord(
                frame=entry.frame.index,
                name=entry.name,
                seconds=entry.frame.seconds,
                size=entry.frame.size,
                concept_queried=result.concept_queried,
                scene_change=result.scene_change,
                objects=tuple(objects),
                color_change=color_change,
                cut=result.cut,
                backwards=self._backwards,
                carried=result.carried,
            )
        )
        for writer in self._writers:
            self._unsynced += writer.write(found)

    def begin(self, *, backwards: bool, again: bool) -> None:
        """Begin a pass; `again` if it may add objects to frames that are already recorded."""
        self.cut()
        self._backwards = backwards
        for video in self._videos.values():
            video.backwards = backwards
        self._earlier = JournalIndex(self._journal.path) if again else None
        if self._thumbnails is not None:
            self._thumbnails.begin(backwards=backwards)

    def cut(self) -> WrittenState:
        """Finish the parts of videos; wait until images and the journal are on disk."""
        for video in self._videos.values():
            video.cut()
        if self._thumbnails is not None:
            self._thumbnails.keep()
        sync_all(self._unsynced)
        self._unsynced.clear()
        return WrittenState(self._journal.sync(), self._journal.checksum, self.parts())

    def parts(self) -> dict[str, Sequence[Part]]:
        """The finished parts of each video."""
        return {kind.value: tuple(video.parts) for kind, video in self._videos.items()}

    @property
    def journal(self) -> Path:
        """Path of the journal."""
        return self._journal.path

    @property
    def is_empty(self) -> bool:
        """Whether nothing was recorded yet."""
        return self._journal.length == 0

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def frame_writers(
    out: Path, save: frozenset[OutputFormat], videos: Mapping[OutputFormat, PartWriter]
) -> list[FrameWriter]:
    """Make the writers of the outputs that are written frame by frame.

    Args:
        out: the output folder.
        save: which outputs to write.
        videos: writers of the overlay and matte videos, if these are among the outputs.
    """
    writers: list[FrameWriter] = []
    if OutputFormat.PALETTE in save:
        writers.append(_Palette(out / "palette"))
    if OutputFormat.OBJECTS in save:
        writers.append(_Objects(out / "objects"))
    if OutputFormat.MATTE_PNG in save:
        writers.append(_MattePng(out / "matte"))
    if OutputFormat.OVERLAY in save:
        writers.append(_Overlay(videos[OutputFormat.OVERLAY]))
    if OutputFormat.MATTE in save:
        writers.append(_Matte(videos[OutputFormat.MATTE]))
    return writers


def _masks_and_records(entry: FrameOutput) -> tuple[FrameMasks, list[ObjectRecord]]:
    result = entry.result
    rows = [result.object_ids.index(i) for i in entry.object_ids]
    logits = result.logits.float()
    if len(rows) != len(logits):
        logits = logits[rows]
    found = FrameMasks(entry.frame, entry.name, tuple(int(i) for i in entry.object_ids), logits)
    presence, quality = result.presence.tolist(), result.quality.tolist()
    banks = result.keyframes or ((),) * len(presence)
    objects = [
        ObjectRecord(
            id=i,
            presence=presence[row],
            quality=quality[row],
            area=int(np.count_nonzero(mask)),
            counts=encode_rle(mask),
            keyframes=banks[row],
        )
        for i, row, mask in zip(found.ids, rows, found.masks, strict=True)
    ]
    return found, objects


def _merge(
    found: FrameMasks, objects: list[ObjectRecord], earlier: Sequence[ObjectRecord]
) -> tuple[FrameMasks, list[ObjectRecord]]:
    """Add the objects of an earlier pass, which have binary masks, to those of the same frame."""
    if not earlier:
        return found, objects
    masks: list[Bitmap] = [decode_rle(s.counts, found.frame.size) for s in earlier]
    certain = certain_logits(masks)
    ids = (*(s.id for s in earlier), *found.ids)
    logits = torch.cat((certain, found.logits.cpu()))
    return FrameMasks(found.frame, found.name, ids, logits), [*earlier, *objects]


def certain_logits(masks: Sequence[Bitmap]) -> Tensor:
    """(O, H, W) float32 logits of masks (H, W) whose pixels are certain."""
    return torch.from_numpy(np.stack(masks)).float().mul_(2 * CERTAIN_LOGIT).sub_(CERTAIN_LOGIT)


def _make_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
