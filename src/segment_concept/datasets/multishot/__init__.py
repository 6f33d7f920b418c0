"""Clips with cuts and exact truth, made from annotated sequences without any."""

from segment_concept.datasets.multishot.distractors import (
    AtRandom,
    ByAppearance,
    ByCategory,
    read_categories,
)
from segment_concept.datasets.multishot.footage import footage_of
from segment_concept.datasets.multishot.make import CutsJob, make_cuts, refuse_used
from segment_concept.datasets.multishot.plan import CutsPlan
from segment_concept.datasets.multishot.spec import CutsSpec, Followed, Span, Split

__all__ = [
    "AtRandom",
    "ByAppearance",
    "ByCategory",
    "CutsJob",
    "CutsPlan",
    "CutsSpec",
    "Followed",
    "Span",
    "Split",
    "footage_of",
    "make_cuts",
    "read_categories",
    "refuse_used",
]
