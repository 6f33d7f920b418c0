"""A bank that forgets is read exactly as one that does not, in every order a video is played."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.memory_cases import maps, remembered
from segment_concept.tracking.memory import MemoryBank, PlaybackPosition
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sec import ReliableMemory

LENGTH = 60
POLICIES: list[MemoryPolicy] = [
    RecentMemory(),
    RecentMemory(slots=3, pointers=5),
    RecentMemory(slots=1, pointers=1),
    ReliableMemory(),
    ReliableMemory(slots=4, pointers=3),
    ReliableMemory(slots=1, pointers=1),
    RecentMemory(prompted=1),
    ReliableMemory(slots=4, prompted=2),
    ReliableMemory(slots=7, pointers=8, ranks=(0, 2, 5)),
    RecentMemory(prompted=None),
]
every_policy = pytest.mark.parametrize("policy", POLICIES, ids=repr)
properties = settings(max_examples=12, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**32)
frames = st.integers(0, LENGTH - 1)


def scores(seed: int) -> list[tuple[float, float]]:
    """(iou, presence) of every frame; about half of them are good."""
    random = Random(seed)
    return [(random.choice((0.1, 0.3, 0.8, 0.9)), random.choice((-1, 2, 3))) for _ in range(LENGTH)]


@dataclass
class Twins:
    """Two banks of one object: `short` forgets, `full` does not."""

    policy: MemoryPolicy
    scores: Sequence[tuple[float, float]]  # of every frame, however often it is tracked
    full: MemoryBank = field(default_factory=MemoryBank)
    short: MemoryBank = field(default_factory=MemoryBank)

    def prompt(self, index: int) -> None:
        shown = remembered(index)
        self.full, self.short = self.full.prompt(shown), self.short.prompt(shown)

    def play(self, start: int, count: int, *, backwards: bool) -> None:
        """Track `count` frames from the prompted frame `start`."""
        for n in range(1, count + 1):
            index = start - n if backwards else start + n
            if 0 <= index < LENGTH and self.full.on(index) not in self.full.prompted:
                self.step(PlaybackPosition(index, backwards))

    def step(self, position: PlaybackPosition) -> None:
        self.compare(position)
        index = position.frame_index
        tracked = remembered(index, *self.scores[index])
        self.full = self.full.remember(tracked)
        self.short = self.policy.forget(self.short.remember(tracked), position)

    def compare(self, position: PlaybackPosition) -> None:
        expected = self.policy.recall(self.full, position)
        assert self.policy.recall(self.short, position) == expected


@every_policy
@properties
@given(seed=seeds, middle=frames)
def test_forgetting_changes_no_recall_in_both_directions_from_the_middle(policy, seed, middle):
    twins = Twins(policy, scores(seed))
    twins.prompt(middle)
    twins.play(middle, LENGTH, backwards=False)
    twins.play(middle, LENGTH, backwards=True)
    twins.play(middle, LENGTH, backwards=False)


@every_policy
@properties
@given(
    seed=seeds,
    prompted=st.lists(frames, min_size=2, max_size=4, unique=True),
    passes=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, LENGTH), st.booleans()), min_size=2, max_size=5
    ),
)
def test_forgetting_changes_no_recall_from_any_of_several_prompted_frames(
    policy, seed, prompted, passes
):
    twins = Twins(policy, scores(seed))
    for index in prompted:
        twins.prompt(index)
    for which, count, backwards in passes:
        twins.play(prompted[which % len(prompted)], count, backwards=backwards)


@every_policy
@properties
@given(seed=seeds, corrected=st.sets(st.integers(1, LENGTH - 1), max_size=6))
def test_forgetting_changes_no_recall_where_the_frame_just_tracked_is_corrected(
    policy, seed, corrected
):
    twins = Twins(policy, scores(seed))
    twins.prompt(0)
    for index in range(1, LENGTH):
        twins.step(PlaybackPosition(index))
        if index in corrected:
            twins.compare(PlaybackPosition(index))  # a correction recalls what the frame recalled
            twins.prompt(index)


@every_policy
@pytest.mark.parametrize("iou", [0.9, 0.1])
def test_memory_does_not_grow_with_the_video(policy, iou):
    sizes = {}
    kept = MemoryBank().prompt(remembered(0)).prompt(remembered(40))
    for index in (i for i in range(1, 300) if i != 40):
        kept = policy.forget(kept.remember(remembered(index, iou)), PlaybackPosition(index))
        sizes[index] = len(kept.tracked)
    assert sizes[299] == sizes[150]
    assert max(sizes.values()) <= 4 * max(policy.slots, policy.pointers)


def test_with_one_prompt_reliable_memory_keeps_21_good_frames_and_the_newest():
    kept = MemoryBank().prompt(remembered(0))
    for index in range(1, 200):
        kept = ReliableMemory().forget(kept.remember(remembered(index)), PlaybackPosition(index))
    assert [m.frame_index for m in kept.tracked] == list(range(178, 200))


def test_with_one_prompt_recent_memory_keeps_16_frames_and_15_beside_the_prompt():
    kept = MemoryBank().prompt(remembered(0))
    for index in range(1, 200):
        kept = RecentMemory().forget(kept.remember(remembered(index)), PlaybackPosition(index))
    assert [m.frame_index for m in kept.tracked] == [*range(1, 16), *range(184, 200)]


@pytest.mark.parametrize(
    "policy", [RecentMemory(prompted=None), ReliableMemory(prompted=None)], ids=repr
)
def test_without_a_bound_nothing_prompted_is_ever_forgotten(policy):
    prompted = MemoryBank()
    for index in range(0, 300, 3):
        prompted = prompted.prompt(remembered(index))
    assert policy.forget(prompted, PlaybackPosition(1000)).prompted == prompted.prompted
    assert len(maps(policy.recall(prompted, PlaybackPosition(1000)))) == 100
