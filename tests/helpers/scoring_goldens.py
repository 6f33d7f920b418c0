"""The fixtures of procedural shapes and what the official evaluators said of them."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.fixtures import facts
from segment_concept.datasets.open import open_dataset
from segment_concept.datasets.types import Benchmark, Source
from segment_concept.evaluate.protocols.registry import ProtocolName, RuleOptions, rules_for
from segment_concept.evaluate.scores import ObjectScore, Scores
from segment_concept.evaluate.scoring import Work, score_dataset

TOLERANCE = 1e-9


def golden(evaluator: str) -> dict[str, Any]:
    content: dict[str, Any] = facts(f"evaluation/golden_{evaluator}")
    return content


def scored(
    protocol: ProtocolName,
    source: Source,
    predictions: Path,
    *,
    benchmark: Benchmark = Benchmark.FOLDER,
    options: RuleOptions | None = None,
    work: Work | None = None,
) -> Scores:
    rules = rules_for(benchmark, protocol, options)
    return score_dataset(open_dataset(benchmark, source), predictions, rules, work or Work())


def agree(ours: float, theirs: float | None, scale: float = 1.0) -> bool:
    """Equal within 1e-9; the official NaN is null in the files."""
    if theirs is None:
        return math.isnan(ours)
    return abs(ours * scale - theirs) <= TOLERANCE * scale


def assert_agree(ours: Mapping[str, float], theirs: Mapping[str, Any], scale: float = 1.0) -> None:
    wrong = {k: (ours.get(k), v) for k, v in theirs.items() if not agree(ours[k], v, scale)}
    assert not wrong


def by_name(objects: tuple[ObjectScore, ...], part: str = "overall") -> dict[str, ObjectScore]:
    return {f"{o.video}_{o.object_name}": o for o in objects if o.part == part}
