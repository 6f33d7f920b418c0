"""Write `result.json` and `rle.json` from the journal, one frame at a time."""

import json
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from segment_concept.ops.rle import encode_rle
from segment_concept.pipeline.journal import FrameRecord, JournalIndex
from segment_concept.runtime.files import write_atomic
from segment_concept.types import Mask, Prompt
from segment_concept.video.source import VideoSource

_DIGITS = 4


@dataclass(frozen=True, slots=True)
class ObjectSummary:
    """Statistics of one object over a video."""

    visible: int  # number of frames with a mask that is not empty
    frames: int  # number of frames on which it was tracked
    mean_presence: float
    mean_quality: float  # over the visible frames


@dataclass(frozen=True, slots=True)
class TrackSummary:
    """The result of a run."""

    out: Path
    finished: bool
    frames: int  # with masks, including those of earlier runs
    seconds: float  # duration of this run
    stepped: int  # frames that this run tracked
    objects: Mapping[int, ObjectSummary]
    queries: tuple[int, ...]  # frames on which the concept encoder was queried
    skipped: tuple[int, ...]  # damaged frames
    carried: int = 0  # frames whose masks were carried from their neighbors by optical flow

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.stepped / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class _Sums:
    visible: int = 0
    frames: int = 0
    presence: float = 0.0
    quality: float = 0.0

    def summary(self) -> ObjectSummary:
        return ObjectSummary(
            self.visible,
            self.frames,
            round(self.presence / self.frames, _DIGITS),
            round(self.quality / self.visible, _DIGITS) if self.visible else 0.0,
        )


@dataclass(slots=True)
class Digest:
    """Summary of a journal."""

    frames: int = 0
    carried: int = 0
    queries: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    objects: dict[int, ObjectSummary] = field(default_factory=dict)


def digest(journal: Iterable[FrameRecord], end: int | None = None) -> Digest:
    """Read a journal once.

    Args:
        journal: its records, in the order of the frames.
        end: number of frames of the video, if it was played to its end; missing frames at the end
            are then damaged as well.
    """
    found, sums, expected = Digest(), dict[int, _Sums](), None
    for record in journal:
        found.frames += 1
        found.carried += record.carried
        found.skipped += range(record.frame if expected is None else expected, record.frame)
        expected = record.frame + 1
        if record.concept_queried:
            found.queries.append(record.frame)
        for object_record in record.objects:
            total = sums.setdefault(object_record.id, _Sums())
            total.frames += 1
            total.presence += object_record.presence
            if object_record.area:
                total.visible += 1
                total.quality += object_record.quality
    if expected is not None and end is not None:
        found.skipped += range(expected, end)
    found.objects = {i: sums[i].summary() for i in sorted(sums)}
    return found


def read_summary(out: Path, result: Mapping[str, Any]) -> TrackSummary:
    """The summary of a finished run, from its result.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it was not written by `write_result`.
    """
    objects = {
        int(i): ObjectSummary(**{k: v for k, v in values.items() if k != "type"})
        for i, values in result["objects"].items()
    }
    return TrackSummary(
        out=out,
        finished=bool(result["finished"]),
        frames=operator.index(result["frames_with_masks"]),
        seconds=0.0,
        stepped=0,
        objects=objects,
        queries=tuple(result["concept_queries"]),
        skipped=tuple(result["damaged_frames"]),
        carried=operator.index(result.get("carried_frames", 0)),
    )


def write_result(
    path: Path, journal: JournalIndex, header: Mapping[str, Any], found: Digest
) -> None:
    """Write `result.json`: the header, the digest, and the scores of every frame."""
    head = dict(header) | {
        "frames_with_masks": found.frames,
        "carried_frames": found.carried,
        "concept_queries": found.queries,
        "damaged_frames": found.skipped,
        "objects": {str(i): as_json(summary) for i, summary in found.objects.items()},
    }
    write_atomic(path, _streamed(head, "frames", map(_scores, journal)), durable=True)


def rewrite_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a changed `result.json` in the format of `write_result`."""
    head = {key: value for key, value in result.items() if key != "frames"}
    write_atomic(path, _streamed(head, "frames", result["frames"]), durable=True)


def request_video(source: VideoSource) -> dict[str, Any]:
    """Name, size, rate and length of a video, as part of the request of a run."""
    info = source.info
    return {
        "name": source.name,
        "size": list(info.size),
        "rate": str(info.rate),
        "frames": info.frames,
    }


def write_rle(path: Path, journal: JournalIndex, video: Mapping[str, Any]) -> None:
    """Write `rle.json`: all masks as COCO run lengths, with the times of the frames."""
    rows = map(_runs, journal)
    write_atomic(path, _streamed({"video": dict(video)}, "frames", rows), durable=True)


def _scores(record: FrameRecord) -> dict[str, Any]:
    return {
        "frame": record.frame,
        "name": record.name,
        "seconds": _rounded(record.seconds),
        "concept_queried": record.concept_queried,
        "scene_change": _rounded(record.scene_change),
        "cut": record.cut,
        "carried": record.carried,
        "objects": {
            str(s.id): {
                "presence": _rounded(s.presence),
                "quality": _rounded(s.quality),
                "area": s.area,
            }
            for s in record.objects
        },
    }


def _runs(record: FrameRecord) -> dict[str, Any]:
    return {
        "frame": record.frame,
        "name": record.name,
        "seconds": record.seconds,
        "objects": [
            {
                "id": s.id,
                "score": _rounded(s.presence),
                "area": s.area,
                "segmentation": {"size": list(record.size), "counts": s.counts},
            }
            for s in record.objects
        ],
    }


def _streamed(
    head: Mapping[str, Any], key: str, rows: Iterable[Mapping[str, Any]]
) -> Iterator[bytes]:
    """A JSON object whose last value is a list, one row per line."""
    text = json.dumps(head, indent=1)
    yield f'{text[: text.rindex("}")].rstrip()},\n "{key}": [\n'.encode()
    separator = ""
    for row in rows:
        yield f"{separator}  {json.dumps(row)}".encode()
        separator = ",\n"
    yield b"\n ]\n}\n"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def prompt_as_json(prompt: Prompt) -> dict[str, Any]:
    """A prompt as readable, comparable JSON values."""
    if isinstance(prompt, Mask):
        return {"mask": {"size": list(prompt.bitmap.shape), "counts": encode_rle(prompt.bitmap)}}
    values: dict[str, Any] = as_json(prompt)
    return values


def as_json(value: object) -> Any:
    """A configuration as JSON values. A dataclass becomes its type name and fields."""
    if is_dataclass(value) and not isinstance(value, type):
        named = {f.name: as_json(getattr(value, f.name)) for f in fields(value)}
        return {"type": type(value).__name__} | named
    if isinstance(value, Mapping):
        return {str(k): as_json(v) for k, v in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(as_json(v) for v in value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [as_json(v) for v in value]
    if isinstance(value, Enum):
        return as_json(value.value)
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
