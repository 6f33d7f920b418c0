"""Draw the questions of SeC's second training stage: which frames are shown of an object.

As in SeC's release: a query frame, one to seven reference frames with the object's outline, and
sometimes references with the outline of another object in their place (distractors). Times are
rows of the annotation (SA-V annotates every fourth frame).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segment_concept.models.internvl.prompt_template import TRAINING_ANSWERS, TRAINING_QUESTIONS
from segment_concept.types import InputError

MOST_REFERENCES = 7
QUERY_DISTANCE = (2, 16)  # rows, both included; the query is one row less after its start row
MOST_DISTRACTING_OBJECTS = 2

Visible = NDArray[np.bool_]  # (rows, columns): whether an object has pixels in a row
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference frame: its row, and the column of the object whose outline it shows."""

    row: int
    column: int


@dataclass(frozen=True, slots=True)
class Question:
    """A training example before any picture is read.

    Args:
        column: the object that is asked for.
        references: in the order in which they are shown.
        query: row of the query frame.
        distractors: columns of other objects that could be shown in place of the asked one.
        text: index of the question in `TRAINING_QUESTIONS`.
        answer: index in `TRAINING_ANSWERS`.
        as_tracked: ask with the prompt that tracking uses, without a language-model loss.
    """

    column: int
    references: tuple[Reference, ...]
    query: int
    distractors: tuple[int, ...]
    text: int
    answer: int
    as_tracked: bool

    @property
    def replaced(self) -> int:
        """Number of references that show another object."""
        return sum(reference.column != self.column for reference in self.references)


@dataclass(frozen=True, slots=True)
class QuestionRules:
    """How questions are drawn. The defaults are the release's.

    Args:
        ordered: references are rows before the query in ascending order, as tracking shows them;
            as published they are in random order and may follow the query.
        asked_as_tracked: share of questions in the form that tracking uses, where [SEG] is in the
            user's turn.
        distract: whether references may be replaced by those of other objects.
    """

    ordered: bool = False
    asked_as_tracked: float = 0.0
    distract: bool = True


AS_PUBLISHED = QuestionRules()


def draw_question(
    visible: Visible, column: int, seed: int, rules: QuestionRules = AS_PUBLISHED
) -> Question:
    """Draw a question about one object of a video; the same arguments give the same question.

    Args:
        visible: (rows, columns) of the whole video.
        column: the object.
        seed: of all choices.
        rules: how to draw.

    Raises:
        InputError: the object has no pixels in any row.
    """
    rng = np.random.default_rng(seed)
    rows, query = _shown_rows(visible[:, column], rng, rules.ordered)
    references = [Reference(row, column) for row in rows]
    distractors: tuple[int, ...] = ()
    if rules.distract:
        distractors = _distracting_objects(visible, column, len(references), rng)
        _distract(references, visible, distractors, rng, rules.ordered)
    return Question(
        column=column,
        references=tuple(references),
        query=query,
        distractors=distractors,
        text=int(rng.integers(len(TRAINING_QUESTIONS))),
        answer=int(rng.integers(len(TRAINING_ANSWERS))),
        as_tracked=bool(rng.random() < rules.asked_as_tracked),
    )


def _shown_rows(seen: Visible, rng: np.random.Generator, ordered: bool) -> tuple[list[int], int]:
    """Rows of the references in the order in which they are shown, and the query's row."""
    rows = np.flatnonzero(seen)
    if not len(rows):
        raise InputError("the object has no pixels in any annotated frame: leave it out")
    low, high = QUERY_DISTANCE
    distance = int(rng.integers(low, high + 1))
    starts = rows[rows < len(seen) - distance]
    if len(starts):
        start = int(rng.choice(starts))
        query = start + distance - 1
    else:
        start, query = int(rows[0]), len(seen) - 1
    wanted = int(rng.integers(1, MOST_REFERENCES + 1))
    others = rows[(rows != start) & (rows != query)]
    if ordered:
        others = others[others < query]
    if len(others) > wanted:
        others = rng.choice(others, wanted, replace=False)
    if ordered:
        others = np.sort(others)
    return [int(row) for row in others], query


def _distracting_objects(
    visible: Visible, column: int, references: int, rng: np.random.Generator
) -> tuple[int, ...]:
    others = [i for i in range(visible.shape[1]) if i != column and visible[:, i].any()]
    count = int(rng.integers(min(MOST_DISTRACTING_OBJECTS, len(others)) + 1))
    if count == 0 or references < 2:
        return ()
    return tuple(int(i) for i in rng.choice(others, count, replace=False))


def _distract(
    references: list[Reference],
    visible: Visible,
    distractors: tuple[int, ...],
    rng: np.random.Generator,
    ordered: bool,
) -> None:
    """Replace less than half of the references, never the first, by those of other objects."""
    available = [
        Reference(row, other)
        for other in distractors
        for row in _shown_rows(visible[:, other], rng, ordered)[0]
    ]
    if ordered and references:  # the first one stays the first
        available = [other for other in available if other.row > references[0].row]
    rng.shuffle(available)
    count = min((len(references) - 1) // 2, len(available))
    if count >= 2:
        count = int(rng.integers(1, count + 1))
    if count <= 0:
        return
    places = rng.choice(np.arange(1, len(references)), count, replace=False)
    for place, replacement in zip(places, available, strict=False):
        references[int(place)] = replacement
    if ordered:
        references.sort(key=lambda reference: reference.row)
