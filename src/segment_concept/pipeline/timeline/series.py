"""Time series of a run, read from its journal."""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from segment_concept.pipeline.journal import FrameRecord, ObjectRecord


@dataclass(frozen=True, slots=True)
class KeyframeSpan:
    """First and last frame on which a keyframe was in an object's bank."""

    keyframe: int
    first: int
    last: int


@dataclass(slots=True, eq=False)
class ObjectSeries:
    """One object over time: a value for each of its `frames`."""

    frames: "array[int]" = field(default_factory=lambda: array("q"))
    presence: "array[float]" = field(default_factory=lambda: array("f"))
    quality: "array[float]" = field(default_factory=lambda: array("f"))
    share: "array[float]" = field(default_factory=lambda: array("f"))  # of the area of the frame
    spans: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # by keyframe

    def add(self, record: FrameRecord, found: ObjectRecord) -> None:
        """Append the values of a frame."""
        height, width = record.size
        self.frames.append(record.frame)
        self.presence.append(found.presence)
        self.quality.append(found.quality)
        self.share.append(found.area / (height * width))
        before = self.frames[-2] if len(self.frames) > 1 else None
        for keyframe in found.keyframes:
            spans = self.spans.setdefault(keyframe, [])
            first = spans.pop()[0] if spans and spans[-1][1] == before else record.frame
            spans.append((first, record.frame))

    @property
    def bank(self) -> list[KeyframeSpan]:
        """All spans, in the order of their keyframes."""
        return [KeyframeSpan(k, *span) for k, spans in sorted(self.spans.items()) for span in spans]


@dataclass(slots=True, eq=False)
class TimelineData:
    """Everything that the timeline shows; about 40 bytes per frame and object."""

    threshold: float  # color difference above which a frame starts a new shot
    has_concept: bool = False
    frames: "array[int]" = field(default_factory=lambda: array("q"))
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    distance: "array[float]" = field(default_factory=lambda: array("f"))  # NaN if unknown
    cuts: list[int] = field(default_factory=list)  # first frames of shots
    queried: list[int] = field(default_factory=list)
    objects: dict[int, ObjectSeries] = field(default_factory=dict)

    @property
    def span(self) -> tuple[int, int]:
        """First and last frame."""
        return self.frames[0], self.frames[-1]


def read_timeline(journal: Iterable[FrameRecord], request: Mapping[str, Any]) -> TimelineData:
    """Read a journal; `request` gives the frame rate of the video and the trigger of the recipe."""
    trigger = (request.get("recipe") or {}).get("trigger") or {}
    timeline = TimelineData(_threshold(trigger), bool(trigger) and trigger.get("type") != "Never")
    rate = _rate(request)
    for record in journal:
        distance = record.scene_change if record.scene_change is not None else record.color_change
        timeline.frames.append(record.frame)
        known = record.seconds is not None
        timeline.seconds.append(record.seconds if known else record.frame / rate)  # type: ignore[arg-type]
        timeline.distance.append(float("nan") if distance is None else distance)
        if record.cut or (distance is not None and distance > timeline.threshold):
            # Played backwards, the previous frame is the next one of the video.
            timeline.cuts.append(record.frame + record.backwards)
        if record.concept_queried:
            timeline.queried.append(record.frame)
            timeline.has_concept = True
        for found in record.objects:
            timeline.objects.setdefault(found.id, ObjectSeries()).add(record, found)
    timeline.cuts = sorted({*timeline.cuts})
    timeline.objects = dict(sorted(timeline.objects.items()))
    return timeline


def _rate(request: Mapping[str, Any]) -> float:
    over, _, under = str(request["video"]["rate"]).partition("/")
    return float(over) / float(under or 1)


def _threshold(trigger: object) -> float:
    """The `above` of the trigger that measures a color difference; else the published value."""
    # It loads torch, which a process that only draws timelines does not need.
    from segment_concept.tracking.triggers.scene_change import HistogramShift

    return next(_values_of("above", trigger), HistogramShift().above)


def _values_of(name: str, value: object) -> Iterator[float]:
    if isinstance(value, Mapping):
        if isinstance(value.get(name), int | float):
            yield float(value[name])
        for inner in value.values():
            yield from _values_of(name, inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _values_of(name, inner)
