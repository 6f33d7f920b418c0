import numpy as np
import pytest

from helpers.memory_cases import maps
from helpers.tracking_toy import (
    BLUE,
    GREEN,
    ONE,
    RED,
    TWO,
    Blob,
    ColorSegmenter,
    WatchedPolicy,
    on,
    play,
    video,
)
from segment_concept.tracking.memory import Memory
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Mask, Points

HAT = Blob(BLUE, top=0, left=1, speed=1)
HEAD = Blob(RED, top=4, left=1, speed=1, drift=(-2, 0, 0), hidden=frozenset({3}))
OTHER = Blob(GREEN, top=8, speed=1)
POLICIES = [RecentMemory(), ReliableMemory(), ReliableMemory(slots=3, pointers=2)]
every_policy = pytest.mark.parametrize("policy", POLICIES, ids=repr)


def session(policy: MemoryPolicy | None = None) -> tuple[Session, ColorSegmenter, WatchedPolicy]:
    segmenter, watched = ColorSegmenter(), WatchedPolicy(policy or RecentMemory())
    return Tracker(segmenter, watched).session(), segmenter, watched


def memory(following: Session, index: int, object_id: int = ONE) -> Memory | None:
    return following.tracks[object_id][0].bank.on(index)


def prompted(following: Session, object_id: int = ONE) -> list[int]:
    return [m.frame_index for m in following.tracks[object_id][0].bank.prompted]


def tracked(following: Session, object_id: int = ONE) -> list[int]:
    return [m.frame_index for m in following.tracks[object_id][0].bank.tracked]


def click(blob: Blob, index: int, foreground: bool = True) -> Points:
    """On the middle of a blob."""
    rows, columns = np.nonzero(blob.on(index))
    return Points(((float(columns[5]), float(rows[5])),), (foreground,))


def test_a_first_prompt_has_nothing_to_correct():
    frames = video(HEAD)
    following, segmenter, watched = session()
    following.prompt(frames[0], {ONE: click(HEAD, 0)})
    following.prompt(frames[5], {TWO: click(HEAD, 5), ONE: click(HEAD, 5)})
    for call in segmenter.segmented:
        assert set(call.previous) == set(call.recalls) == {None}
    assert watched.recalls == []


@every_policy
@pytest.mark.parametrize("index", [4, 8, 30])
def test_a_correction_is_given_the_previous_logits_and_what_the_frame_recalled(policy, index):
    """Frame 4 comes after one on which the object was hidden: only as the previous one recalled."""
    frames = video(HEAD, length=31)
    following, segmenter, watched = session(policy)
    following.prompt(frames[0], {ONE: HEAD.mask(0)})
    play(following, frames[1 : index + 1])
    believed = memory(following, index)
    _, recalled = watched.recalls[-1]
    following.prompt(frames[index], {ONE: click(HEAD, index)})
    call = segmenter.segmented[-1]
    assert call.previous == (believed.logits,)
    assert call.recalls == (recalled,)


def test_a_correction_replaces_the_memory_of_its_frame():
    frames = video(HAT, HEAD)
    following, _, _ = session()
    following.prompt(frames[0], {ONE: HEAD.mask(0)})
    play(following, frames[1:8])
    believed = memory(following, 7)
    following.prompt(frames[7], {ONE: click(HAT, 7)})
    assert memory(following, 7) is not believed
    assert (prompted(following), tracked(following)) == ([0, 7], [1, 2, 3, 4, 5, 6])


def test_clicks_add_to_the_mask_and_take_from_it():
    frames = video(HAT, HEAD)
    following, _, _ = session()
    following.prompt(frames[0], {ONE: HEAD.mask(0)})
    play(following, frames[1:6])
    both = following.prompt(frames[5], {ONE: click(HAT, 5)})
    assert np.array_equal(both.mask(ONE), HEAD.on(5) | HAT.on(5))
    hat = following.prompt(frames[5], {ONE: click(HEAD, 5, foreground=False)})
    assert np.array_equal(hat.mask(ONE), HAT.on(5))


def test_a_prompted_frame_is_corrected_with_its_logits_and_without_memory():
    frames = video(HEAD)
    following, segmenter, _ = session()
    first = following.prompt(frames[0], {ONE: click(HEAD, 0)})
    following.prompt(frames[0], {ONE: click(HEAD, 0)})
    play(following, frames[1:5])
    following.prompt(frames[0], {ONE: click(HEAD, 0)})
    for call in segmenter.segmented[1:]:
        assert call.previous[0].equal(first.logits[0])
        assert call.recalls == (None,)
    assert prompted(following) == [0]


@every_policy
def test_a_tracked_frame_is_corrected_twice_in_the_light_of_the_same_memory(policy):
    """As in SAM 2: every click on a frame that had been tracked is answered with memory."""
    frames = video(HAT, HEAD)
    following, segmenter, watched = session(policy)
    following.prompt(frames[0], {ONE: HEAD.mask(0)})
    play(following, frames[1:6])
    _, recalled = watched.recalls[-1]
    once = following.prompt(frames[5], {ONE: click(HAT, 5)})
    following.prompt(frames[5], {ONE: click(HEAD, 5, foreground=False)})
    second = segmenter.segmented[-1]
    assert second.previous[0].equal(once.logits[0])
    assert second.recalls == (recalled,)
    assert prompted(following) == [0, 5]


def test_a_frame_left_behind_is_corrected_as_it_was_tracked_and_played_on_from():
    frames = video(HAT, HEAD)
    following, segmenter, watched = session()
    following.prompt(frames[0], {ONE: HEAD.mask(0)})
    play(following, frames[1:])
    recalled = dict((m.frame_index, recall) for m, recall in watched.recalls)[5]
    following.prompt(frames[5], {ONE: click(HAT, 5)})
    assert segmenter.segmented[-1].recalls == (recalled,)
    result = following.step(frames[6])
    moment, recall = watched.recalls[-1]
    assert not moment.backwards
    assert [index for index, _ in maps(recall)] == [0, 5, 1, 2, 3, 4]
    assert result.object_ids == (ONE,)


def test_a_frame_tracked_backwards_is_corrected_in_that_direction():
    frames = video(HAT, HEAD)
    following, segmenter, watched = session()
    following.prompt(frames[9], {ONE: HEAD.mask(9)})
    play(following, reversed(frames[:9]))
    recalled = dict((m.frame_index, recall) for m, recall in watched.recalls)[5]
    for _ in range(2):  # the second time it is a correction of the correction
        following.prompt(frames[5], {ONE: click(HAT, 5)})
        assert segmenter.segmented[-1].recalls == (recalled,)


def test_a_mask_given_as_a_correction_is_taken_as_it_is():
    frames = video(HAT, HEAD)
    following, _, _ = session()
    following.prompt(frames[0], {ONE: HEAD.mask(0)})
    play(following, frames[1:6])
    drawn = Mask(HEAD.on(5) | HAT.on(5))
    result = following.prompt(frames[5], {ONE: drawn})
    assert np.array_equal(result.mask(ONE), drawn.bitmap)
    assert (prompted(following), tracked(following)) == ([0, 5], [1, 2, 3, 4])


def test_a_correction_is_remembered():
    """The object jumps to a color 50 away, too far to be found, until it is shown again."""
    bright, dark = frozenset(range(5)), frozenset(range(5, 12))
    blobs = Blob(RED, hidden=dark), Blob((170, 20, 20), hidden=bright)
    frames = video(*blobs)
    following, _, _ = session(RecentMemory(slots=2))
    following.prompt(frames[0], {ONE: blobs[0].mask(0)})
    lost = play(following, frames[1:6])[5]
    assert not lost.mask(ONE).any()
    following.prompt(frames[5], {ONE: blobs[1].mask(5)})
    found = following.step(frames[6])
    # Halfway between what was shown on frame 0 and on frame 5 is 25 from what is there.
    assert np.array_equal(found.mask(ONE), blobs[1].on(6))
    assert found.quality.item() == pytest.approx(1 - 25 / 40)


def test_correcting_one_object_leaves_the_others_alone():
    frames = video(HEAD, OTHER)
    following, _, _ = session()
    following.prompt(frames[0], {ONE: HEAD.mask(0), TWO: OTHER.mask(0)})
    play(following, frames[1:6])
    others = following.tracks[TWO]
    result = following.prompt(frames[5], {ONE: click(HEAD, 5)})
    assert result.object_ids == (ONE,)
    assert following.tracks[TWO] is others
    assert following.object_ids == (ONE, TWO)
    assert following.step(frames[6]).object_ids == (ONE, TWO)


def test_several_objects_are_corrected_in_one_batch():
    frames = video(HEAD, OTHER)
    following, segmenter, _ = session()
    following.prompt(frames[0], {ONE: HEAD.mask(0)})
    play(following, frames[1:6])
    believed = memory(following, 5)
    following.prompt(frames[5], {TWO: click(OTHER, 5), ONE: on((7, 5))})
    call = segmenter.segmented[-1]
    assert call.previous == (None, believed.logits)
    assert call.recalls[0] is None
    assert call.recalls[1] is not None
