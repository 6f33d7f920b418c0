"""Names of videos and objects that a spreadsheet, a browser or a terminal would obey."""

import csv
import io
import re
from dataclasses import replace

import pytest

from segment_concept.evaluate.report.comparison import Against, Comparison, VideoDifference
from segment_concept.evaluate.report.comparison_pages import FEWEST, to_markdown, verdict
from segment_concept.evaluate.report.markdown import Code, escaped, table
from segment_concept.evaluate.scores import ObjectScore, Scores, to_csv
from segment_concept.runtime.names import printable

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")']
MARKUP = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "a | b",
    "`code`",
    "two\nlines",
    "\x1b[2J\x1b[31mred",
    "\x9b31m",
    "\u202egpj.exe",
]


def scores(name: str) -> Scores:
    found = ObjectScore(name, name, {"J&F": 0.5, "decay": -0.25})
    return Scores("davis2017", True, {"J&F": 0.5}, (found,), ())


@pytest.mark.parametrize("name", FORMULAS)
def test_a_spreadsheet_runs_no_name(name: str) -> None:
    row = list(csv.reader(io.StringIO(to_csv(scores(name)))))[1]
    assert row[0] == row[1]
    assert row[0][0] in "'\\"
    assert row[0].endswith(name.lstrip("\t\r"))


def test_names_and_negative_numbers_stay_as_they_are_in_csv() -> None:
    row = list(csv.reader(io.StringIO(to_csv(scores("bmx-trees")))))[1]
    assert row == ["bmx-trees", "bmx-trees", "overall", "", "50.00", "-25.00"]


@pytest.mark.parametrize("name", MARKUP)
def test_a_table_of_markdown_shows_a_name_in_one_cell(name: str) -> None:
    _, _, row, _ = table(["video", "J"], [[name, "1"]])
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert "<" not in row
    assert not re.search(r"(?<!\\)\[", row)
    assert row.isprintable()


@pytest.mark.parametrize("name", MARKUP)
def test_code_in_a_table_cannot_be_left(name: str) -> None:
    _, _, row, _ = table(["what", "value"], [["x", Code(name)]])
    assert row.count("`") == 2
    assert row.isprintable()


def test_an_ordinary_name_is_not_changed() -> None:
    for name in ("bmx-trees", "shooting_2", "Straße", "猫", "J&F", "a (b)"):
        assert escaped(name) == printable(name) == name


@pytest.mark.parametrize("name", ["\x1b[2J", "\x07", "\x9b31m", "\r", "\u202e"])
def test_a_name_cannot_control_a_terminal(name: str) -> None:
    assert printable(f"a{name}b").isprintable()


def against(count: int) -> Against:
    videos = tuple(VideoDifference(f"v{i}", 1, 0.5, 0.6) for i in range(count))
    return Against("new", 0.1, 0.1, 0.1, videos)


@pytest.mark.parametrize("count", [1, 2, FEWEST - 1])
def test_no_conclusion_is_drawn_from_a_few_videos(count: int) -> None:
    said = verdict(against(count), "old")
    assert "too few to say which is better" in said
    assert "new is better" not in said


def test_a_conclusion_is_drawn_from_enough_videos() -> None:
    assert verdict(against(FEWEST), "old").startswith("new is better than old")


def test_a_comparison_escapes_names_and_not_its_own_numbers() -> None:
    names = ("<b>old", "<b>new")
    found = replace(against(FEWEST), name=names[1])
    rows = ({"J&F": 0.5}, {"J&F": 0.6})
    text = to_markdown(Comparison("davis2017", "davis2017", True, names, rows, (found,), ()))
    assert "<b>" not in text
    assert "&lt;b>new is better than &lt;b>old: +10.0 points [+10.0, +10.0]" in text
