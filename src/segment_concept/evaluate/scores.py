"""Results of scoring: values per object, the headline row, and findings."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from segment_concept.datasets.findings import Finding, Severity, errors_of
from segment_concept.datasets.types import Group
from segment_concept.runtime.files import write_atomic
from segment_concept.runtime.json_files import read_json
from segment_concept.runtime.names import printable
from segment_concept.types import InputError

OVERALL = "overall"
# What a cell begins with that a spreadsheet takes for a formula: OWASP, "CSV Injection".
_FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """The measures of one object of one video.

    `values` are scores in [0, 1] by measure (except decay and V), NaN if undefined; `curves`
    are the per-frame measures over `frames`. `part` is the scored part of the video, for protocols
    that score several parts.
    """

    video: str
    object_name: str
    values: Mapping[str, float]
    frames: tuple[str, ...] = ()
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    part: str = OVERALL
    group: Group = Group.NONE


@dataclass(frozen=True, slots=True)
class VideoScores:
    """Scores of one video's objects, and findings; a broken video has errors and no objects."""

    video: str
    objects: tuple[ObjectScore, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """The result of scoring a dataset.

    `headline` is the row of the benchmark's table, in its order, with scores in [0, 1]. `official`
    tells whether the protocol reproduces a published evaluator, not only its description.
    """

    protocol: str
    official: bool
    headline: Mapping[str, float]
    objects: tuple[ObjectScore, ...]
    findings: tuple[Finding, ...]

    @property
    def broken_videos(self) -> tuple[str, ...]:
        """Names of the videos that could not be scored and are not in the headline."""
        return tuple(sorted({finding.video for finding in errors_of(self.findings)}))


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean; NaN of an empty sequence."""
    return math.fsum(values) / len(values) if values else math.nan


def mean_of(objects: Sequence[ObjectScore], measure: str) -> float:
    """The mean of one measure over objects (not over videos), as every protocol averages."""
    return mean([scored.values[measure] for scored in objects])


def average(*scores: float) -> float:
    """The mean of a few headline scores."""
    return mean(scores)


JSON_NAME = "scores.json"
CSV_NAME = "scores.csv"


def to_json(scores: Scores) -> dict[str, Any]:
    """Convert to plain values; NaN becomes null."""
    return {
        "protocol": scores.protocol,
        "official": scores.official,
        "headline": _plain(scores.headline),
        "objects": [
            {**asdict(scored), "values": _plain(scored.values), "group": scored.group.value}
            for scored in scores.objects
        ],
        "findings": [
            {**asdict(finding), "severity": finding.severity.value} for finding in scores.findings
        ],
    }


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else value for key, value in values.items()}


def from_json(content: Mapping[str, Any]) -> Scores:
    """The inverse of `to_json`.

    Raises:
        InputError: the content does not have this format.
    """
    try:
        return Scores(
            content["protocol"],
            content["official"],
            _numbers(content["headline"]),
            tuple(_object(entry) for entry in content["objects"]),
            tuple(_finding(entry) for entry in content["findings"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"not a scores file: {error}") from error


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {key: math.nan if value is None else value for key, value in values.items()}


def _object(entry: Mapping[str, Any]) -> ObjectScore:
    curves = {measure: tuple(curve) for measure, curve in entry["curves"].items()}
    return ObjectScore(
        entry["video"],
        entry["object_name"],
        _numbers(entry["values"]),
        tuple(entry["frames"]),
        curves,
        entry["part"],
        Group(entry["group"]),
    )


def _finding(entry: Mapping[str, Any]) -> Finding:
    return Finding(**{**entry, "severity": Severity(entry["severity"])})


def to_csv(scores: Scores) -> str:
    """A header and one row per object: video, object, part, group, then scores in percent.

    A name that a spreadsheet would run as a formula (`=...`) stands behind an apostrophe.
    """
    measures = list(dict.fromkeys(m for scored in scores.objects for m in scored.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["video", "object", "part", "group", *map(_text, measures)])
    for scored in scores.objects:
        row = [_cell(measure, scored.values.get(measure, math.nan)) for measure in measures]
        names = [scored.video, scored.object_name, scored.part, scored.group.value]
        writer.writerow([*map(_text, names), *row])
    return text.getvalue()


def _text(name: str) -> str:
    shown = printable(name).replace("\n", " ")
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _cell(measure: str, value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.0f}" if measure == "proposal" else f"{100 * value:.2f}"


def write_scores(scores: Scores, folder: Path) -> None:
    """Write scores.json and scores.csv atomically.

    Raises:
        InputError: the folder cannot be written to, or the disk is full.
    """
    content = json.dumps(to_json(scores), indent=1, allow_nan=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / JSON_NAME, content, durable=True)
        write_atomic(folder / CSV_NAME, to_csv(scores), durable=True)
    except OSError as error:
        raise InputError(
            f"the scores cannot be written to {folder}: {error.strerror or error}; "
            "choose another folder or free disk space"
        ) from error


def read_scores(folder: Path) -> Scores:
    """Read scores.json.

    Raises:
        InputError: the file is missing or has another format.
    """
    path = folder / JSON_NAME
    content = read_json(path, "score the run first")
    return from_json(content)
