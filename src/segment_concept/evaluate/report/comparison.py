"""Compare runs: differences by video, and a confidence interval of their mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segment_concept.evaluate.report.breakdowns import both, overall, row_of
from segment_concept.evaluate.run_folder import read_manifest
from segment_concept.evaluate.scores import ObjectScore, Scores, read_scores
from segment_concept.types import InputError

RESAMPLES = 10_000
_SHARE = 0.95
_SEED = 0  # equal intervals in every run


@dataclass(frozen=True, slots=True)
class VideoDifference:
    """A video in both runs: mean J&F over its objects, shares of 1."""

    video: str
    objects: int
    first: float
    second: float

    @property
    def difference(self) -> float:
        """Positive if the second run is better."""
        return self.second - self.first


@dataclass(frozen=True, slots=True)
class Against:
    """A run compared with the first; (low, high) is the 95 % interval of the mean difference."""

    name: str
    mean: float
    low: float
    high: float
    videos: tuple[VideoDifference, ...]  # largest loss first

    @property
    def wins(self) -> int:
        """Number of videos on which this run is better."""
        return sum(video.difference > 0 for video in self.videos)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison of several runs on the same data."""

    benchmark: str
    protocol: str
    official: bool
    names: tuple[str, ...]
    headlines: tuple[Mapping[str, float], ...]
    against: tuple[Against, ...]
    left_out: tuple[str, ...]  # videos that are not in every run


@dataclass(frozen=True, slots=True)
class _Run:
    name: str
    dataset: str
    benchmark: str
    scores: Scores

    def objects(self) -> dict[tuple[str, str], ObjectScore]:
        return {(o.video, o.object_name): o for o in overall(self.scores.objects)}


def compare(folders: Sequence[Path]) -> Comparison:
    """Compare each scored run with the first.

    Raises:
        InputError: fewer than two runs, a run is not scored, or data or protocols differ.
    """
    if len(folders) < 2:
        raise InputError("give at least two runs to compare")
    runs = [_open(folder) for folder in folders]
    first = runs[0]
    for run, folder in zip(runs, folders, strict=True):
        if run.dataset != first.dataset:
            raise InputError(
                f"{folder} and {folders[0]} are runs on different data ({run.benchmark} and "
                f"{first.benchmark}, or files changed in between): their scores cannot be "
                "compared"
            )
        if run.scores.protocol != first.scores.protocol:
            raise InputError(
                f"{folder} was scored by {run.scores.protocol} and {folders[0]} by "
                f"{first.scores.protocol}: evaluate both with the same --protocol"
            )
    names = _names(runs, folders)
    shared = set.intersection(*(set(run.objects()) for run in runs))
    if not shared:
        raise InputError("the runs have no scored object in common: finish them first")
    everything = set.union(*(set(run.objects()) for run in runs))
    return Comparison(
        first.benchmark,
        first.scores.protocol,
        first.scores.official,
        tuple(names),
        tuple(run.scores.headline for run in runs),
        tuple(_against(n, first, r, shared) for n, r in zip(names[1:], runs[1:], strict=True)),
        tuple(sorted({video for video, _ in everything} - {video for video, _ in shared})),
    )


def _open(folder: Path) -> _Run:
    manifest = read_manifest(folder)
    return _Run(manifest.recipe, manifest.dataset, manifest.benchmark, read_scores(folder))


def _names(runs: Sequence[_Run], folders: Sequence[Path]) -> list[str]:
    """Names of the recipes; of the folders if recipes are equal."""
    recipes = [run.name for run in runs]
    return recipes if len(set(recipes)) == len(recipes) else [str(folder) for folder in folders]


def _against(name: str, first: _Run, second: _Run, shared: set[tuple[str, str]]) -> Against:
    ours, theirs = first.objects(), second.objects()
    rows = []
    for video in sorted({video for video, _ in shared}):
        keys = sorted(key for key in shared if key[0] == video)
        before = row_of(video, [ours[key] for key in keys]).both
        after = row_of(video, [theirs[key] for key in keys]).both
        rows.append(VideoDifference(video, len(keys), before, after))
    differences = [both(theirs[key]) - both(ours[key]) for key in sorted(shared)]
    low, high = bootstrap_interval(
        np.array([row.difference for row in rows]), np.array([row.objects for row in rows])
    )
    rows.sort(key=lambda row: (row.difference, row.video))
    return Against(name, float(np.mean(differences)), low, high, tuple(rows))


def bootstrap_interval(
    difference: NDArray[np.float64], weight: NDArray[np.int_]
) -> tuple[float, float]:
    """95 % bootstrap percentile interval of the weighted mean of (N,) differences (Efron 1979).

    Videos are resampled, not objects, because the objects of one video are correlated.
    """
    draw = np.random.default_rng(_SEED).integers(len(difference), size=(RESAMPLES, len(difference)))
    means = (difference * weight)[draw].sum(axis=1) / weight[draw].sum(axis=1)
    low, high = np.quantile(means, [(1 - _SHARE) / 2, (1 + _SHARE) / 2])
    return float(low), float(high)
