"""SAM2Long's rules: which hypotheses go on, and how long the keys of their memories are."""

from collections.abc import Sequence
from dataclasses import replace
from math import log

import pytest
import torch

from helpers.memory_cases import bank, maps, pointers, remembered
from helpers.tracking_toy import BLUE, ONE, RED, TWO, Blob, ColorSegmenter, flat, video
from segment_concept.tracking.memory import PlaybackPosition, Track
from segment_concept.tracking.policies.base import Candidate
from segment_concept.tracking.policies.sam2long import TreeMemory
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker

CERTAIN, UNCERTAIN = 5.0, 1.0
IOUS = (0.2, 0.9, 0.5)


def nine(
    presence: Sequence[float] = (UNCERTAIN,) * 3, ious: Sequence[Sequence[float]] = (IOUS,) * 3
) -> list[Candidate]:
    return [
        Candidate(k, mask, iou, presence[k])
        for k, row in enumerate(ious)
        for mask, iou in enumerate(row)
    ]


def kept(candidates: Sequence[Candidate], scores: Sequence[float] = (0, 0, 0)) -> list[object]:
    """(hypothesis, mask) of those that go on."""
    tracks = [Track(log_score=score) for score in scores]
    return [(c.track, c.mask) for c in TreeMemory().choose(tracks, candidates)]


def test_the_first_frame_is_an_ordinary_step_that_all_hypotheses_share():
    candidates = [Candidate(0, mask, iou, UNCERTAIN) for mask, iou in enumerate(IOUS)]
    assert kept(candidates, [0.0]) == [(0, 1)] * 3


def test_if_one_hypothesis_is_certain_the_best_three_of_nine_continue():
    """As published: of hypotheses that are still one, three times the same mask."""
    assert kept(nine([UNCERTAIN, CERTAIN, UNCERTAIN])) == [(0, 1), (1, 1), (2, 1)]
    assert kept(nine([-CERTAIN] * 3), [log(0.5), 0, log(0.9)]) == [(1, 1), (2, 1), (1, 2)]


def test_uncertain_hypotheses_must_differ_in_predicted_iou():
    assert kept(nine()) == [(0, 1), (0, 2), (0, 0)]
    rounded = [(0.9, 0.5, 0.2), (0.897, 0.496, 0.1), (0.903, 0.3, 0.2)]
    assert kept(nine(ious=rounded)) == [(2, 0), (0, 1), (2, 1)]


def test_a_presence_of_exactly_the_threshold_is_not_certain():
    assert kept(nine([2.0] * 3)) == [(0, 1), (0, 2), (0, 0)]
    assert kept(nine([-2.01] * 3)) == [(0, 1), (1, 1), (2, 1)]


def test_an_iou_counts_as_another_where_the_object_is_thought_absent():
    same = [(0.9, 0.9, 0.9)] * 3
    assert kept(nine([1, -1, 1], same)) == [(0, 0), (1, 0), (2, 0)]


def test_hypotheses_without_an_heir_get_theirs_where_too_few_differ():
    """As published, in the order of the hypotheses, behind the best one."""
    same = [(0.9, 0.9, 0.9), (0.9, 0.9, 0.9), (0.9, 0.9, 0.9)]
    assert kept(nine(ious=same), [log(0.5), log(0.4), 0]) == [(2, 0), (0, 0), (1, 0)]


def test_the_past_of_a_hypothesis_counts_as_much_as_its_present():
    assert kept(nine([CERTAIN] * 3), [0, log(0.1), log(0.5)]) == [(0, 1), (0, 2), (2, 1)]


def test_it_remembers_as_secs_memory_does():
    known = bank([0], [*range(1, 12), remembered(12, iou=0.1), remembered(13, presence=0.0), 14])
    ours, secs = TreeMemory(), ReliableMemory(slots=7, min_iou=0.1)
    for index in (1, 2, 14, 15):
        recalls = [policy.recall(known, PlaybackPosition(index)) for policy in (ours, secs)]
        assert maps(recalls[0]) == maps(recalls[1])
        assert pointers(recalls[0]) == pointers(recalls[1])


def test_keys_are_longer_the_more_clearly_the_object_was_seen():
    tracked = [remembered(1, presence=3.0), remembered(2, presence=1.0), remembered(3, presence=12)]
    recall = TreeMemory().recall(bank([0], tracked), PlaybackPosition(4))
    assert maps(recall) == [(0, 6), (1, 2), (2, 1), (3, 0)]
    # The prompted frame counts as 10.
    scales = [m.key_scale for m in recall.maps]
    assert scales == pytest.approx([0.95 + 0.1 * rank / 3 for rank in (2, 1, 0, 3)])
    assert pointers(recall) == [(0, 4), (3, 1), (2, 2)]
    assert [p.key_scale for p in recall.pointers] == pytest.approx([1.0, 1.05, 0.95])


def test_nothing_is_scaled_where_only_the_prompted_frame_is_recalled():
    recall = TreeMemory().recall(bank([0], []), PlaybackPosition(1))
    assert [m.key_scale for m in (*recall.maps, *recall.pointers)] == [1, 1]


def test_a_pointer_that_is_alone_gets_the_smallest_factor():
    """As published: a range of one number is its beginning."""
    recall = TreeMemory().recall(bank([0], [1]), PlaybackPosition(2))
    assert [m.key_scale for m in recall.maps] == pytest.approx([1.05, 0.95])
    assert [p.key_scale for p in recall.pointers] == [0.95]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"paths": 0}, "paths must be at least 1, got 0"),
        ({"slots": 0}, "slots and pointers are at least 1"),
        ({"min_iou": 2}, "min_iou is a score"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TreeMemory(**settings)


RUNNER, OTHER = Blob(RED, speed=1), Blob(BLUE, top=8, left=14, speed=-1)
UNSURE = TreeMemory(certain_above=100.0)  # the toy is never that certain


def begin(*blobs: Blob, policy: TreeMemory = UNSURE, at: int = 0) -> Session:
    session = Tracker(ColorSegmenter(), policy).session()
    prompts = {[ONE, TWO][n]: blob.mask(at) for n, blob in enumerate(blobs)}
    session.prompt(video(*blobs)[at], prompts)
    return session


def rows(session: Session) -> list[int]:
    """How many rows were decoded on each frame."""
    segmenter = session.tracker.segmenter
    assert isinstance(segmenter, ColorSegmenter)
    return [len(call.recalls) for call in segmenter.proposed]


def test_three_hypotheses_advance_as_three_rows_of_one_batch():
    session = begin(RUNNER, OTHER)
    list(session.track(video(RUNNER, OTHER)[1:6]))
    assert rows(session) == [2, 2, 6, 6, 6]


def test_hypotheses_that_are_still_one_are_computed_once():
    session = begin(RUNNER, policy=TreeMemory())
    list(session.track(video(RUNNER)[1:6]))
    assert rows(session) == [1] * 5
    assert len(session.tracks[ONE]) == 3
    assert len({id(track.bank) for track in session.tracks[ONE]}) == 1


def test_hypotheses_share_the_memories_in_which_they_agree():
    session = begin(RUNNER)
    list(session.track(video(RUNNER)[1:3]))
    banks = [track.bank for track in session.tracks[ONE]]
    first = {id(m) for bank in banks for m in (*bank.prompted, bank.on(1))}
    second = {id(bank.on(2)) for bank in banks}
    assert (len(first), len(second)) == (2, 3)
    assert len({bank.on(2).logits.sum().item() for bank in banks}) == 3


def test_a_hypothesis_has_its_score_and_its_parent():
    session = begin(RUNNER)
    list(session.track(video(RUNNER)[1:4]))
    tracks = session.tracks[ONE]
    # The toy predicts 0.5, 1 and 0.1 for its three masks; its copies add up the same.
    assert [track.log_score for track in tracks] == pytest.approx(
        [3 * log(1 + 1e-5), 2 * log(1 + 1e-5) + log(0.5), 2 * log(1 + 1e-5) + log(0.1)], abs=1e-3
    )
    assert [track.parent for track in tracks] == [0, 0, 0]


def test_the_best_hypothesis_is_shown():
    session = begin(RUNNER, OTHER)
    for result in session.track(video(RUNNER, OTHER)[1:8]):
        assert (result.mask(ONE) == RUNNER.on(result.frame_index)).all()
        assert (result.mask(TWO) == OTHER.on(result.frame_index)).all()
        best = session.tracks[ONE][0].bank.on(result.frame_index)
        torch.testing.assert_close(result.logits[0], best.logits)


def test_objects_advance_as_they_would_alone():
    together, alone = begin(RUNNER, OTHER), begin(RUNNER)
    list(together.track(video(RUNNER, OTHER)[1:8]))
    list(alone.track(video(RUNNER, OTHER)[1:8]))
    for ours, theirs in zip(together.tracks[ONE], alone.tracks[ONE], strict=True):
        assert (ours.log_score, ours.parent) == (theirs.log_score, theirs.parent)
        assert torch.equal(ours.bank.on(7).logits, theirs.bank.on(7).logits)


def test_an_object_is_followed_backwards():
    session = begin(RUNNER, at=9)
    results = list(session.track(video(RUNNER)[8:2:-1]))
    assert all((r.mask(ONE) == RUNNER.on(r.frame_index)).all() for r in results)
    assert rows(session) == [1, 1, 3, 3, 3, 3]


def test_when_playback_turns_only_the_best_hypothesis_remains():
    session = begin(RUNNER, at=5)
    frames = video(RUNNER)
    list(session.track(frames[6:10]))
    best = session.tracks[ONE][0].bank
    list(session.track(frames[4:1:-1], backwards=True))
    assert rows(session)[4:] == [1, 1, 3]
    assert all(track.bank.on(9) in (None, best.on(9)) for track in session.tracks[ONE])


def test_a_prompt_ends_the_doubt():
    session = begin(RUNNER)
    frames = video(RUNNER)
    list(session.track(frames[1:5]))
    session.prompt(frames[5], {ONE: RUNNER.mask(5)})
    (track,) = session.tracks[ONE]
    assert track.log_score == 0
    list(session.track(frames[6:9]))
    assert rows(session)[4:] == [1, 1, 3]


def test_a_stream_is_followed_in_bounded_memory():
    session = begin(replace(RUNNER, speed=0))
    for index in range(1, 120):
        session.step(flat(RED, index))
    held = {id(m) for track in session.tracks[ONE] for m in track.bank.tracked}
    assert len(held) <= 3 * 17
