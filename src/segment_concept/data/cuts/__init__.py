"""Clips with cuts and exact truth, made from annotated sequences without any."""

from segment_concept.data.cuts.alike import AtRandom, ByAppearance, ByCategory, read_categories
from segment_concept.data.cuts.footage import footage_of
from segment_concept.data.cuts.make import CutsJob, make_cuts, refuse_used
from segment_concept.data.cuts.plan import CutsPlan
from segment_concept.data.cuts.spec import CutsSpec, Followed, Span, Split

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
