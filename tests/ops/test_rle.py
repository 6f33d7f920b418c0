"""COCO run-length masks, against strings that pycocotools writes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from segment_concept.ops.rle import counts_to_text, decode_rle, encode_rle, runs_of, text_to_counts
from segment_concept.types import InputError


def literal_text(runs: list[int]) -> str:
    """`rleToString` of COCO's maskApi.c, one number after the other."""
    text = ""
    for i, run in enumerate(runs):
        x = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            c = x & 0x1F
            x >>= 5
            more = x != -1 if c & 0x10 else x != 0
            text += chr((c | 0x20 if more else c) + 48)
    return text


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        ([6, 1, 40, 4, 5, 4, 5, 4, 21], "61X13mN000`0"),  # of the tests that pycocotools carries
        ([0, 4], "04"),
        ([9], "9"),
        ([16], "`0"),
        ([31, 32], "o0P1"),
    ],
)
def test_known_runs_have_known_texts(runs, text):
    assert counts_to_text(np.array(runs)) == text
    assert text_to_counts(text).tolist() == runs


def test_runs_go_down_the_columns_and_begin_with_background():
    mask = np.array([[1, 0], [1, 1]], bool)
    assert runs_of(mask).tolist() == [0, 2, 1, 1]


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40)))
@settings(max_examples=150, deadline=None)
def test_every_mask_comes_back(mask):
    text = encode_rle(mask)
    assert text == literal_text(runs_of(mask).tolist())
    assert (decode_rle(text, mask.shape) == mask).all()


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_long_runs_come_back(runs):
    text = counts_to_text(np.array(runs, np.int64))
    assert text == literal_text(runs)
    assert text_to_counts(text).tolist() == runs


def test_a_text_of_another_size_is_refused():
    with pytest.raises(InputError, match="expected 3x3"):
        decode_rle(encode_rle(np.ones((2, 2), bool)), (3, 3))


@pytest.mark.parametrize(("text", "why"), [("04P", "within a number"), ("0 4", "character")])
def test_a_damaged_text_is_refused(text, why):
    with pytest.raises(InputError, match=why):
        decode_rle(text, (2, 2))
