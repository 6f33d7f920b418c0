"""explain.html: a track's timeline beside its video."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.video_toys import (
    GREEN,
    RED,
    ColorSession,
    ColorTracker,
    truth,
    write_folder,
)
from segment_concept.html.charts import FrameAxis, Scale, curves
from segment_concept.pipeline.journal import FrameRecord, ObjectRecord
from segment_concept.pipeline.outputs import OutputFormat
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.run_folder import IfExists
from segment_concept.pipeline.timeline.chart import (
    axis_of,
    change_strip,
    in_lanes,
)
from segment_concept.pipeline.timeline.page import explain_html
from segment_concept.pipeline.timeline.series import (
    KeyframeSpan,
    ObjectSeries,
    TimelineData,
    read_timeline,
)
from segment_concept.pipeline.track import RunMonitor, TrackJob, run_track
from segment_concept.tracking.api import NO_FRAME_PROMPTS, FramePrompts
from segment_concept.types import Box, Frame, FrameResult, Mask, ObjectId, Prompt
from segment_concept.video.image_folder import ImageFolder

LENGTH, CUT = 24, 10
SAVE = frozenset({OutputFormat.OVERLAY, OutputFormat.EXPLAIN})
HSV_RECIPE = {"recipe": {"name": "toy", "trigger": {"type": "HistogramShift", "above": 0.4}}}
RED_ONE, GREEN_ONE = TimedPrompt(1, Mask(truth(0))), TimedPrompt(2, Box(70, 44, 86, 60), 5)


def cut_pictures(index: int) -> Any:
    """The moving squares; from `CUT` on, on blue."""
    rgb = np.full((64, 96, 3), 90, np.uint8)
    if index >= CUT:
        rgb[:] = (30, 30, 200)
    rgb[44:60, 70:86] = GREEN
    rgb[truth(index)] = RED
    return rgb


class KeyframeSession(ColorSession):
    """Every fifth frame becomes a keyframe; the bank keeps the first and the newest two."""

    def _tracked(self, frame: Frame) -> FrameResult:
        return self._noted(super()._tracked(frame))

    def prompt(self, frame: Frame, prompts: Mapping[ObjectId, Prompt]) -> FrameResult:
        return self._noted(super().prompt(frame, prompts))

    def _noted(self, result: FrameResult) -> FrameResult:
        last = result.frame_index // 5 * 5
        bank = tuple(sorted({0, max(0, last - 5), last}))
        return replace(result, keyframes=(bank,) * len(result.object_ids))


class KeyframeTracker(ColorTracker):
    def session(self) -> ColorSession:
        return KeyframeSession(self)


@pytest.fixture
def source(tmp_path: Path) -> ImageFolder:
    names = [f"{i:03d}.png" for i in range(LENGTH)]
    return ImageFolder(write_folder(tmp_path / "frames", names, cut_pictures))


def explained(
    source: ImageFolder, out: Path, tracker: ColorTracker | None = None, **changes: Any
) -> str:
    job = TrackJob(source, (RED_ONE, GREEN_ONE), out, SAVE, provenance=HSV_RECIPE)
    run_track(replace(job, **changes), tracker or KeyframeTracker())
    return (out / "explain.html").read_text(encoding="utf-8")


class Links(HTMLParser):
    """What a page refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [v for k, v in attrs if v and k in ("src", "href", "srcset", "poster")]


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found is not None
    values: dict[str, Any] = json.loads(found[1])
    return values


def test_the_page_needs_nothing_but_the_video_beside_it(
    source: ImageFolder, tmp_path: Path
) -> None:
    page = explained(source, tmp_path / "out")
    links = Links(page).found
    outside = {link.partition("#")[0] for link in links if not link.startswith("data:image/jpeg")}
    assert outside == {"overlay.mp4"}
    assert (tmp_path / "out/overlay.mp4").exists()
    assert "url(" not in page
    assert "import " not in page


def test_every_keyframe_has_a_picture_and_says_how_long_it_stayed(
    source: ImageFolder, tmp_path: Path
) -> None:
    page = explained(source, tmp_path / "out", prompts=(RED_ONE,))
    assert page.count('<img alt="keyframe') == 5
    assert "<b>frame 0</b><br>in the bank 0 to 23 (to the end)" in page
    assert "<b>frame 5</b><br>in the bank 5 to 14<" in page
    assert "<b>frame 10</b><br>in the bank 10 to 19<" in page
    assert 'href="overlay.mp4#t=0.417" data-frame="10"' in page


def test_several_objects_have_a_strip_and_keyframes_each(
    source: ImageFolder, tmp_path: Path
) -> None:
    page = explained(source, tmp_path / "out")
    for object_id in (1, 2):
        assert f"object score, predicted IoU and area of object {object_id}" in page
        assert f"keyframe bank of object {object_id}" in page
        assert f"Keyframes of object {object_id}" in page
    values = data_of(page)
    assert values["frames"] == list(range(LENGTH))
    presence, quality, share = values["objects"]["1"]
    assert share[3] == pytest.approx(256 / (64 * 96), abs=1e-4)
    assert len(presence) == len(quality) == LENGTH


def test_the_values_are_those_of_the_result(source: ImageFolder, tmp_path: Path) -> None:
    values = data_of(explained(source, tmp_path / "out"))
    result = json.loads((tmp_path / "out/result.json").read_text())
    for i, frame in enumerate(result["frames"]):
        for object_id, found in frame["objects"].items():
            presence, quality, share = (row[i] for row in values["objects"][object_id])
            assert presence == pytest.approx(found["presence"], abs=1e-3)
            assert quality == pytest.approx(found["quality"], abs=1e-3)
            assert share == pytest.approx(found["area"] / (64 * 96), abs=1e-4)


def test_cuts_are_found_by_color_where_the_trigger_measures_nothing(
    source: ImageFolder, tmp_path: Path
) -> None:
    page = explained(source, tmp_path / "out", ColorTracker(), prompts=(RED_ONE,))
    distance = data_of(page)["distance"]
    assert distance[0] is None
    assert [i for i, d in enumerate(distance) if d is not None and d > 0.4] == [CUT]
    assert f"<title>cut at frame {CUT}</title>" in page


def test_a_cut_that_is_passed_backwards_is_where_it_is_in_the_video(
    source: ImageFolder, tmp_path: Path
) -> None:
    late = TimedPrompt(1, Mask(truth(20)), 20)
    page = explained(source, tmp_path / "out", ColorTracker(), prompts=(late,))
    assert re.findall(r"<title>cut at frame (\d+)</title>", page) == [str(CUT)] * 2
    assert data_of(page)["distance"][CUT - 1] > 0.4


def test_a_recipe_without_a_concept_has_no_bank_to_show(
    source: ImageFolder, tmp_path: Path
) -> None:
    class NeverAsked(KeyframeSession):
        def step(self, frame: Frame, prompts: FramePrompts = NO_FRAME_PROMPTS) -> FrameResult:
            return replace(super().step(frame, prompts), concept_queried=False)

    class Tracker(ColorTracker):
        def session(self) -> ColorSession:
            return NeverAsked(self)

    never = {"recipe": {"name": "plain", "trigger": {"type": "Never"}}}
    page = explained(source, tmp_path / "out", Tracker(), provenance=never)
    assert "Keyframes of" not in page
    assert "has no concept encoder" in page
    assert "object score, predicted IoU and area of object 1" in page


@pytest.mark.parametrize("stop_after", [4, 11, 18, 27])
def test_a_resumed_run_explains_the_same(
    source: ImageFolder, tmp_path: Path, stop_after: int
) -> None:
    whole = explained(source, tmp_path / "whole")
    job = TrackJob(source, (RED_ONE, GREEN_ONE), tmp_path / "out", SAVE, provenance=HSV_RECIPE)
    seen: list[int] = []
    watch = RunMonitor(lambda done, total: seen.append(done), lambda: len(seen) >= stop_after)
    assert not run_track(job, KeyframeTracker(), watch).finished
    assert (tmp_path / "out/explain.html").exists()  # of the frames that there are
    run_track(replace(job, if_exists=IfExists.RESUME), KeyframeTracker())
    assert (tmp_path / "out/explain.html").read_text() == whole
    assert [p.name for p in (tmp_path / "out/.resume").iterdir()] == ["frames.jsonl"]


def test_overwriting_replaces_an_explanation(source: ImageFolder, tmp_path: Path) -> None:
    explained(source, tmp_path / "out")
    again = {"save": frozenset({OutputFormat.OVERLAY}), "if_exists": IfExists.OVERWRITE}
    job = TrackJob(source, (RED_ONE,), tmp_path / "out", **again)
    run_track(job, ColorTracker())
    assert not (tmp_path / "out/explain.html").exists()


def test_without_an_overlay_the_page_has_no_video(source: ImageFolder, tmp_path: Path) -> None:
    page = explained(source, tmp_path / "out", save=frozenset({OutputFormat.EXPLAIN}))
    assert "<video" not in page
    assert not [link for link in Links(page).found if not link.startswith("data:")]


def records(
    count: int, banks: Mapping[int, tuple[int, ...]] = {}, **values: Any
) -> Iterator[FrameRecord]:
    for i in range(count):
        sighting = ObjectRecord(1, 0.9, 0.8, 10, "", banks.get(i, ()))
        record = FrameRecord(i, f"{i}", None, (10, 20), False, None, (sighting,))
        yield replace(record, **{k: v(i) for k, v in values.items()})


REQUEST: dict[str, Any] = {"video": {"rate": "25", "name": "film <1>"}, "recipe": None}


def test_a_keyframe_that_leaves_and_comes_back_stayed_twice() -> None:
    banks = {0: (0,), 1: (0, 1), 2: (0,), 3: (0, 1), 4: (0, 1)}
    timeline = read_timeline(records(5, banks), REQUEST)
    assert timeline.objects[1].bank == [
        KeyframeSpan(0, 0, 4),
        KeyframeSpan(1, 1, 1),
        KeyframeSpan(1, 3, 4),
    ]


def test_a_cut_that_only_the_trigger_saw_is_a_cut() -> None:
    timeline = read_timeline(records(6, cut=lambda i: i == 3, scene_change=lambda i: 0.1), REQUEST)
    assert timeline.cuts == [3]


def test_the_threshold_is_that_of_the_trigger_wherever_it_stands_in_it() -> None:
    both = {"type": "AnyOf", "triggers": [{"type": "Every", "frames": 9}, {"above": 0.6}]}
    assert read_timeline(records(1), REQUEST | {"recipe": {"trigger": both}}).threshold == 0.6
    assert read_timeline(records(1), REQUEST).threshold == 0.35  # as published


def test_queries_and_cuts_are_shown_by_frame() -> None:
    timeline = read_timeline(
        records(
            6, concept_queried=lambda i: i == 4, scene_change=lambda i: 0.9 if i in (2, 4) else 0.1
        ),
        REQUEST,
    )
    assert (timeline.cuts, timeline.queried) == ([2, 4], [4])
    assert timeline.seconds[5] == pytest.approx(5 / 25)
    strip = change_strip(timeline, axis_of(timeline))
    assert strip.count('class="flag"') == 1
    assert "concept query on frame 4" in strip


def test_bars_that_overlap_lie_in_different_lanes() -> None:
    stays = [
        KeyframeSpan(0, 0, 9),
        KeyframeSpan(2, 2, 5),
        KeyframeSpan(4, 4, 6),
        KeyframeSpan(6, 6, 9),
        KeyframeSpan(7, 7, 8),
    ]
    assert [lane for _, lane in in_lanes(stays)] == [0, 1, 2, 1, 2]


def test_a_long_curve_keeps_its_extremes_and_a_gap_parts_it() -> None:
    values = [0.5] * 50_000
    values[7777], values[31_000] = 0.0, 1.0
    axis, scale = FrameAxis(0, 49_999, 1040, 46, 14), Scale(1.0, 100)
    (path,) = curves(range(50_000), values, axis, scale)
    points = [float(point.split()[1]) for point in path[1:].split("L")]
    assert len(points) < 1300
    assert (min(points), max(points)) == (8, 92)
    values[20_000] = float("nan")
    assert len(curves(range(50_000), values, axis, scale)) == 2


def test_a_long_video_stays_a_small_page() -> None:
    timeline = read_timeline(records(30_000, scene_change=lambda i: i % 7 / 10), REQUEST)
    page = explain_html("long", timeline, lambda object_id, frame: None, "overlay.mp4")
    assert len(page) < 600_000
    assert len(data_of(page)["frames"]) <= 2000


def test_names_cannot_break_the_page() -> None:
    timeline = TimelineData(0.35)
    timeline.frames.append(0)
    timeline.seconds.append(0)
    timeline.distance.append(float("nan"))
    timeline.objects[1] = ObjectSeries()
    page = explain_html("</title><script>", timeline, lambda object_id, frame: None, None)
    assert "</title><script>" not in page.replace("</title><meta", "")
