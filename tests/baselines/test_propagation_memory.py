"""What is read from memory, what is kept and what is forgotten, on numbers one can check."""

import math

import pytest
import torch

from segment_concept.baselines.memory import Group
from segment_concept.baselines.memory_tokens import Tokens
from segment_concept.baselines.propagation import BetweenMemories, Staggered
from segment_concept.baselines.readout import (
    aggregate,
    full_affinity,
    others,
    similarity,
    top_k_affinity,
)
from segment_concept.baselines.retention import (
    AboveLeastUsed,
    KeepEverything,
    LongTerm,
    MostUsed,
    NewestFrames,
    Parts,
    consolidate,
)
from segment_concept.types import InputError, ObjectId

ONE, TWO = ObjectId(1), ObjectId(2)


def random(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def tokens(count: int, first: int = 0, objects: int = 1) -> Tokens:
    """Tokens whose values are their own numbers, and whose keys lie on a line."""
    numbers = torch.arange(first, first + count).float()
    return Tokens.fresh(
        key=numbers[None],
        shrinkage=torch.ones(count),
        selection=torch.ones(1, count),
        values=numbers.expand(objects, 1, count),
    )


def numbers(kept: Tokens) -> list[int]:
    return kept.values[0, 0].int().tolist()


def frames(count: int, size: int = 2) -> Parts:
    """A permanent frame and `count - 1` working ones, of `size` tokens each."""
    permanent = tokens(size)
    working = tokens((count - 1) * size, first=size)
    return Parts(permanent, working, long=tokens(0))


def test_similarity_is_the_weighted_squared_distance():
    key, query = random(4, 5) * 2 - 1, random(4, 3) * 2 - 1
    shrinkage, selection = random(5) + 1, random(4, 3)
    expected = torch.empty(5, 3)
    for n in range(5):
        for q in range(3):
            distance = (selection[:, q] * (key[:, n] - query[:, q]) ** 2).sum()
            expected[n, q] = -distance * shrinkage[n] / math.sqrt(4)
    torch.testing.assert_close(similarity(key, shrinkage, query, selection), expected)


def test_a_query_reads_only_its_nearest_tokens():
    affinity = top_k_affinity(torch.tensor([[0.0], [-1.0], [-2.0]]), top_k=2)
    share = 1 / (1 + math.exp(-1))
    torch.testing.assert_close(affinity, torch.tensor([[share], [1 - share], [0.0]]))


def test_a_pixel_that_is_like_nothing_in_memory_still_reads_what_is_nearest():
    affinity = top_k_affinity(torch.tensor([[-500.0], [-400.0], [-900.0]]), top_k=2)
    torch.testing.assert_close(affinity, torch.tensor([[0.0], [1.0], [0.0]]))


@pytest.mark.parametrize("count", [1, 3, 29])
def test_a_query_reads_all_tokens_where_there_are_fewer_than_it_may_read(count):
    likeness = -random(count, 4)
    torch.testing.assert_close(top_k_affinity(likeness, top_k=30), full_affinity(likeness))


def test_the_background_is_where_no_object_is():
    scores = torch.tensor([[[1.0, 0.0, 0.5]], [[0.0, 0.0, 0.5]]])
    probabilities = aggregate(scores).softmax(dim=0)
    assert probabilities.argmax(dim=0).tolist() == [[1, 0, 1]]
    odds = torch.tensor([0.25 / 0.75, 1.0, 1.0])
    torch.testing.assert_close(probabilities[:, 0, 2], odds / odds.sum())


def test_the_others_of_an_object_are_the_sum_of_all_but_its_own():
    masks = torch.tensor([[[1.0, 0.0]], [[0.5, 0.25]], [[0.0, 0.25]]])
    assert others(masks).tolist() == [[[0.5, 0.5]], [[1.0, 0.25]], [[1.5, 0.25]]]


def test_all_memories_are_kept_if_none_may_be_forgotten():
    parts = frames(40)
    assert KeepEverything().keep(parts) is parts


def test_the_newest_frames_are_kept_beside_the_permanent_one():
    kept = NewestFrames(3).keep(frames(6))
    assert numbers(kept.permanent) == [0, 1]
    assert numbers(kept.working) == [8, 9, 10, 11]


def test_a_memory_of_one_frame_keeps_the_permanent_one():
    kept = NewestFrames(1).keep(frames(3))
    assert numbers(kept.permanent) == [0, 1]
    assert len(kept.working) == 0


def test_old_frames_become_prototypes_once_working_memory_is_full():
    retention = LongTerm(MostUsed(), max_frames=5, min_frames=2, prototypes=3, max_tokens=100)
    assert retention.keep(frames(4)).long.values.shape[-1] == 0
    kept = retention.keep(frames(5))
    assert numbers(kept.permanent) == [0, 1]
    assert numbers(kept.working) == [8, 9]
    assert len(kept.long) == 3


def test_prototypes_are_the_most_used_tokens_averaged_with_what_is_like_them():
    candidates = tokens(4).read(torch.tensor([0.1, 0.9, 0.0, 0.5]))
    made = consolidate(candidates, prototypes=2)
    assert made.key[0].tolist() == [1.0, 3.0]
    for place, key in enumerate((1.0, 3.0)):
        weights = torch.exp(-((torch.arange(4.0) - key) ** 2))
        mean = (weights * torch.arange(4.0)).sum() / weights.sum()
        assert made.values[0, 0, place].item() == pytest.approx(mean.item(), rel=1e-5)
    assert not made.use.any()


def test_fewer_candidates_than_prototypes_all_become_prototypes():
    assert len(consolidate(tokens(3), prototypes=128)) == 3


def test_cutie_evicts_down_to_the_most_used_with_room_to_spare():
    long = tokens(6).read(torch.tensor([5.0, 0.0, 4.0, 1.0, 3.0, 2.0]))
    assert numbers(MostUsed(spare=2).evict(long, capacity=5)) == [0, 2, 4]


def test_xmem_evicts_as_many_as_must_go_and_those_tied_with_them():
    long = tokens(6).read(torch.tensor([5.0, 0.0, 4.0, 1.0, 3.0, 1.0]))
    assert numbers(AboveLeastUsed().evict(long, capacity=4)) == [0, 2, 4]
    assert numbers(AboveLeastUsed().evict(long, capacity=5)) == [0, 2, 3, 4, 5]
    assert AboveLeastUsed().evict(long, capacity=6) is long


@pytest.mark.parametrize("eviction", [MostUsed(spare=4), AboveLeastUsed()])
def test_long_term_memory_never_exceeds_its_bound(eviction):
    retention = LongTerm(eviction, max_frames=4, min_frames=2, prototypes=4, max_tokens=12)
    group = Group.begin((ONE,), tokens(2))
    for number in range(1, 60):
        _, group = group.read(torch.tensor([[float(number)]]), torch.ones(1, 1), top_k=30)
        group = group.remember(tokens(2, first=2 * number), retention)
        assert len(group.parts.long) <= 12
        assert len(group.parts.working) <= 3 * 2
        assert numbers(group.parts.permanent) == [0, 1]


def test_a_read_counts_the_weight_that_each_token_gave():
    group = Group.begin((ONE,), tokens(2))
    values, read = group.read(torch.tensor([[0.0, 1.0, 0.0]]), torch.ones(1, 3), top_k=1)
    assert values[0, 0].tolist() == [0.0, 1.0, 0.0]
    assert read.parts.permanent.use.tolist() == [2.0, 1.0]
    assert read.parts.permanent.usage().tolist() == pytest.approx([2.0, 1.0])
    assert group.parts.permanent.use.tolist() == [0.0, 0.0]


def test_usage_is_a_mean_over_the_reads_since_a_token_came():
    old = tokens(1).read(torch.tensor([1.0])).read(torch.tensor([0.0]))
    new = tokens(1).read(torch.tensor([0.8]))
    assert Tokens.joined([old, new]).usage().tolist() == pytest.approx([0.5, 0.8])


def test_a_group_without_one_object_reads_the_same_for_the_other():
    both = Group.begin((ONE, TWO), tokens(2, objects=2))
    left = both.without(ONE)
    assert left.object_ids == (TWO,)
    query = torch.tensor([[0.3]]), torch.ones(1, 1)
    assert torch.equal(left.read(*query, 30)[0][0], both.read(*query, 30)[0][1])
    assert left.without(TWO) is None


def test_cutie_renews_its_hidden_state_at_even_steps_between_memories():
    every_frame, twice = Staggered(5), Staggered(2)
    assert [n for n in range(1, 6) if every_frame.renews(n, 5, remembered=False)] == [1, 2, 3, 4, 5]
    assert [n for n in range(1, 6) if twice.renews(n, 5, remembered=False)] == [1, 5]


def test_xmem_renews_its_hidden_state_on_frames_that_are_not_remembered():
    assert BetweenMemories().renews(1, 5, remembered=False)
    assert not BetweenMemories().renews(5, 5, remembered=True)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: NewestFrames(0), "at least 1 frame"),
        (lambda: LongTerm(MostUsed(), max_frames=5, min_frames=5), "min_frames < max_frames"),
        (lambda: LongTerm(MostUsed(), prototypes=20, max_tokens=10), "must fit"),
    ],
)
def test_a_keeper_that_could_not_work_is_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()
