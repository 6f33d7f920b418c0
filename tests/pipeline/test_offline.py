"""Offline mode: tracked twice, the second time with the final keyframe banks of the first."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.tracking_toy import ColorSegmenter, RotatingConcept
from helpers.video_toys import ColorTracker, Film, overlap, truth, write_film
from segment_concept.pipeline.offline import track_offline
from segment_concept.pipeline.outputs import OutputFormat
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.run_folder import IfExists
from segment_concept.pipeline.schedule import Direction
from segment_concept.pipeline.track import RunMonitor, TrackJob, run_track
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import Every, Trigger
from segment_concept.types import InputError, Mask, ObjectId
from segment_concept.video.live import LiveVideo
from segment_concept.video.open import open_video

ONE, TWO = ObjectId(1), ObjectId(2)


class Watching(RotatingConcept):
    """Notes what it was asked, and never knows."""

    def _concept(self, request: Any) -> None:
        return None


def tracker(encoder: RotatingConcept | None = None, trigger: Trigger | None = None) -> Tracker:
    """Queries on every fourth frame; every queried frame on which the object is visible becomes a
    keyframe, and a bank holds three."""
    return Tracker(
        ColorSegmenter(), trigger=trigger or Every(4), concept=encoder or Watching(), keyframes=3
    )


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_film(tmp_path / "film.mp4", Film(frames=20))


@pytest.fixture
def job(film: Path, tmp_path: Path) -> TrackJob:
    shown = (TimedPrompt(ONE, Mask(truth(0))),)
    save = frozenset({OutputFormat.PALETTE, OutputFormat.RLE})
    return TrackJob(open_video(film), shown, tmp_path / "out", save, offline=True)


class StopAfter:
    def __init__(self, frames: int) -> None:
        self.frames = frames

    def __call__(self) -> bool:
        self.frames -= 1
        return self.frames < 0


def everything_in(folder: Path) -> dict[str, bytes]:
    """Its files; of `result.json` what does not depend on the run."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_second_pass_queries_the_final_bank_at_the_frames_of_the_trigger(film: Path) -> None:
    encoder = Watching()
    results = list(track_offline(open_video(film), {0: {ONE: Mask(truth(0))}}, tracker(encoder)))
    assert [r.frame_index for r in results] == list(range(20))
    first, second = encoder.queried[:4], encoder.queried[4:]
    assert [index for index, _ in first] == [index for index, _ in second]
    assert [keyframes[0] for _, keyframes in first[:2]] == [[0], [0, first[0][0]]]
    final = second[0][1]
    assert len(final[0]) == 3
    assert all(keyframes == final for _, keyframes in second)
    assert all(r.keyframes == (tuple(final[0]),) for r in results)
    assert all(overlap(r.mask(ONE), truth(r.frame_index)) > 0.8 for r in results)


def test_an_object_prompted_later_has_the_bank_of_the_whole_video_too(film: Path) -> None:
    encoder = Watching()
    prompts = {0: {ONE: Mask(truth(0))}, 6: {TWO: Mask(truth(6))}}
    results = list(track_offline(open_video(film), prompts, tracker(encoder)))
    assert [len(r.object_ids) for r in results] == [1] * 6 + [2] * 14
    banks = {r.keyframes[-1] for r in results if TWO in r.object_ids}
    assert len(banks) == 1
    assert 6 in next(iter(banks))


def test_the_job_writes_the_second_pass_only_and_says_that_it_was_offline(job: TrackJob) -> None:
    summary = run_track(job, tracker())
    assert (summary.finished, summary.frames, summary.stepped) == (True, 20, 40)
    result = json.loads((job.out / "result.json").read_text())
    assert result["request"]["offline"] is True
    assert [f["frame"] for f in result["frames"]] == list(range(20))
    expected = track_offline(job.source, {0: {ONE: Mask(truth(0))}}, tracker())
    for found in expected:
        labels = np.asarray(Image.open(job.out / "palette" / f"{found.frame_index:05d}.png"))
        assert np.array_equal(labels == 1, found.mask(ONE))


def test_prompts_in_the_middle_are_tracked_both_ways_in_both_passes(job: TrackJob) -> None:
    middle = replace(job, prompts=(TimedPrompt(ONE, Mask(truth(8)), 8),))
    summary = run_track(middle, tracker())
    assert (summary.frames, summary.stepped) == (20, 2 * (12 + 9))


@pytest.mark.parametrize("stop", [1, 7, 19, 20, 21, 33, 39])
def test_wherever_it_is_stopped_a_resumed_run_ends_as_an_undisturbed_one(
    job: TrackJob, tmp_path: Path, stop: int
) -> None:
    whole = replace(job, out=tmp_path / "whole")
    run_track(whole, tracker())
    stopped = run_track(job, tracker(), RunMonitor(should_stop=StopAfter(stop)))
    assert not stopped.finished
    resumed = run_track(replace(job, if_exists=IfExists.RESUME), tracker())
    assert resumed.finished
    assert resumed.stepped == 40 - stopped.stepped
    assert everything_in(job.out) == everything_in(whole.out)


@pytest.mark.parametrize("stop", [5, 17, 25, 39])
def test_a_run_both_ways_is_resumed_in_any_of_its_four_parts(
    job: TrackJob, tmp_path: Path, stop: int
) -> None:
    job = replace(job, prompts=(TimedPrompt(ONE, Mask(truth(8)), 8),))
    whole = replace(job, out=tmp_path / "whole")
    run_track(whole, tracker())
    assert not run_track(job, tracker(), RunMonitor(should_stop=StopAfter(stop))).finished
    assert run_track(replace(job, if_exists=IfExists.RESUME), tracker()).finished
    assert everything_in(job.out) == everything_in(whole.out)


def test_an_online_run_is_not_resumed_offline(job: TrackJob) -> None:
    online = replace(job, offline=False)
    run_track(online, tracker(), RunMonitor(should_stop=StopAfter(3)))
    with pytest.raises(InputError, match="holds a run with another offline"):
        run_track(replace(job, if_exists=IfExists.RESUME), tracker())


def test_progress_only_grows_and_ends_where_it_said_it_would(job: TrackJob) -> None:
    told: list[tuple[int, int | None]] = []
    run_track(job, tracker(), RunMonitor(on_frame=lambda *at: told.append(at)))
    done = [at for at, _ in told]
    assert done == sorted(done)
    assert {total for _, total in told} == {done[-1]} == {40}


def test_a_live_source_is_refused(job: TrackJob, film: Path) -> None:
    live = LiveVideo(str(film))
    with pytest.raises(InputError, match="is a live source, and offline mode plays the video twi"):
        run_track(replace(job, source=live), tracker())
    with pytest.raises(InputError, match="is a live source, and offline mode plays the video twi"):
        next(track_offline(live, {0: {ONE: Mask(truth(0))}}, tracker()))
    assert not job.out.exists()


@pytest.mark.parametrize(
    ("tracks", "why"),
    [
        (ColorTracker(), "finalized keyframe bank.* this tracker has no concept encoder"),
        (Tracker(ColorSegmenter()), "this tracker has no concept encoder"),
        (Tracker(ColorSegmenter(), concept=Watching()), "this tracker never queries it"),
    ],
)
def test_a_tracker_without_a_bank_to_finalize_is_refused(
    job: TrackJob, tracks: Any, why: str
) -> None:
    with pytest.raises(InputError, match=why):
        run_track(job, tracks)
    with pytest.raises(InputError, match=why):
        next(track_offline(job.source, {0: {ONE: Mask(truth(0))}}, tracks))
    assert not job.out.exists()


def test_one_direction_can_be_tracked_offline_too(job: TrackJob) -> None:
    summary = run_track(replace(job, direction=Direction.FORWARD), tracker())
    assert (summary.frames, summary.stepped) == (20, 40)


def test_nothing_prompted_is_refused(film: Path) -> None:
    with pytest.raises(InputError, match="nothing to track"):
        next(track_offline(open_video(film), {}, tracker()))
