"""The published form of SAM2Long: what wins in the end is shown from the beginning."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from helpers.tracking_toy import BLUE, ONE, RED, TWO, Blob, ColorSegmenter, video
from segment_concept.tracking.best_path import track_best_path
from segment_concept.tracking.memory import MemoryBank, PlaybackPosition, Recall, Track
from segment_concept.tracking.policies.base import Candidate, MemoryPolicy
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sam2long import TreeMemory
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Frame, FrameResult

RUNNER, OTHER = Blob(RED, speed=1), Blob(BLUE, top=8, left=14, speed=-1)
NEAR = Blob(BLUE, top=8, left=2)


@dataclass
class Script:
    """A tree that grows as it is told: (hypothesis, mask) of those that go on, for each call."""

    lines: Sequence[Sequence[tuple[int, int]]]
    spoken: int = field(default=0)

    def recall(self, bank: MemoryBank, position: PlaybackPosition) -> Recall:
        return RecentMemory().recall(bank, position)

    def choose(
        self, tracks: Sequence[Track], candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        by_place = {(c.track, c.mask): c for c in candidates}
        self.spoken += 1
        return [by_place[place] for place in self.lines[self.spoken - 1]]

    def forget(self, bank: MemoryBank, position: PlaybackPosition) -> MemoryBank:
        return RecentMemory().forget(bank, position)


def begin(policy: MemoryPolicy, *blobs: Blob, non_overlapping: bool = False) -> Session:
    session = Tracker(ColorSegmenter(), policy, non_overlapping=non_overlapping).session()
    prompts = {[ONE, TWO][n]: blob.mask(0) for n, blob in enumerate(blobs)}
    session.prompt(video(*blobs)[0], prompts)
    return session


def masks(results: Sequence[FrameResult]) -> list[int]:
    """Which of the toy's three masks was shown: its scores are 0.5, 1 and 0.1."""
    return [[0.5, 1.0, 0.1].index(round(r.quality[0].item(), 1)) for r in results]


def told(lines: Sequence[Sequence[tuple[int, int]]]) -> tuple[list[int], list[int]]:
    """The masks that are shown as they come, and in hindsight."""
    frames = video(RUNNER)[1 : len(lines) + 1]
    streamed = list(begin(Script(lines), RUNNER).track(frames))
    late = list(track_best_path(begin(Script(lines), RUNNER), frames))
    assert [r.frame_index for r in late] == [f.index for f in frames]
    return masks(streamed), masks(late)


def test_the_hypothesis_that_wins_decides_about_all_frames():
    lines = [[(0, 1), (0, 0)], [(0, 1), (1, 1)], [(0, 1), (1, 0)], [(1, 1), (0, 1)]]
    assert told(lines) == ([1, 1, 1, 1], [0, 1, 0, 1])


def test_frames_on_which_all_heirs_agree_keep_what_they_agree_on():
    lines = [[(0, 1), (0, 0)], [(1, 1), (1, 0)], [(1, 1), (0, 1)]]
    assert told(lines) == ([1, 1, 1], [0, 0, 1])


@dataclass
class Watched:
    """Frames, and how many of them were asked for."""

    frames: Sequence[Frame]
    asked: int = 0

    def __iter__(self) -> Iterator[Frame]:
        for frame in self.frames:
            self.asked += 1
            yield frame


def test_a_frame_comes_as_soon_as_it_cannot_change_any_more():
    lines = [
        [(0, 1), (0, 0)],
        [(0, 1), (1, 1)],
        [(1, 1), (1, 0)],  # only the second is left: frames 1 and 2 are certain
        [(0, 1), (1, 1)],
        [(0, 1), (0, 1)],  # the same mask twice: everything is
        [(0, 1), (1, 0)],
    ]
    watched = Watched(video(RUNNER)[1 : len(lines) + 1])
    late = [
        (result.frame_index, watched.asked)
        for result in track_best_path(begin(Script(lines), RUNNER), watched)
    ]
    assert late == [(1, 3), (2, 3), (3, 5), (4, 5), (5, 5), (6, 6)]


def test_without_hypotheses_it_is_the_session_as_it_comes():
    frames = video(RUNNER, OTHER)[1:8]
    streamed = begin(RecentMemory(), RUNNER, OTHER).track(frames)
    watched = Watched(frames)
    late = track_best_path(begin(RecentMemory(), RUNNER, OTHER), watched)
    for ours, theirs in zip(late, streamed, strict=True):
        assert watched.asked == ours.frame_index
        same(ours, theirs)


def same(ours: FrameResult, theirs: FrameResult) -> None:
    assert (ours.frame_index, ours.object_ids) == (theirs.frame_index, theirs.object_ids)
    for field_ in ("logits", "presence", "quality"):
        assert torch.equal(getattr(ours, field_), getattr(theirs, field_))


def test_every_object_has_its_own_tree():
    """The frame waits for the last of them."""
    one = [[(0, 1)], [(0, 1)], [(0, 1)]]
    two = [[(0, 1), (0, 0)], [(0, 1), (1, 1)], [(1, 1)]]
    lines = [line for pair in zip(one, two, strict=True) for line in pair]
    frames = video(RUNNER, OTHER)[1:4]
    late = list(track_best_path(begin(Script(lines), RUNNER, OTHER), frames))
    shown = [[round(q, 1) for q in r.quality.tolist()] for r in late]
    assert shown == [[1.0, 0.5], [1.0, 1.0], [1.0, 1.0]]


def test_overlaps_are_settled_between_the_masks_that_won():
    frames = video(RUNNER, NEAR)[1:4]
    lines = [[(0, 2)], [(0, 2)]] * 3  # the inverted masks: both claim the background
    late = list(track_best_path(begin(Script(lines), RUNNER, NEAR, non_overlapping=True), frames))
    assert all(not (r.mask(ONE) & r.mask(TWO)).any() for r in late)


def test_frames_on_which_an_object_was_shown_stay_as_they_were_shown():
    policy = TreeMemory(certain_above=100.0)
    session = begin(policy, RUNNER)
    frames = video(RUNNER)
    session.prompt(frames[4], {ONE: RUNNER.mask(4)})
    session.prompt(frames[0], {ONE: RUNNER.mask(0)})
    late = list(track_best_path(session, frames[1:9]))
    assert [r.frame_index for r in late] == list(range(1, 9))
    assert all((r.mask(ONE) == RUNNER.on(r.frame_index)).all() for r in late)
    assert late[3].quality.tolist() == [1.0]


def test_backwards_too():
    session = begin(TreeMemory(certain_above=100.0), RUNNER)
    frames = video(RUNNER)
    session.prompt(frames[9], {ONE: RUNNER.mask(9)})
    late = list(track_best_path(session, frames[8:0:-1], backwards=True))
    assert [r.frame_index for r in late] == list(range(8, 0, -1))
    assert all((r.mask(ONE) == RUNNER.on(r.frame_index)).all() for r in late)
