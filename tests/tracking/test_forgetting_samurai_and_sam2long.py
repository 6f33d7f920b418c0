"""SAMURAI's and SAM2Long's memories are bounded, and no recall shows it.

Both recall by a walk from the frame at hand back to the farthest prompt, and take the first few
frames that are good. Whether a frame is good was settled when it was segmented. So if a video is
played on, a walk first meets frames that were played since, and then, in unchanged order, those
that a walk from the starting point would meet: keeping what such a walk takes, at every point from
which the video may be played on, keeps all that can be recalled. SAMURAI's pointers go by age.
"""

from dataclasses import replace
from random import Random

import pytest

from helpers.memory_cases import remembered
from segment_concept.tracking.memory import Memory, MemoryBank, PlaybackPosition
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.policies.sam2long import TreeMemory
from segment_concept.tracking.policies.samurai import MotionMemory

LENGTH = 60
POLICIES: list[MemoryPolicy] = [
    MotionMemory(),
    MotionMemory(slots=4, pointers=3),
    MotionMemory(slots=1, pointers=1),
    TreeMemory(),
    TreeMemory(slots=3, pointers=5),
]


class Twins:
    """Two banks of one object: `short` forgets, `full` does not."""

    def __init__(self, policy: MemoryPolicy, seed: int) -> None:
        self.policy, self.random = policy, Random(seed)
        self.full, self.short = MemoryBank(), MemoryBank()

    def prompt(self, index: int) -> None:
        shown = remembered(index)
        self.full, self.short = self.full.prompt(shown), self.short.prompt(shown)

    def step(self, moment: PlaybackPosition) -> None:
        self.compare(moment)
        memory = self.segmented(moment.frame_index)
        self.full = self.full.remember(memory)
        self.short = self.policy.forget(self.short.remember(memory), moment)
        self.compare(moment)  # as a correction of this frame would recall

    def segmented(self, index: int) -> Memory:
        """Anew each time, as a frame that is tracked twice may become something else."""
        known = remembered(index, self.random.choice((0.05, 0.4, 0.8)), self.random.choice((-1, 3)))
        return replace(known, motion=self.random.choice((None, 0.0, 0.5)))

    def compare(self, moment: PlaybackPosition) -> None:
        expected = self.policy.recall(self.full, moment)
        assert self.policy.recall(self.short, moment) == expected

    def play(self, start: int, count: int, *, backwards: bool, correct: float = 0.0) -> None:
        for n in range(1, count + 1):
            index = start - n if backwards else start + n
            known = self.full.on(index)
            if not 0 <= index < LENGTH or (known is not None and known in self.full.prompted):
                continue
            self.step(PlaybackPosition(index, backwards))
            if self.random.random() < correct:
                self.prompt(index)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@pytest.mark.parametrize("seed", range(12))
def test_forgetting_changes_no_recall_from_any_prompted_frame(policy, seed):
    twins = Twins(policy, seed)
    prompted = twins.random.sample(range(LENGTH), k=1 + seed % 4)
    for index in prompted:
        twins.prompt(index)
    for _ in range(4):
        start = twins.random.choice(prompted)
        twins.play(start, twins.random.randint(1, LENGTH), backwards=twins.random.random() < 0.5)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@pytest.mark.parametrize("seed", range(4))
def test_nor_where_frames_just_tracked_are_corrected(policy, seed):
    twins = Twins(policy, seed)
    twins.prompt(0)
    twins.play(0, LENGTH, backwards=False, correct=0.1)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_memory_does_not_grow_with_the_video(policy):
    kept, sizes = MemoryBank().prompt(remembered(0)), {}
    for index in range(1, 400):
        kept = policy.forget(kept.remember(remembered(index)), PlaybackPosition(index))
        sizes[index] = len(kept.tracked)
    assert sizes[399] == sizes[100]
    assert max(sizes.values()) <= 2 * max(policy.slots, policy.pointers) + 2
