"""The main job where frames are carried by optical flow instead of being tracked."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from helpers.calm_film import CALM, carrying_tracker
from helpers.tracking_toy import ONE, TWO
from segment_concept.pipeline.outputs import OutputFormat
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.run_folder import IfExists
from segment_concept.pipeline.track import RunMonitor, TrackJob, run_track
from segment_concept.tracking.triggers.base import AtFrames
from segment_concept.video.open import open_video

SAVE = frozenset({OutputFormat.PALETTE, OutputFormat.RLE})
CUT = AtFrames(frozenset({9}))


@pytest.fixture
def job(tmp_path: Path) -> TrackJob:
    """Objects are shown on frame 3, so the video is played in both directions."""
    folder = tmp_path / "film"
    folder.mkdir()
    for frame in CALM.frames():
        Image.fromarray(frame.rgb).save(folder / f"{frame.index:05d}.png")
    shown = (TimedPrompt(ONE, CALM.mask(3), 3), TimedPrompt(TWO, CALM.mask(3, 1), 3))
    return TrackJob(open_video(folder), shown, tmp_path / "out", SAVE)


def everything_in(out: Path) -> Mapping[str, bytes]:
    files = [p for p in out.rglob("*") if p.is_file()]
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((out / "result.json").read_text())["frames"]
    return rows


def test_the_result_says_which_frames_were_carried(job: TrackJob) -> None:
    summary = run_track(job, carrying_tracker(CUT))
    assert summary.carried == 6
    assert run_track(replace(job, if_exists=IfExists.RESUME), carrying_tracker(CUT)).carried == 6
    rows = rows_of(job.out)
    assert [row["frame"] for row in rows] == list(range(14))
    assert [row["frame"] for row in rows if row["carried"]] == [1, 2, 4, 6, 10, 11]


@pytest.mark.parametrize("stop", range(1, 14, 3))
def test_a_run_that_was_stopped_anywhere_resumes_with_the_same_masks(
    job: TrackJob, tmp_path: Path, stop: int
) -> None:
    whole = replace(job, out=tmp_path / "whole")
    run_track(whole, carrying_tracker(CUT))
    left = iter([False] * stop + [True])
    monitor = RunMonitor(should_stop=lambda: next(left))
    assert not run_track(job, carrying_tracker(CUT), monitor).finished
    assert run_track(replace(job, if_exists=IfExists.RESUME), carrying_tracker(CUT)).finished
    assert everything_in(job.out) == everything_in(whole.out)
