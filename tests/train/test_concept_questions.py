"""The questions of stage 2, beside the distribution that SeC's release drew."""

import json
from collections import Counter
from functools import cache

import numpy as np
import pytest

from helpers.fixtures import facts, fixture
from segment_concept.ops.rle import text_to_counts
from segment_concept.train.concept_questions import QuestionRules, draw_question
from segment_concept.types import InputError

ITEMS = (("sav_000001", 0), ("sav_000002", 0), ("sav_000003", 1))  # of the recorded draws
DRAWS = 600
# chi-square quantiles at p = 1e-4 by degrees of freedom (scipy.stats.chi2.isf)
LIMITS = {1: 15.14, 2: 18.42, 3: 21.11, 4: 23.51, 5: 25.74, 6: 27.86}


@cache
def visible(video):
    content = json.loads(fixture(f"training/sav_tiny/{video}_manual.json").read_text())
    return np.array(
        [[text_to_counts(e["counts"])[1::2].sum() > 0 for e in row] for row in content["masklet"]]
    )


@pytest.fixture(scope="module")
def drawn():
    return [
        [draw_question(visible(video), column, seed) for seed in range(DRAWS)]
        for video, column in ITEMS
    ]


@pytest.fixture(scope="module")
def recorded():
    return facts("training/stage2_step")["distribution_over_600_draws"]


def agree(ours: Counter, theirs: Counter) -> None:
    """The two samples are of one distribution (chi-square test of homogeneity, p > 1e-4)."""
    assert ours.keys() <= theirs.keys() or min(ours.values()) < 10
    names = [n for n in theirs if theirs[n] + ours[n] >= 10]
    n, m = sum(ours.values()), sum(theirs.values())
    statistic = 0.0
    for name in names:
        both = ours[name] + theirs[name]
        for seen, size in ((ours[name], n), (theirs[name], m)):
            expected = both * size / (n + m)
            statistic += (seen - expected) ** 2 / expected
    assert statistic < LIMITS[max(1, len(names) - 1)]


@pytest.mark.parametrize("item", range(3))
def test_numbers_of_references_and_distractors_are_distributed_as_in_the_release(
    drawn, recorded, item
):
    questions = drawn[item]

    def stored(what):
        stem = f"item{item} {what} "
        return Counter({k.removeprefix(stem): v for k, v in recorded.items() if k.startswith(stem)})

    agree(Counter(str(len(q.references)) for q in questions), stored("references"))
    agree(Counter(str(len(q.distractors)) for q in questions), stored("noise objects"))
    replaced = stored("replaced")
    for count in range(1, 8):
        ours = Counter(str(q.replaced) for q in questions if len(q.references) == count)
        theirs = Counter(
            {k.split(" of ")[0]: v for k, v in replaced.items() if k.endswith(f" of {count}")}
        )
        assert ours.keys() == theirs.keys()
        agree(ours, theirs)


def test_questions_answers_and_queries_without_the_object_are_as_frequent_as_in_the_release(
    drawn, recorded
):
    questions = [q for item in drawn for q in item]
    seen = Counter(
        str(bool(visible(video)[q.query, column]))
        for (video, column), item in zip(ITEMS, drawn, strict=True)
        for q in item
    )
    agree(seen, Counter({k.split()[-1]: v for k, v in recorded.items() if "query visible" in k}))
    for field, count in (("text", 6), ("answer", 5)):
        ours = Counter(getattr(q, field) for q in questions)
        agree(ours, Counter(dict.fromkeys(range(count), len(questions) // count)))


def test_the_query_is_near_its_start_and_no_reference(drawn):
    for (video, column), questions in zip(ITEMS, drawn, strict=True):
        seen = visible(video)
        for question in questions:
            own = [r.row for r in question.references if r.column == column]
            assert question.query not in own
            assert len(set(own)) == len(own)
            assert all(seen[r.row, r.column] for r in question.references)


def test_the_first_reference_is_never_replaced_and_most_show_the_object(drawn):
    for (_, column), questions in zip(ITEMS, drawn, strict=True):
        for question in questions:
            if question.references:
                assert question.references[0].column == column
                assert question.replaced < len(question.references) / 2


def test_references_are_in_random_order_and_may_follow_the_query(drawn):
    rows = [[r.row for r in q.references] for q in drawn[0] if len(q.references) > 2]
    in_order = np.mean([row == sorted(row) for row in rows])
    assert in_order < 0.15  # about one in k! of k references, k from 3 to 7: 0.044
    assert any(r.row > q.query for q in drawn[0] for r in q.references)


def test_ordered_references_come_before_the_query_in_their_order_of_time():
    seen = visible("sav_000001")
    for seed in range(100):
        question = draw_question(seen, 0, seed, QuestionRules(ordered=True))
        rows = [r.row for r in question.references]
        assert rows == sorted(rows)
        assert all(r.row < question.query for r in question.references if r.column == 0)
        assert all(r.column == 0 for r in question.references[:1])


def test_the_share_of_questions_asked_as_tracking_asks_is_the_one_given():
    seen = visible("sav_000001")
    rules = QuestionRules(asked_as_tracked=0.5)
    asked = [draw_question(seen, 0, seed, rules).as_tracked for seed in range(400)]
    assert 140 < sum(asked) < 260


def test_the_seed_decides_everything():
    seen = visible("sav_000001")
    assert draw_question(seen, 2, 7) == draw_question(seen, 2, 7)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_video_of_few_rows_has_a_question_with_all_that_there_is(length):
    question = draw_question(np.ones((length, 1), bool), 0, seed=1)
    assert question.query == length - 1
    assert len(question.references) == max(0, length - 2)


def test_an_object_without_pixels_is_refused():
    with pytest.raises(InputError, match="no pixels"):
        draw_question(np.zeros((9, 1), bool), 0, seed=1)
