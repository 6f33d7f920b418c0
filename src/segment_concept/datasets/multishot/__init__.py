"""Make clips with cuts and exact annotations from annotated single-shot sequences."""

from segment_concept.datasets.multishot.distractors import (
    AppearanceDistractors,
    CategoryDistractors,
    RandomDistractors,
    read_categories,
)
from segment_concept.datasets.multishot.footage import sequences_of
from segment_concept.datasets.multishot.make import MultishotJob, make_multishot, refuse_used
from segment_concept.datasets.multishot.plan import MultishotPlan
from segment_concept.datasets.multishot.spec import Followed, MultishotSpec, Span, Split

__all__ = [
    "RandomDistractors",
    "AppearanceDistractors",
    "CategoryDistractors",
    "MultishotJob",
    "MultishotPlan",
    "MultishotSpec",
    "Followed",
    "Span",
    "Split",
    "sequences_of",
    "make_multishot",
    "read_categories",
    "refuse_used",
]
