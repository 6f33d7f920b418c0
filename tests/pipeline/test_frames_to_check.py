"""The list of frames to look at, in `explain.html`."""

from array import array
from collections.abc import Sequence

import pytest

from segment_concept.pipeline.timeline.attention import MOST, Doubt, frames_to_check
from segment_concept.pipeline.timeline.page import explain_html
from segment_concept.pipeline.timeline.series import ObjectSeries, TimelineData

SURE, LOW, GONE = (0.9, 0.9, 0.1), (0.9, 0.2, 0.1), (0.1, 0.0, 0.0)  # presence, quality, share


def timeline(
    values: Sequence[tuple[float, float, float]], cuts: Sequence[int] = ()
) -> TimelineData:
    columns = [array("f", column) for column in zip(*values, strict=True)]
    frames = array("q", range(len(values)))
    series = ObjectSeries(frames, *columns)
    seconds = array("d", (i / 25 for i in frames))
    unknown = array("f", [float("nan")] * len(values))
    return TimelineData(0.3, False, frames, seconds, unknown, list(cuts), [], {1: series})


def page(shown: TimelineData) -> str:
    return explain_html("film", shown, lambda object_id, frame: None, "overlay.mp4")


def test_nothing_stands_out_where_all_is_well() -> None:
    shown = timeline([SURE] * 6, cuts=[3])
    assert frames_to_check(shown) == []
    assert "No frame stands out" in page(shown)


@pytest.mark.parametrize(
    ("values", "cuts", "frame", "last", "why"),
    [
        ([SURE, SURE, GONE, GONE, SURE], [], 2, 3, "not found"),
        ([SURE, GONE, GONE], [], 1, 2, "not found"),
        ([SURE, LOW, SURE], [], 1, 1, "with a low score"),
        ([SURE, SURE, LOW, LOW], [2], 2, 3, "after a cut"),
        ([GONE, GONE, GONE], [], 0, 2, "never found"),
    ],
)
def test_absences_low_scores_and_doubt_after_cuts_are_listed(
    values: list[tuple[float, float, float]], cuts: list[int], frame: int, last: int, why: str
) -> None:
    (doubt,) = frames_to_check(timeline(values, cuts))
    assert (doubt.object_id, doubt.frame, doubt.last) == (1, frame, last)
    assert why in doubt.why
    shown = page(timeline(values, cuts))
    assert "Look at these frames" in shown
    assert f'data-frame="{frame}">frame {frame}</a>' in shown
    assert why in shown


def test_the_frame_to_look_at_is_the_worst_of_its_stretch() -> None:
    values = [SURE, LOW, (0.9, 0.05, 0.1), LOW, SURE]
    assert [doubt.frame for doubt in frames_to_check(timeline(values))] == [2]


def test_a_long_list_keeps_the_most_doubtful_in_the_order_of_the_video() -> None:
    found: list[Doubt] = frames_to_check(timeline([SURE, LOW] * MOST + [SURE, GONE]))
    assert len(found) == MOST
    assert "not found" in found[-1].why
    assert [d.frame for d in found] == sorted(d.frame for d in found)
