"""The page with the bundled model: what is the tracker's own, and what tracking by colors hides."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.video_toys import Film, overlap, truth, write_film
from segment_concept.types import Box, Points
from segment_concept.web.frames import open_media
from segment_concept.web.runner import Runner, TrackedVideo, load_tracker
from segment_concept.web.runs import decode_runs, encode_runs
from segment_concept.web.spans import Span
from segment_concept.web.work import Anchor, Preview, Run, Solve, SpanOrder

SIZE = (64, 96)
FRAMES = 8


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> TrackedVideo:
    path = write_film(tmp_path_factory.mktemp("film") / "film.mp4", Film(frames=FRAMES))
    return TrackedVideo(open_media(path), load_tracker("sec_compact", "cpu"))


def solved(video: TrackedVideo, prompt: Points | Box, before: bytes | None = None) -> np.ndarray:
    found = video.solve(Solve("", 1, 0, 1, prompt, before))
    return decode_runs(found.runs, SIZE)


def tracked(video: TrackedVideo, folder: Path, spans: list[Span], **more: Any) -> dict[int, bytes]:
    anchors = (Anchor(0, encode_runs(truth(0))),)
    found: dict[int, bytes] = {}
    for span in spans:
        orders = (SpanOrder(span, anchors, **more),)
        for results in Runner(video, Run("", 1, 1, orders, str(folder))).play():
            found |= {result.frame: result.runs for _, result in results}
    return found


def test_a_box_finds_the_square_and_a_preview_of_it_changes_nothing(video: TrackedVideo) -> None:
    box = Box(3, 11, 21, 29)
    for _ in range(2):
        score, runs = video.preview(Preview("", 0, box, None))
        assert 0 <= score <= 1
    first = decode_runs(runs, SIZE)
    assert overlap(first, truth(0)) > 0.6
    assert overlap(solved(video, box), truth(0)) > 0.6
    assert (decode_runs(video.preview(Preview("", 0, box, None))[1], SIZE) == first).all()


def test_a_click_on_a_good_mask_corrects_that_mask_and_does_not_begin_anew(
    video: TrackedVideo,
) -> None:
    corner = Points.on((18.0, 26.0))
    corrected = solved(video, corner, encode_runs(truth(0)))
    assert overlap(corrected, truth(0)) >= overlap(solved(video, corner), truth(0)) - 0.05
    assert overlap(corrected, truth(0)) > 0.6


def test_a_run_that_goes_on_from_a_snapshot_is_that_of_an_undisturbed_one(
    video: TrackedVideo, tmp_path: Path
) -> None:
    whole = tracked(video, tmp_path / "whole", [Span(1, 1, FRAMES - 1)])
    assert overlap(decode_runs(whole[4], SIZE), truth(4)) > 0.5
    first = tracked(video, tmp_path / "parts", [Span(1, 1, 3)])
    (snapshot,) = (tmp_path / "parts").iterdir()
    rest = tracked(
        video,
        tmp_path / "parts",
        [Span(1, 4, FRAMES - 1)],
        snapshot=str(snapshot),
        snapshot_frame=3,
    )
    for frame, runs in whole.items():
        part = decode_runs((first | rest)[frame], SIZE)
        assert overlap(decode_runs(runs, SIZE), part) > 0.99


def test_features_of_a_frame_that_was_looked_at_are_not_computed_again(
    video: TrackedVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    video.look(5)
    tracker: Any = video.tracker

    def refuse(_: Any) -> Any:
        raise AssertionError("the frame is encoded again")

    monkeypatch.setattr(type(tracker.segmenter), "encode", lambda self, frames: refuse(frames))
    video.preview(Preview("", 5, Points.on((20.0, 20.0)), None))
