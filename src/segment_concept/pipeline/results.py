"""`result.json` and `rle.json`, made from the journal without holding it in memory."""

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
    """One object over a video."""

    seen: int  # frames on which its mask is not empty
    frames: int  # frames on which it was looked for
    mean_presence: float
    mean_quality: float  # over the frames on which it was seen


@dataclass(frozen=True, slots=True)
class TrackSummary:
    """What a run came to."""

    out: Path
    finished: bool
    frames: int  # with masks, those of earlier runs included
    seconds: float  # that this run took
    stepped: int  # frames that this run went through
    objects: Mapping[int, ObjectSummary]
    asked: tuple[int, ...]  # frames on which the concept encoder was asked
    skipped: tuple[int, ...]  # damaged frames

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.stepped / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class _Sums:
    seen: int = 0
    frames: int = 0
    presence: float = 0.0
    quality: float = 0.0

    def summary(self) -> ObjectSummary:
        return ObjectSummary(
            self.seen,
            self.frames,
            round(self.presence / self.frames, _DIGITS),
            round(self.quality / self.seen, _DIGITS) if self.seen else 0.0,
        )


@dataclass(slots=True)
class Digest:
    """What a journal says about a whole video."""

    frames: int = 0
    asked: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    objects: dict[int, ObjectSummary] = field(default_factory=dict)


def digest(journal: Iterable[FrameRecord], end: int | None = None) -> Digest:
    """Read a journal once.

    Args:
        journal: its records, in the order of the frames.
        end: how many frames the video has, where it was played to its end: what is missing there
            is damaged as well.
    """
    found, sums, expected = Digest(), dict[int, _Sums](), None
    for record in journal:
        found.frames += 1
        found.skipped += range(record.frame if expected is None else expected, record.frame)
        expected = record.frame + 1
        if record.concept_queried:
            found.asked.append(record.frame)
        for sighting in record.objects:
            total = sums.setdefault(sighting.id, _Sums())
            total.frames += 1
            total.presence += sighting.presence
            if sighting.area:
                total.seen += 1
                total.quality += sighting.quality
    if expected is not None and end is not None:
        found.skipped += range(expected, end)
    found.objects = {i: sums[i].summary() for i in sorted(sums)}
    return found


def read_summary(out: Path, result: Mapping[str, Any]) -> TrackSummary:
    """The summary of a run whose result is there already.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the result is not one that
            `write_result` has written.
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
        asked=tuple(result["concept_asked"]),
        skipped=tuple(result["damaged_frames"]),
    )


def write_result(
    path: Path, journal: JournalIndex, header: Mapping[str, Any], found: Digest
) -> None:
    """`result.json`: the header, what the digest says, and every frame's scores."""
    head = dict(header) | {
        "frames_with_masks": found.frames,
        "concept_asked": found.asked,
        "damaged_frames": found.skipped,
        "objects": {str(i): as_json(summary) for i, summary in found.objects.items()},
    }
    write_atomic(path, _streamed(head, "frames", map(_scores, journal)), durable=True)


def rewrite_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a `result.json` that was read and changed, in the form of `write_result`."""
    head = {key: value for key, value in result.items() if key != "frames"}
    write_atomic(path, _streamed(head, "frames", result["frames"]), durable=True)


def request_video(source: VideoSource) -> dict[str, Any]:
    """What tells a video from others: it is part of a run's request."""
    info = source.info
    return {
        "name": source.name,
        "size": list(info.size),
        "rate": str(info.rate),
        "frames": info.frames,
    }


def write_rle(path: Path, journal: JournalIndex, video: Mapping[str, Any]) -> None:
    """`rle.json`: every mask as COCO writes it, with the frame's time."""
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
    """A JSON object whose last value is a list, a row a line."""
    text = json.dumps(head, indent=1)
    yield f'{text[: text.rindex("}")].rstrip()},\n "{key}": [\n'.encode()
    before = ""
    for row in rows:
        yield f"{before}  {json.dumps(row)}".encode()
        before = ",\n"
    yield b"\n ]\n}\n"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def prompt_as_json(prompt: Prompt) -> dict[str, Any]:
    """A prompt so that it can be compared with another one, and read."""
    if isinstance(prompt, Mask):
        return {"mask": {"size": list(prompt.bitmap.shape), "counts": encode_rle(prompt.bitmap)}}
    values: dict[str, Any] = as_json(prompt)
    return values


def as_json(value: object) -> Any:
    """A configuration as plain values: a record becomes its fields and the name of its type."""
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
