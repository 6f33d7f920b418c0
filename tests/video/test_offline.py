"""Offline mode from end to end, on segmenters and trackers that follow a color."""

import gc
import json
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.tracking_toy import ColorSegmenter, RotatingConcept, forgetful
from helpers.video_toys import ColorTracker, overlap, truth
from segment_concept.ops.rle import encode_rle
from segment_concept.pipeline.journal import FrameRecord, Journal, JournalIndex, ObjectRecord
from segment_concept.pipeline.offline import TwoPasses, run_offline, track_offline
from segment_concept.pipeline.outputs import OutputFormat
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.run_folder import IfExists
from segment_concept.pipeline.schedule import Direction
from segment_concept.pipeline.track import RunMonitor, TrackJob
from segment_concept.pipeline.voting import FusedTracker, fuse
from segment_concept.shots.adaptive import first_frames
from segment_concept.tracking.offline import Shots
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.session import Tracker
from segment_concept.types import Bitmap, Box, Frame, InputError, Mask, ObjectId, Points
from segment_concept.video.open import open_video
from segment_concept.video.source import VideoInfo

ONE, TWO = ObjectId(1), ObjectId(2)
SIZE = (12, 20)
RED_BOX = Box(4, 12, 20, 28)
NO_CUTS = TwoPasses(lambda frames: [])


@dataclass
class Toy:
    """A video that is painted as it is played, and counts which of its frames are alive."""

    colors: list[tuple[int, int, int]]  # of the object, frame by frame
    name: str = "toy"
    played: list[int] = field(default_factory=list)
    most_alive: int = 0
    _alive: "weakref.WeakSet[Any]" = field(default_factory=weakref.WeakSet)

    @property
    def info(self) -> VideoInfo:
        return VideoInfo(SIZE, Fraction(25), Fraction(1, 25), len(self.colors))

    def frames(self, start: int = 0) -> Iterator[Frame]:
        return (self._frame(i) for i in range(start, len(self.colors)))

    def backwards(self, start: int) -> Iterator[Frame]:
        return (self._frame(i) for i in range(start, -1, -1))

    def index_at(self, seconds: float) -> int:
        return int(seconds * 25)

    def frame_name(self, index: int) -> str:
        return f"{index:05d}"

    def truth(self, index: int) -> Bitmap:
        bitmap = np.zeros(SIZE, np.bool_)
        bitmap[2:8, index % 10 : index % 10 + 6] = True
        return bitmap

    def _frame(self, index: int) -> Frame:
        rgb = np.zeros((*SIZE, 3), np.uint8).view(_Pixels)
        rgb[self.truth(index)] = self.colors[index]
        self._alive.add(rgb)
        self.most_alive = max(self.most_alive, len(self._alive))
        return Frame(index, rgb)


class LiveToy(Toy):
    @property
    def info(self) -> VideoInfo:
        return replace(super().info, live=True, frames=None)


class _Pixels(np.ndarray[Any, Any]):
    """Pixels that can be counted."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__  # type: ignore[assignment]


def follow(toy: Toy, tracker: Any, how: TwoPasses = NO_CUTS) -> list[Bitmap]:
    results = track_offline(toy, {0: {ONE: Mask(toy.truth(0))}}, tracker, how)
    return [result.mask(ONE) for result in results]


def online(toy: Toy, tracker: Any) -> list[Bitmap]:
    session, frames = tracker.session(), toy.frames()
    first = session.prompt(next(frames), {ONE: Mask(toy.truth(0))}).mask(ONE)
    return [first, *(result.mask(ONE) for result in session.track(frames))]


def fading() -> Toy:
    """After a cut the object is too dark to be known again, and grows lighter frame by frame.

    When it is as it was before the cut it is found; what it was until then only later frames show.
    """
    return Toy([(200, 0, 0)] * 10 + [(100 + 5 * i, 0, 0) for i in range(20)] + [(200, 0, 0)] * 30)


class Undecided(RotatingConcept):
    """It never knows."""

    def _concept(self, request: Any) -> None:
        return None


def patient() -> Tracker:
    """It looks for the mean color of what it was shown and of the newest frame it saw it on."""
    return Tracker(forgetful(), RecentMemory(slots=2, pointers=1))


def test_an_object_is_found_again_before_the_first_sure_view_which_only_the_future_shows():
    toy = fading()
    lost = [not mask.any() for mask in online(toy, patient())]
    assert lost[11]
    assert not lost[59]
    found = follow(toy, patient(), TwoPasses(lambda frames: [10]))
    seen = [overlap(mask, toy.truth(i)) == 1 for i, mask in enumerate(found)]
    before = sum(not gone for gone in lost)
    assert sum(seen) > before
    first_online = next(i for i in range(10, 60) if not lost[i])
    first_offline = next(i for i in range(10, 60) if seen[i])
    assert first_offline < first_online


def test_a_video_shown_in_its_middle_is_tracked_to_both_ends():
    toy = Toy([(200, 0, 0)] * 12)
    prompts = {6: {ONE: Mask(toy.truth(6))}}
    results = list(track_offline(toy, prompts, patient(), NO_CUTS))
    assert [r.frame_index for r in results] == list(range(12))
    assert all((r.mask(ONE) == toy.truth(r.frame_index)).all() for r in results)


def test_a_tracker_of_another_kind_is_used_as_it_comes(film: Path):
    tracker = ColorTracker()
    prompts = {0: {ONE: RED_BOX}}
    results = track_offline(open_video(film), prompts, tracker, TwoPasses(first_frames))
    assert all(overlap(r.mask(ONE), truth(r.frame_index)) > 0.8 for r in results)
    assert len(tracker.stepped) > 2 * 19


def test_the_concept_comes_of_keyframes_of_the_whole_video_on_every_frame_on_which_it_is_asked():
    encoder = Undecided()
    tracker = Tracker(ColorSegmenter(), RecentMemory(), concept=encoder)
    toy = Toy([(200, 0, 0)] * 40)
    follow(toy, tracker, TwoPasses(lambda frames: [10, 20, 30]))
    first_pass, second = encoder.queried[:3], encoder.queried[3:]
    assert [index for index, _ in first_pass] == [10, 20, 30]
    assert [index for index, _ in second] == [10, 20, 30, 29, 19, 9]
    banks = {frozenset(keyframes[0]) for _, keyframes in second}
    assert len(banks) == 1
    bank = next(iter(banks))
    assert 0 in bank
    assert len(bank) <= 7
    assert {i // 10 for i in bank} == {0, 1, 2, 3}
    assert all(keyframes[0] == sorted(bank) for _, keyframes in second)


def test_over_a_thousand_frames_a_handful_is_held_and_nothing_is_left_on_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    toy = Toy([(200, i // 50, 0) for i in range(240)])  # each is played five times
    tracker = Tracker(forgetful(), RecentMemory())
    results = track_offline(
        toy, {0: {ONE: Mask(toy.truth(0))}}, tracker, TwoPasses(lambda frames: [80, 160])
    )
    next(results)
    assert any(tmp_path.iterdir())
    assert sum(1 for _ in results) == 239
    assert not any(tmp_path.iterdir())
    gc.collect()
    assert toy.most_alive < 40


def test_an_iterator_that_is_closed_early_removes_its_records(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    toy = Toy([(200, 0, 0)] * 8)
    results = track_offline(toy, {0: {ONE: Mask(toy.truth(0))}}, patient(), NO_CUTS)
    next(results)
    results.close()
    assert not any(tmp_path.iterdir())


def sighting(presence: float, quality: float, columns: int, object_id: int = 1) -> ObjectRecord:
    mask = np.zeros(SIZE, np.bool_)
    mask[:, :columns] = True
    return ObjectRecord(object_id, presence, quality, int(mask.sum()), encode_rle(mask))


def record(*objects: ObjectRecord, frame: int = 0, asked: bool = False) -> FrameRecord:
    return FrameRecord(frame, "0", None, SIZE, asked, None, objects)


def areas(*records: FrameRecord, known: tuple[int, ...] = (1, 2)) -> dict[int, int]:
    return {s.id: s.area // SIZE[0] for s in fuse(None, records, known)}


def test_of_two_directions_the_surer_one_is_believed_object_by_object():
    forward = record(sighting(0.9, 0.9, 1), sighting(0.9, 0.2, 2, object_id=2))
    backward = record(sighting(0.9, 0.8, 3), sighting(0.5, 0.5, 4, object_id=2))
    assert areas(forward, backward) == {1: 1, 2: 4}
    assert areas(backward, forward) == {1: 1, 2: 4}


def test_of_equally_sure_directions_the_first_is_believed():
    assert areas(record(sighting(0.8, 0.5, 1)), record(sighting(0.5, 0.8, 2))) == {1: 1}


def test_where_objects_meet_the_surer_one_has_the_pixels(tmp_path: Path):
    journal = Journal(tmp_path / "both")
    journal.append(record(sighting(0.9, 0.5, 8), sighting(0.9, 0.9, 5, object_id=2)))
    journal.close()
    ways = [JournalIndex(tmp_path / "both")] * 3
    result = (
        FusedTracker(*ways, Shots.of([], 1), {}).session().step(next(Toy([(0, 0, 0)]).frames()))
    )
    assert result.label_map()[0, :9].tolist() == [2] * 5 + [1] * 3 + [0]


def test_an_object_is_there_where_most_passes_see_it():
    empty, small, large = (record(sighting(0.6, 0.5, columns)) for columns in (0, 2, 3))

    def seen(first: FrameRecord, *directions: FrameRecord) -> int:
        return fuse(first, directions, known=())[0].area // SIZE[0]

    assert seen(empty, small, empty) == 0
    assert seen(empty, small, large) == 2
    assert seen(large, empty, small) == 2
    assert seen(large, empty, empty) == 0
    assert seen(large, small) == 2


def test_where_votes_are_equal_an_object_is_there_if_it_is_known_to_be_in_the_shot():
    empty, seen = record(sighting(0.4, 0.9, 0)), record(sighting(0.6, 0.3, 2))
    assert areas(empty, seen) == areas(seen, empty) == {1: 2}
    assert areas(empty, seen, known=()) == areas(seen, empty, known=()) == {1: 0}


def test_what_only_the_first_pass_met_is_taken_from_it():
    assert [s.area for s in fuse(record(sighting(0.9, 0.9, 2)), (), known=())] == [2 * SIZE[0]]


def test_an_object_that_only_one_direction_has_met_is_taken_from_that(tmp_path: Path):
    ways = []
    for name, records in (
        ("first", []),
        ("forward", [record(sighting(0.9, 0.9, 1), frame=1)]),
        ("backward", [record(sighting(0.9, 0.9, 2), frame=0, asked=True)]),
    ):
        journal = Journal(tmp_path / name)
        for one in records:
            journal.append(one)
        journal.close()
        ways.append(JournalIndex(tmp_path / name))
    session = FusedTracker(*ways, Shots.of([2], 3), {}).session()
    toy = Toy([(0, 0, 0)] * 3)
    results = list(session.track(toy.frames()))
    assert [r.object_ids for r in results] == [(ONE,), (ONE,), ()]
    assert [r.concept_queried for r in results] == [True, False, False]
    assert [r.cut for r in results] == [False, False, True]
    assert int(results[0].mask(ONE).sum()) == 2 * SIZE[0]
    with pytest.raises(InputError, match="tracked already"):
        session.prompt(next(toy.frames()), {ONE: Mask(toy.truth(0))})


@pytest.fixture
def job(film: Path, tmp_path: Path) -> TrackJob:
    return TrackJob(open_video(film), (TimedPrompt(ONE, RED_BOX),), tmp_path / "out")


def everything_in(out: Path) -> dict[str, bytes]:
    files = [p for p in out.rglob("*") if p.is_file() and p.suffix != ".mp4"]
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


class StopAfter:
    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self) -> bool:
        self.times -= 1
        return self.times < 0


HOW = TwoPasses(lambda frames: [sum(1 for _ in frames) // 2])


def test_the_job_writes_what_others_write_and_says_which_shots_and_keyframes_there_were(
    job: TrackJob,
):
    summary = run_offline(job, ColorTracker(), HOW)
    assert summary.finished
    assert summary.frames == 20
    assert sorted(p.name for p in job.out.iterdir()) == ["overlay.mp4", "palette", "result.json"]
    result = json.loads((job.out / "result.json").read_text())
    assert result["offline"]["shots"] == [0, 10]
    assert len(result["offline"]["keyframes"]["1"]) >= 1
    for index in range(20):
        labels = np.asarray(Image.open(job.out / "palette" / f"{index:05d}.png"))
        assert overlap(labels == 1, truth(index)) > 0.8


@pytest.mark.parametrize("stop", [3, 25, 45, 70, 90, 110])
def test_wherever_it_is_stopped_a_resumed_run_ends_as_an_undisturbed_one(
    job: TrackJob, tmp_path: Path, stop: int
):
    job = replace(job, save=frozenset({OutputFormat.PALETTE, OutputFormat.RLE}))
    whole = replace(job, out=tmp_path / "whole")
    run_offline(whole, ColorTracker(), HOW)
    stopped = run_offline(job, ColorTracker(), HOW, RunMonitor(should_stop=StopAfter(stop)))
    assert not stopped.finished
    tracker = ColorTracker()
    assert run_offline(replace(job, if_exists=IfExists.RESUME), tracker, HOW).finished
    assert everything_in(job.out) == everything_in(whole.out)
    undisturbed = ColorTracker()
    run_offline(replace(job, if_exists=IfExists.OVERWRITE), undisturbed, HOW)
    assert len(tracker.stepped) == len(undisturbed.stepped) or stop > 20
    assert len(tracker.stepped) <= len(undisturbed.stepped)


def test_a_stopped_run_can_be_replaced(job: TrackJob):
    run_offline(job, ColorTracker(), HOW, RunMonitor(should_stop=StopAfter(45)))
    assert run_offline(replace(job, if_exists=IfExists.OVERWRITE), ColorTracker(), HOW).finished
    assert not (job.out / ".resume").exists()


def test_a_finished_result_is_not_made_again(job: TrackJob):
    run_offline(job, ColorTracker(), HOW)
    tracker = ColorTracker()
    assert run_offline(replace(job, if_exists=IfExists.RESUME), tracker, HOW).frames == 20
    assert not tracker.stepped


def test_progress_only_grows_and_ends_where_it_said_it_would(job: TrackJob):
    told: list[tuple[int, int | None]] = []
    run_offline(job, ColorTracker(), HOW, RunMonitor(on_frame=lambda *at: told.append(at)))
    done = [at for at, _ in told]
    assert done == sorted(done)
    assert {total for _, total in told} == {done[-1]}


def test_a_live_source_is_refused(job: TrackJob):
    live = replace(job, source=LiveToy([(200, 0, 0)] * 3))
    with pytest.raises(InputError, match=r"is live, and offline mode plays a video more than once"):
        run_offline(live, ColorTracker(), HOW)
    assert not job.out.exists()


def test_one_direction_alone_is_refused(job: TrackJob):
    with pytest.raises(InputError, match="forward alone was asked for"):
        run_offline(replace(job, direction=Direction.FORWARD), ColorTracker(), HOW)


def test_a_prompt_that_the_tracker_refuses_leaves_no_trace(job: TrackJob):
    class Picky(ColorTracker):
        def session(self) -> Any:
            session = super().session()
            session.__class__ = _PickySession
            return session

    with pytest.raises(InputError, match="only masks"):
        run_offline(job, Picky(), HOW)
    assert not job.out.exists()


class _PickySession(type(ColorTracker().session())):  # type: ignore[misc]
    __slots__ = ()

    def prompt(self, frame: Frame, prompts: Any) -> Any:
        raise InputError("only masks")


def test_clicks_that_corrected_a_mask_are_known_by_what_came_of_them():
    toy = Toy([(200, 0, 0)] * 10)
    segmenter = ColorSegmenter()
    prompts = {0: {ONE: Mask(toy.truth(0))}, 5: {ONE: Points.on((7.0, 4.0))}}
    results = list(track_offline(toy, prompts, Tracker(segmenter), NO_CUTS))
    assert (results[5].mask(ONE) == toy.truth(5)).all()


def test_shots_are_named_by_the_frames_own_numbers_where_damaged_ones_are_missing():
    pictures = [np.full((40, 60, 3), 200 if i < 6 else 20, np.uint8) for i in range(12)]
    frames = [Frame(i, rgb) for i, rgb in enumerate(pictures) if i != 2]
    assert first_frames(frames) == [6]
