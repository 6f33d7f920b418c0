"""Measures of MOSE v2: smoothed J, and F with a tolerance that depends on the object size.

Definitions of the published scorer, including its peculiarities (see `disk`).
"""

import math
from typing import NamedTuple

import numpy as np

from segment_concept.metrics.boundary import TOLERANCE, boundary_map, boundary_match, disk
from segment_concept.metrics.pairs import MaskPair, without_partner
from segment_concept.ops.overlap import Overlap

_OF_OBJECT_SIDE = 0.1  # adaptive tolerance, relative to the square root of the true area


class MosePair(NamedTuple):
    """Scores of one object in one frame, in [0, 1]."""

    region: float  # J, smoothed
    boundary: float  # F
    adaptive_boundary: float  # F-dot


def smoothed_jaccard(counts: Overlap) -> float:
    """J with one pixel added to both counts, so that missing a small object scores above 0."""
    if not counts.union:
        return 1.0
    return float(np.clip((counts.shared + 1) / (counts.union + 1), 0.0, 1.0))


def mose_pair(pair: MaskPair) -> MosePair:
    """J, F and F-dot of one object in one frame."""
    counts = pair.overlap()
    region = smoothed_jaccard(counts)
    if not counts.predicted or not counts.true:
        alone = without_partner(counts, pair.size)
        return MosePair(region, alone, alone)
    predicted, true = boundary_map(pair.predicted), boundary_map(pair.true)
    plain = TOLERANCE * math.hypot(*pair.size)
    adaptive = math.ceil(_OF_OBJECT_SIDE * math.sqrt(counts.true))
    if adaptive < plain:
        small = boundary_match(predicted, true, disk(float(adaptive)))
        return MosePair(
            region, boundary_match(predicted, true, disk(float(math.ceil(plain)))), small
        )
    # As published, large objects use the fractional radius, not its ceiling.
    f = boundary_match(predicted, true, disk(plain))
    return MosePair(region, f, f)
