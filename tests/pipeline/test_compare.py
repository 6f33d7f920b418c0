"""Several trackers on one video, with trackers that follow a color."""

from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from helpers.video_toys import (
    ColorSession,
    ColorTracker,
    Film,
    presentation_times,
    truth,
    write_film,
)
from segment_concept.ops.overlap import mask_iou
from segment_concept.pipeline.compare import (
    LABEL,
    CompareJob,
    run_compare,
    side_by_side,
)
from segment_concept.pipeline.memory_usage import session_nbytes
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.track import RunMonitor
from segment_concept.tracking.api import NO_FRAME_PROMPTS
from segment_concept.types import Box, Frame, InputError, Mask, ObjectId
from segment_concept.video.open import open_video

ONE, TWO = ObjectId(1), ObjectId(2)
RED, GREEN = Box(4, 12, 20, 28), Box(70, 44, 86, 60)


class Half(ColorTracker):
    """Its masks are the upper 8 of the 16 lines of the red square."""

    def session(self) -> ColorSession:
        return HalfSession(self)


class HalfSession(ColorSession):
    def step(self, frame, prompts=NO_FRAME_PROMPTS):
        return self._upper(ColorSession.step(self, frame, prompts))

    def prompt(self, frame, prompts):
        return self._upper(ColorSession.prompt(self, frame, prompts))

    def _upper(self, result):
        logits = result.logits.clone()
        logits[:, 20:] = -10
        return replace(result, logits=logits)


class MasksOnly(ColorTracker):
    def session(self) -> ColorSession:
        return MasksOnlySession(self)


class MasksOnlySession(ColorSession):
    def prompt(self, frame, prompts):
        if not all(isinstance(p, Mask) for p in prompts.values()):
            raise InputError("starts from masks: give a Mask")
        return ColorSession.prompt(self, frame, prompts)


@pytest.fixture
def job(tmp_path: Path) -> CompareJob:
    film = write_film(tmp_path / "film.mp4", Film(sound="aac"))
    return CompareJob(open_video(film), (TimedPrompt(ONE, RED),), tmp_path / "out.mp4")


def test_the_video_that_is_written_has_every_frame_twice_as_wide_and_the_sound(job):
    found = run_compare(job, {"a": ColorTracker(), "b": ColorTracker()})
    assert found.names == ("a", "b")
    assert found.frames == 20
    assert found.finished
    assert len(presentation_times(job.out)) == 20
    with av.open(str(job.out)) as written:
        stream = written.streams.video[0]
        assert (stream.width, stream.height) == (2 * 96, 64 + LABEL)
        assert written.streams.audio
    assert sorted(p.name for p in job.out.parent.iterdir()) == ["film.mp4", "out.mp4"]


def test_agreement_is_the_mean_overlap_of_every_pair(job):
    found = run_compare(job, {"a": ColorTracker(), "b": ColorTracker(), "half": Half()})
    np.testing.assert_allclose(np.diag(found.agreement), 1)
    assert found.agreement[0, 1] == pytest.approx(1)
    assert found.agreement[0, 2] == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(found.agreement, found.agreement.T)


def test_speed_and_what_is_remembered_are_measured(job):
    found = run_compare(job, {"a": ColorTracker(), "b": ColorTracker()})
    assert all(found.rate(i) > 0 for i in range(2))
    assert found.memory_bytes == (12, 12)  # a color: three numbers of four bytes


def test_objects_may_be_shown_on_different_frames(job):
    later = replace(job, prompts=(TimedPrompt(ONE, RED), TimedPrompt(TWO, GREEN, 7)))
    trackers = {"a": ColorTracker(), "b": ColorTracker()}
    found = run_compare(later, trackers)
    assert found.agreement[0, 1] == pytest.approx(1)
    assert trackers["a"].stepped == trackers["b"].stepped == list(range(1, 20))


def test_finished_work_is_kept_after_a_stop(job):
    steps = iter([False] * 4 + [True])
    trackers = {"a": ColorTracker(), "b": ColorTracker()}
    found = run_compare(job, trackers, RunMonitor(should_stop=lambda: next(steps)))
    assert not found.finished
    assert found.frames == len(presentation_times(job.out)) == 5


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"out": Path("out.avi")}, r"end with \.mp4"),
        ({"out": Path("nowhere/out.mp4")}, "there is no folder nowhere"),
        ({"prompts": ()}, "nothing to track"),
        ({"prompts": (TimedPrompt(ONE, Box(200, 200, 220, 220)),)}, "lies outside"),
    ],
)
def test_an_impossible_comparison_is_refused_and_writes_nothing(job, change, why, tmp_path):
    with pytest.raises(InputError, match=why):
        run_compare(replace(job, **change), {"a": ColorTracker(), "b": ColorTracker()})
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


def test_an_earlier_comparison_is_replaced_only_where_that_was_asked_for(job):
    job.out.write_bytes(b"mine")
    trackers = {"a": ColorTracker(), "b": ColorTracker()}
    with pytest.raises(InputError, match="already exists"):
        run_compare(job, trackers)
    assert job.out.read_bytes() == b"mine"
    run_compare(replace(job, overwrite=True), trackers)
    assert len(presentation_times(job.out)) == 20


def test_a_prompt_that_one_tracker_refuses_is_reported_with_its_name(job):
    with pytest.raises(InputError, match="propagates: starts from masks"):
        run_compare(job, {"a": ColorTracker(), "propagates": MasksOnly()})
    assert not job.out.exists()
    prompts = (TimedPrompt(ONE, Mask(truth(0))),)
    run_compare(replace(job, prompts=prompts), {"a": ColorTracker(), "propagates": MasksOnly()})


def test_one_tracker_is_no_comparison(job):
    with pytest.raises(InputError, match="at least two"):
        run_compare(job, {"a": ColorTracker()})


def test_pictures_stand_side_by_side_each_with_its_own_masks():
    frame = Frame(0, np.full((40, 60, 3), 100, np.uint8))
    left, empty = np.zeros((2, 40, 60), np.bool_)
    left[10:20, 10:20] = True
    picture = side_by_side(frame, {"left": {ONE: left}, "right": {ONE: empty}})
    assert picture.shape == (40 + LABEL, 120, 3)
    tinted = (picture[LABEL:] != 100).any(axis=2)
    assert tinted[:, :60][left].all()
    assert not tinted[:, 60:].any()
    assert (picture[:LABEL, :60] > 0).any()
    assert (picture[:LABEL, :60] != picture[:LABEL, 60:]).any()


@pytest.mark.parametrize(("count", "shape"), [(2, (1, 2)), (3, (2, 2)), (5, (2, 3))])
def test_the_grid_is_as_square_as_can_be(count, shape):
    frame = Frame(0, np.zeros((20, 30, 3), np.uint8))
    picture = side_by_side(frame, {str(i): {} for i in range(count)})
    assert picture.shape == (shape[0] * (20 + LABEL), shape[1] * 30, 3)


def test_large_pictures_are_made_smaller_to_fit():
    frame = Frame(0, np.zeros((1080, 1920, 3), np.uint8))
    assert side_by_side(frame, {"a": {}, "b": {}}).shape == (540 + LABEL, 1920, 3)


def test_two_empty_masks_agree():
    full, empty = np.ones((2, 2), np.bool_), np.zeros((2, 2), np.bool_)
    assert mask_iou(empty, empty) == 1
    assert mask_iou(full, empty) == 0
    assert mask_iou(full, full) == 1


@dataclass
class Holding:
    tracker: object
    things: object


def test_memory_of_a_session_is_counted_once_and_by_storage():
    weights, shared = torch.zeros(1000), torch.zeros(10)
    tracker = Holding(None, weights)
    things = {"a": (shared, shared[:2]), "b": [np.zeros((4, 5), np.uint8)[:1], "text", None]}
    assert session_nbytes(Holding(tracker, things), tracker) == 40 + 20
