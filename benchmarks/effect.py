"""What memory, concept, trigger and the second pass are each worth, on real video.

    python benchmarks/effect.py --none DAVIS16 --cuts CUTS [CUTS ...] [--workers 2] [--arms WORDS]

One table on the axes of the paper's: J&F of clips without, with one and with several cuts, the
first frame's mask given, one row for every step from SAM 2's memory to SeC with two passes. CUTS
are folders of `segment-concept cuts` or of one seed of make_davis_cuts.py each; with several, each
one's figures and their spread are shown too. Averages are over clips; first and last frames do not
count.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality import (
    Follow,
    Tally,
    follow_carried,
    follow_offline,
    follow_online,
    sequences,
    track,
)

from segment_concept.checkpoints.load import load_tracker
from segment_concept.recipes import Recipe, find_recipe
from segment_concept.tracking.concept import ConceptEncoder, ConceptRequest
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.segmenter import Concept, Features
from segment_concept.tracking.triggers.base import Never
from segment_concept.tracking.triggers.scene_change import published_hsv
from segment_concept.types import Frame

SPLITS = ("none", "single", "multi")


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of the table."""

    name: str
    recipe: Recipe
    follow: Follow = follow_online


@dataclass
class Counted:
    """A concept encoder that counts on how many frames it is asked."""

    encoder: ConceptEncoder
    asked: int = 0

    def encode(
        self, requests: Sequence[ConceptRequest], query: Frame, features: Features[Any]
    ) -> Sequence[Concept | None]:
        self.asked += 1
        return self.encoder.encode(requests, query, features)


@dataclass(frozen=True, slots=True)
class Unit:
    """One arm on one clip."""

    arm: int
    data: Path
    name: str
    split: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What is other than in the recipe."""

    weights: str | None = None
    margin: float | None = None

    def made(self, recipe: Recipe) -> Recipe:
        if self.weights is not None:
            recipe = replace(recipe, weights=self.weights)
        return recipe if self.margin is None else replace(recipe, concept_margin=self.margin)


def arms(choice: Choice) -> list[Arm]:
    """The recipes with other memories, then from SAM 2's memory to everything."""
    full = choice.made(find_recipe("sec_compact"))
    silent = replace(full, trigger=Never())
    assert isinstance(full.policy, ReliableMemory)
    slots = full.policy.slots
    others = [find_recipe(name) for name in ("samurai_compact", "sam2long_compact")]
    return [
        *(Arm(other.name, replace(other, weights=full.weights)) for other in others),
        Arm("memory of SAM 2 (7)", replace(silent, policy=RecentMemory(slots=7, pointers=8))),
        Arm(f"memory of SeC ({slots})", silent),
        Arm("memory of SeC (22)", replace(silent, policy=ReliableMemory(slots=22, pointers=16))),
        Arm("+ concept, published trigger", replace(full, trigger=published_hsv())),
        Arm("+ concept, its own trigger", full),
        Arm("+ frames carried by flow", full, follow_carried),
        Arm("+ offline mode", full, follow_offline),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--none", type=Path, help="single shots, in the layout of DAVIS")
    parser.add_argument("--cuts", type=Path, nargs="*", default=[], help="folders with clips.json")
    parser.add_argument("--weights", help="other weights for the recipe")
    parser.add_argument("--margin", type=float, help="another concept_margin")
    parser.add_argument("--arms", help="only those whose name has one of these words, by commas")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    choice = Choice(options.weights, options.margin)
    every = arms(choice)
    units = list(all_units(options, every))
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        tallies = list(pool.map(run, units, [choice] * len(units)))
    rows: dict[str, dict[str, float]] = {}
    for number, arm in enumerate(every):
        own = [(u, t, a) for u, (t, a) in zip(units, tallies, strict=True) if u.arm == number]
        rows[arm.name] = figures(own)
    rows = {name: row for name, row in rows.items() if row}
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def all_units(options: argparse.Namespace, every: Sequence[Arm]) -> Iterator[Unit]:
    words = options.arms.split(",") if options.arms else [""]
    for number, arm in enumerate(every):
        if not any(word in arm.name for word in words):
            continue
        if options.none:
            for name in sorted(sequences(options.none)):
                yield Unit(number, options.none, name, "none")
        for data in options.cuts:
            for name, clip in json.loads((data / "clips.json").read_text()).items():
                yield Unit(number, data, name, clip["split"])


def run(unit: Unit, choice: Choice) -> tuple[Tally, int]:
    """A clip's tally, and how often the concept was asked."""
    torch.set_num_threads(1)
    arm, tracker = _loaded(unit.arm, choice)
    counted = None if tracker.concept is None else Counted(tracker.concept)
    tally = track(replace(tracker, concept=counted), unit.data, unit.name, "mask", arm.follow)
    return tally, counted.asked if counted else 0


@lru_cache(maxsize=1)
def _loaded(number: int, choice: Choice):
    arm = arms(choice)[number]
    return arm, load_tracker(arm.recipe)


def figures(done: Sequence[tuple[Unit, Tally, int]]) -> dict[str, float]:
    """Per cent."""
    row: dict[str, float] = {}
    for split in SPLITS:
        clips = [(u, t) for u, t, _ in done if u.split == split]
        if clips:
            row[f"{split} J"] = _mean(np.mean(t.j) for _, t in clips)
            row[f"{split} F"] = _mean(np.mean(t.f) for _, t in clips)
            row[f"{split} J&F"] = (row[f"{split} J"] + row[f"{split} F"]) / 2
            by_data = {
                data: _mean((np.mean(t.j) + np.mean(t.f)) / 2 for u, t in clips if u.data == data)
                for data in dict.fromkeys(u.data for u, _ in clips)
            }
            if len(by_data) > 1:
                row[f"{split} spread"] = float(np.std(list(by_data.values()), ddof=1))
                row |= {f"{split} J&F {data.name}": mean for data, mean in by_data.items()}
    if done:
        visible = np.concatenate([t.visible for _, t, _ in done])
        empty = np.concatenate([t.empty for _, t, _ in done])
        row["visible empty"] = 100 * float(empty[visible].mean())
        if not visible.all():
            row["absent empty"] = 100 * float(empty[~visible].mean())
        row["asked"] = 100 * sum(asked for _, _, asked in done) / len(visible)
        row["frames/s"] = len(visible) / sum(t.seconds for _, t, _ in done)
    return row


def table(rows: dict[str, dict[str, float]]) -> str:
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = (f"{row[column]:.1f}" if column in row else "" for column in columns)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(values: Iterator[np.floating]) -> float:
    return 100 * float(np.mean(list(values)))


if __name__ == "__main__":
    main()
