"""Scores on disk: scores.json with everything, scores.csv with a row an object."""

import csv
import io
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segment_concept.data.findings import Finding, Severity
from segment_concept.data.videos import Group
from segment_concept.evaluate.scores import ObjectScore, Scores
from segment_concept.types import InputError

JSON_NAME = "scores.json"
CSV_NAME = "scores.csv"


def to_json(scores: Scores) -> dict[str, Any]:
    """Plain values; NaN becomes null."""
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
        InputError: it is not what `to_json` makes.
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
        raise InputError(f"not a file of scores: {error}") from error


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
    """A header and a row an object: video, object, part, group, then scores in percent."""
    measures = list(dict.fromkeys(m for scored in scores.objects for m in scored.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["video", "object", "part", "group", *measures])
    for scored in scores.objects:
        row = [_cell(measure, scored.values.get(measure, math.nan)) for measure in measures]
        writer.writerow([scored.video, scored.object_name, scored.part, scored.group.value, *row])
    return text.getvalue()


def _cell(measure: str, value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.0f}" if measure == "proposal" else f"{100 * value:.2f}"


def write_scores(scores: Scores, folder: Path) -> None:
    """Write scores.json and scores.csv, each whole or not at all.

    Raises:
        InputError: the folder cannot be written to, or the disk is full.
    """
    content = json.dumps(to_json(scores), indent=1, allow_nan=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / JSON_NAME, content)
        _write(folder / CSV_NAME, to_csv(scores))
    except OSError as error:
        raise InputError(
            f"the scores cannot be written to {folder}: {error.strerror or error}; "
            "choose another folder or make room"
        ) from error


def _write(path: Path, content: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_scores(folder: Path) -> Scores:
    """Read scores.json back.

    Raises:
        InputError: the file is missing or not one of ours.
    """
    path = folder / JSON_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: score first") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return from_json(content)
