"""Region similarity (J) and boundary accuracy (F) of masks."""

from segment_concept.metrics.boundary import boundary_accuracy, boundary_map, disk, tolerance_radius
from segment_concept.metrics.mose import MosePair, mose_pair
from segment_concept.metrics.pairs import PairScore, davis_pair
from segment_concept.metrics.region import region_similarity
from segment_concept.metrics.statistics import decay, recall

__all__ = [
    "MosePair",
    "PairScore",
    "boundary_map",
    "boundary_accuracy",
    "davis_pair",
    "decay",
    "disk",
    "mose_pair",
    "recall",
    "region_similarity",
    "tolerance_radius",
]
