"""Benchmarks take the place of an encoder to count and time it: they are asked as one is."""

import inspect
import sys
from importlib import import_module
from pathlib import Path

import pytest

from segment_concept.tracking.concept import ConceptEncoder

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    ("script", "name"), [("bench_full_size", "Watched"), ("effect", "Counted")]
)
def test_stand_ins_for_an_encoder_are_asked_as_an_encoder_is(script, name, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    stand_in = getattr(import_module(script), name)
    monkeypatch.delitem(sys.modules, script)
    asked = inspect.signature(stand_in.encode).parameters
    assert list(asked) == list(inspect.signature(ConceptEncoder.encode).parameters)
