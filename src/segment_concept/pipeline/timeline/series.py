"""What a run's journal tells, gathered once: a few numbers a frame."""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from segment_concept.pipeline.journal import FrameRecord, ObjectRecord
from segment_concept.tracking.triggers.scene_change import HistogramShift


@dataclass(frozen=True, slots=True)
class KeyframeSpan:
    """A keyframe in an object's bank, and on which frames of the video it was there."""

    keyframe: int
    first: int
    last: int


@dataclass(slots=True, eq=False)
class ObjectSeries:
    """One object over time: a value for each of its `frames`."""

    frames: "array[int]" = field(default_factory=lambda: array("q"))
    presence: "array[float]" = field(default_factory=lambda: array("f"))
    quality: "array[float]" = field(default_factory=lambda: array("f"))
    share: "array[float]" = field(default_factory=lambda: array("f"))  # of the picture
    stays: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # by keyframe

    def add(self, record: FrameRecord, sighting: ObjectRecord) -> None:
        """What one frame says."""
        height, width = record.size
        self.frames.append(record.frame)
        self.presence.append(sighting.presence)
        self.quality.append(sighting.quality)
        self.share.append(sighting.area / (height * width))
        before = self.frames[-2] if len(self.frames) > 1 else None
        for keyframe in sighting.keyframes:
            stays = self.stays.setdefault(keyframe, [])
            first = stays.pop()[0] if stays and stays[-1][1] == before else record.frame
            stays.append((first, record.frame))

    @property
    def bank(self) -> list[KeyframeSpan]:
        """In the order of the video."""
        return [KeyframeSpan(k, *stay) for k, stays in sorted(self.stays.items()) for stay in stays]


@dataclass(slots=True, eq=False)
class TimelineData:
    """Everything that the timeline shows. 40 bytes a frame and object, or so."""

    threshold: float  # of the distance, above which frames are called another shot
    has_concept: bool = False
    frames: "array[int]" = field(default_factory=lambda: array("q"))
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    distance: "array[float]" = field(default_factory=lambda: array("f"))  # NaN where none is known
    cuts: list[int] = field(default_factory=list)  # first frames of shots
    asked: list[int] = field(default_factory=list)
    objects: dict[int, ObjectSeries] = field(default_factory=dict)

    @property
    def span(self) -> tuple[int, int]:
        """First and last frame."""
        return self.frames[0], self.frames[-1]


def read_timeline(journal: Iterable[FrameRecord], request: Mapping[str, Any]) -> TimelineData:
    """Read a journal once. Of the request only the video's rate and the recipe's trigger count."""
    trigger = (request.get("recipe") or {}).get("trigger") or {}
    story = TimelineData(_threshold(trigger), bool(trigger) and trigger.get("type") != "Never")
    rate = _rate(request)
    for record in journal:
        distance = record.scene_change if record.scene_change is not None else record.color_change
        story.frames.append(record.frame)
        known = record.seconds is not None
        story.seconds.append(record.seconds if known else record.frame / rate)  # type: ignore[arg-type]
        story.distance.append(float("nan") if distance is None else distance)
        if record.cut or (distance is not None and distance > story.threshold):
            # Played backwards it was the next frame that it differed from.
            story.cuts.append(record.frame + record.backwards)
        if record.concept_queried:
            story.asked.append(record.frame)
            story.has_concept = True
        for sighting in record.objects:
            story.objects.setdefault(sighting.id, ObjectSeries()).add(record, sighting)
    story.cuts = sorted({*story.cuts})
    story.objects = dict(sorted(story.objects.items()))
    return story


def _rate(request: Mapping[str, Any]) -> float:
    over, _, under = str(request["video"]["rate"]).partition("/")
    return float(over) / float(under or 1)


def _threshold(trigger: object) -> float:
    """The `above` of the trigger that measures a distance; else the published one."""
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
