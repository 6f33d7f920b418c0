"""Frames that are not tracked because both neighbors show where their objects are."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import torch

from helpers.calm_film import CALM, Film, carrying_tracker, prompts_of
from helpers.tracking_toy import BLUE, ONE, RED, TWO
from segment_concept import Frame, Mask
from segment_concept.pipeline.session_state import dump_session, load_session
from segment_concept.tracking.session import Session
from segment_concept.tracking.triggers.base import AtFrames, Trigger
from segment_concept.types import FrameResult, InputError


def track(film: Film, trigger: Trigger | None = None, **options) -> list[FrameResult]:
    tracker = carrying_tracker(trigger)
    return list(tracker.session().track(film.frames(), {0: prompts_of(film)}, **options))


def carried(results: Sequence[FrameResult]) -> list[int]:
    return [r.frame_index for r in results if r.carried]


def test_of_a_calm_film_up_to_three_frames_in_a_row_are_carried_and_marked():
    results = track(CALM, every="auto")
    assert [r.frame_index for r in results] == list(range(14))
    assert carried(results) == [1, 3, 5, 6, 8, 9, 10, 12]


def test_at_the_end_fewer_frames_are_carried_and_the_last_one_is_tracked():
    for length in (9, 10, 11, 12):
        film = replace(CALM, steps=CALM.steps[:length])
        expected = [i for i in (1, 3, 5, 6, 8, 9, 10) if i < length - 1]
        assert carried(track(film, every="auto")) == expected


def test_carried_masks_are_where_the_objects_are():
    for result in track(CALM, every="auto"):
        for number, object_id in enumerate((ONE, TWO)):
            found = result.mask(object_id)
            truth = CALM.mask(result.frame_index, number).bitmap
            assert (found & truth).sum() / (found | truth).sum() > 0.85


def test_scores_of_carried_frames_change_evenly_between_those_of_the_tracked_ones():
    before, *between, after = track(CALM, every="auto")[4:8]
    assert [r.carried for r in between] == [True, True]
    for result, share in zip(between, (1 / 3, 2 / 3), strict=True):
        for name in ("presence", "quality"):
            a, found, b = (getattr(each, name) for each in (before, result, after))
            assert torch.allclose(found, (1 - share) * a + share * b)
        assert result.keyframes == before.keyframes


def test_a_carried_frame_is_not_encoded_and_leaves_no_memory():
    for prefetch in (0, 2):
        tracker = carrying_tracker()
        session = tracker.session()
        frames = CALM.frames()
        results = list(
            session.track(frames, {0: prompts_of(CALM)}, prefetch=prefetch, every="auto")
        )
        (bank,) = {id(t.bank): t.bank for t in session.tracks[ONE]}.values()
        assert not {m.frame_index for m in bank.tracked} & set(carried(results))
        assert sorted(tracker.segmenter.encoded) == [
            r.frame_index for r in results if not r.carried
        ]


@pytest.mark.parametrize("options", [{}, {"prefetch": 0}, {"prefetch": 2, "every": 1}])
def test_every_frame_is_tracked_if_it_is_asked_for_or_nothing_may_be_read_ahead(options):
    """A live source, of which nothing may be read ahead, is tracked without prefetching."""
    session = carrying_tracker().session()
    stepped = [session.step(f, {} if f.index else prompts_of(CALM)) for f in CALM.frames()]
    results = track(CALM, **options)
    assert not carried(results)
    for expected, found in zip(stepped, results, strict=True):
        assert torch.equal(expected.logits, found.logits)


def test_prefetching_changes_no_result():
    plain, ahead = (track(CALM, every="auto", prefetch=n) for n in (0, 2))
    assert carried(plain) == carried(ahead)
    for expected, found in zip(plain, ahead, strict=True):
        assert torch.equal(expected.logits, found.logits)


def test_closing_the_results_ends_reading_and_encoding():
    results = carrying_tracker().session().track(CALM.frames(), {0: prompts_of(CALM)}, prefetch=2)
    next(results), next(results)
    results.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("segment-concept")]


def test_an_error_of_the_network_leaves_the_session_before_the_frame_it_would_have_carried():
    tracker = carrying_tracker()
    session = tracker.session()
    results = session.track(CALM.frames(), {0: prompts_of(CALM)}, every="auto")
    next(results)
    tracker.segmenter.propose = None  # type: ignore[method-assign]
    with pytest.raises(TypeError):
        next(results)
    assert session.carry.passed == ()
    assert session.carry.left == 0
    assert session.previous is not None
    assert session.previous.frame.index == 0


def test_a_cut_is_tracked_and_so_is_the_frame_before_it():
    film = replace(CALM, other_ground=6)
    results = track(film, AtFrames(frozenset({6})), every="auto")
    assert carried(results) == [1, 3, 7, 8, 10, 11, 12]
    assert [r.frame_index for r in results if r.cut] == [6]


def test_a_prompted_frame_is_tracked_and_so_is_the_frame_before_it():
    given = {0: prompts_of(CALM), 6: {ONE: CALM.mask(6)}}
    results = list(carrying_tracker().session().track(CALM.frames(), given, every="auto"))
    assert not {5, 6} & set(carried(results))
    assert {1, 3, 7} <= set(carried(results))


def test_nothing_is_carried_where_the_picture_moves_too_fast():
    assert not carried(track(Film([0, 0, 0, 0, 24, 0, 30, 0, 24], lefts=(60, 80)), every="auto"))[
        1:
    ]


def test_frames_before_a_fast_move_are_carried_up_to_it():
    """Two frames in a row would be tried, but the move follows the second of them."""
    results = track(Film([0, 0, 0, 0, 0, 0, 0, 24, 0], lefts=(60, 80)), every="auto")
    assert carried(results) == [1, 3, 5]


def test_where_both_sides_do_not_agree_on_three_frames_one_is_tried_and_then_none():
    """On frame 11 an object is in doubt. Its gray is the same, so the flow fits."""
    doubtful = replace(CALM, colors=((RED[0] - 26, RED[1] + 13, RED[2]), BLUE))
    frames = CALM.frames()
    frames[11] = doubtful.frames()[11]
    tracker = carrying_tracker()
    results = list(tracker.session().track(frames, {0: prompts_of(CALM)}, every="auto"))
    assert [r.frame_index for r in results if r.quality[0] < 0.5] == [11]
    assert carried(results) == [1, 3, 5, 6, 8]
    assert sorted(tracker.segmenter.encoded) == [r.frame_index for r in results if not r.carried]


def test_an_object_that_is_in_doubt_forbids_carrying():
    """Predicted IoU falls with the distance to the color that is remembered."""
    film = replace(CALM, colors=((RED[0] - 25, *RED[1:]), BLUE))
    first = CALM.frames()[0]
    session = carrying_tracker().session()
    session.step(first, prompts_of(CALM))
    results = list(session.track(film.frames()[1:], every="auto"))
    doubted = {r.frame_index for r in results if r.quality[0] < 0.5}
    assert 1 in doubted
    beside = {index + step for index in doubted for step in (-1, 0, 1)}
    assert not beside & set(carried(results))


def test_a_frame_before_an_object_vanishes_or_returns_is_tracked():
    results = track(replace(CALM, hidden=frozenset({5, 6, 7, 8, 9})), every="auto")
    found = {r.frame_index: bool(r.mask(ONE).any()) for r in results}
    assert [i for i in found if not found[i]] == [5, 6, 7, 8, 9]


def test_backwards_play_carries_as_well():
    session = carrying_tracker().session()
    frames = CALM.frames()[::-1]
    given = {13: {ONE: CALM.mask(13), TWO: CALM.mask(13, 1)}}
    results = list(session.track(frames, given, every="auto"))
    assert carried(results) == [12, 10, 8, 7, 5, 4, 3, 1]


@pytest.mark.parametrize("ended_after", range(1, 13))
def test_a_session_that_was_stored_between_two_frames_goes_on_as_if_nothing_had_happened(
    ended_after: int,
):
    trigger = AtFrames(frozenset({8}))
    film = replace(CALM, hidden=frozenset({5, 6}))
    undisturbed = track(film, trigger, every="auto")
    tracker = carrying_tracker(trigger)
    session = tracker.session()
    started = session.track(film.frames(), {0: prompts_of(film)}, every="auto")
    first = [next(started) for _ in range(ended_after)]
    stored = dump_session(session, tracker)
    started.close()
    restored = load_session(stored, tracker)
    assert isinstance(restored, Session)
    rest = list(restored.track(film.frames()[ended_after:], every="auto"))
    for expected, found in zip(undisturbed, [*first, *rest], strict=True):
        assert expected.carried == found.carried
        assert torch.equal(expected.logits, found.logits)


@pytest.mark.parametrize("changed", [3, 5, 6, 8, 9, 10])
def test_what_is_changed_between_two_frames_counts_for_the_next(changed: int):
    session = carrying_tracker().session()
    seen = []
    for result in session.track(CALM.frames(), {0: prompts_of(CALM)}, every="auto"):
        seen.append(result.object_ids)
        if result.frame_index == changed:
            assert result.carried
            session.remove(TWO)
    assert seen == [(ONE, TWO)] * (changed + 1) + [(ONE,)] * (13 - changed)


def test_an_error_of_the_source_arrives_after_the_frames_before_it():
    def frames() -> Iterator[Frame]:
        yield from CALM.frames()[:4]
        raise OSError("the disk is gone")

    results = carrying_tracker().session().track(frames(), {0: prompts_of(CALM)}, every="auto")
    assert [next(results).frame_index for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def test_a_frame_of_another_size_is_refused_after_the_frames_before_it():
    frames = CALM.frames()
    frames[4] = Frame(4, frames[4].rgb[:32].copy())
    results = carrying_tracker().session().track(frames, {0: prompts_of(CALM)}, every="auto")
    assert [next(results).frame_index for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(InputError, match="the video began with"):
        next(results)


def test_frames_that_are_too_small_for_flow_are_tracked():
    small = [Frame(f.index, f.rgb[20:32, 18:40].copy()) for f in CALM.frames()]
    mask = Mask(CALM.mask(0).bitmap[20:32, 18:40])
    results = list(carrying_tracker().session().track(small, {0: {ONE: mask}}, every="auto"))
    assert not carried(results)
