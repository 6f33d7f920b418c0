"""The content of a report as plain values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from segment_concept.datasets.findings import Finding
from segment_concept.datasets.survey import VideoSurvey
from segment_concept.evaluate.report.breakdowns import (
    AfterReturn,
    Curve,
    Row,
    after_return,
    both,
    boundary_measure,
    by_cuts,
    by_split,
    by_video,
    over_time,
    overall,
)
from segment_concept.evaluate.run_folder import Cost, Manifest, RunFolder, VideoRecord
from segment_concept.evaluate.scores import Scores

_MEGA = 1 << 20


@dataclass(frozen=True, slots=True)
class TotalCost:
    """Cost of all videos; memory is the highest peak of a process, in MiB."""

    videos: int
    frames: int
    seconds: float  # total of all workers
    concept_calls: int
    memory: float | None
    gpu_memory: float | None
    devices: tuple[str, ...]

    @property
    def rate(self) -> float:
        """Frames per second of one worker, including reading and writing."""
        return self.frames / self.seconds if self.seconds else math.nan


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One object's scores."""

    video: str
    name: str
    group: str
    frames: int
    both: float
    region: float
    boundary: float


@dataclass(frozen=True, slots=True)
class Report:
    """Report of a run. Scores are shares of 1; fields without scores are empty."""

    manifest: Manifest
    protocol: str
    official: bool
    measure: str  # name of the main column: J&F or J&F-dot
    headline: Mapping[str, float]
    splits: tuple[Row, ...]
    videos: tuple[Row, ...]
    objects: tuple[ObjectRow, ...]
    over_time: Curve
    by_cuts: tuple[tuple[str, int, float], ...]
    after_return: AfterReturn | None
    broken: tuple[tuple[str, str], ...]  # (video, reason)
    findings: tuple[Finding, ...]
    cost: TotalCost
    command: str

    @property
    def is_whole(self) -> bool:
        """Whether every video has a result."""
        return not self.broken


def make_report(
    run: RunFolder,
    manifest: Manifest,
    scores: Scores | None,
    surveys: Mapping[str, VideoSurvey],
    command: str,
) -> Report:
    """Collect the results of a run; `surveys` give the visibility of objects by video, if known."""
    records = [found for v in manifest.videos if (found := run.record(v)) is not None]
    cuts = {r.video: r.prediction.cuts for r in records if r.prediction is not None}
    objects = scores.objects if scores is not None else ()
    measure = "J&Fdot" if any(boundary_measure(o) == "Fdot" for o in objects) else "J&F"
    return Report(
        manifest,
        scores.protocol if scores else "",
        scores.official if scores else False,
        measure,
        scores.headline if scores else {},
        tuple(by_split(objects)) if objects else (),
        tuple(by_video(objects)),
        tuple(_object_row(o) for o in overall(objects)),
        over_time(objects),
        tuple(by_cuts(objects, cuts)) if any(cuts.values()) else (),
        after_return(objects, surveys) if surveys else None,
        _broken(manifest, records, scores),
        scores.findings if scores else (),
        total_cost(run, records),
        command,
    )


def _object_row(o: Any) -> ObjectRow:
    measures = (both(o), o.values["J"], o.values[boundary_measure(o)])
    return ObjectRow(o.video, o.object_name, o.group.value, len(o.frames), *measures)


def _broken(
    manifest: Manifest, records: Sequence[VideoRecord], scores: Scores | None
) -> tuple[tuple[str, str], ...]:
    """Videos without a result, and why: not predicted or not scored."""
    reasons = {r.video: r.problem for r in records if r.prediction is None}
    there = {record.video for record in records}
    reasons |= {video: "not predicted yet" for video in manifest.videos if video not in there}
    if scores is not None:
        for finding in scores.findings:
            if finding.video in scores.broken_videos:
                reasons.setdefault(finding.video, f"not scored: {finding.message}")
    return tuple(sorted(reasons.items()))


def total_cost(run: RunFolder, records: Sequence[VideoRecord]) -> TotalCost:
    """Total cost of the predicted videos."""
    done = [r for r in records if r.prediction is not None]
    costs = [cost for r in done if (cost := run.cost(r.video)) is not None]
    return TotalCost(
        len(done),
        sum(cost.frames for cost in costs),
        sum(cost.seconds for cost in costs),
        sum(r.prediction.concept_calls for r in done if r.prediction is not None),
        _peak(costs, "memory"),
        _peak(costs, "gpu_memory"),
        tuple(sorted({cost.device for cost in costs if cost.device})),
    )


def _peak(costs: Sequence[Cost], kind: str) -> float | None:
    known = [value for cost in costs if (value := getattr(cost, kind)) is not None]
    return max(known) / _MEGA if known else None


def to_json(report: Report) -> dict[str, Any]:
    """Plain values with None for NaN. Only `cost` and `command` differ between equal runs."""
    values = asdict(report)
    values["cost"]["frames_per_second"] = report.cost.rate
    values["findings"] = [str(finding) for finding in report.findings]
    found: dict[str, Any] = plain(values)
    return found


def plain(value: Any) -> Any:
    """Convert to mappings, lists, strings and numbers; NaN becomes None."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
