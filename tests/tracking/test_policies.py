import pytest

from helpers.memory_cases import bad, bank, maps, pointers, remembered
from segment_concept.tracking.memory import PlaybackPosition, Track
from segment_concept.tracking.policies.base import Candidate, best_iou
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sam2long import TreeMemory
from segment_concept.tracking.policies.samurai import MotionMemory
from segment_concept.tracking.policies.sec import ReliableMemory

POLICIES = [RecentMemory(), ReliableMemory()]


def test_recent_memory_is_the_prompt_and_the_last_six_frames():
    recall = RecentMemory().recall(bank([0], range(1, 20)), PlaybackPosition(20))
    assert maps(recall) == [(0, 6), (14, 5), (15, 4), (16, 3), (17, 2), (18, 1), (19, 0)]


def test_recent_memory_points_to_the_prompt_and_the_last_fifteen_frames():
    recall = RecentMemory().recall(bank([0], range(1, 20)), PlaybackPosition(20))
    assert pointers(recall) == [(0, 20), *((20 - age, age) for age in range(1, 16))]
    assert recall.horizon == 15


def test_recent_memory_takes_frames_however_bad_they_are():
    recall = RecentMemory().recall(bank([0], map(bad, range(1, 4))), PlaybackPosition(4))
    assert maps(recall) == [(0, 6), (1, 2), (2, 1), (3, 0)]


def test_recent_memory_goes_by_age_and_leaves_slots_of_missing_frames_empty():
    recall = RecentMemory().recall(bank([0], [3, 5, 6]), PlaybackPosition(8))
    assert maps(recall) == [(0, 6), (3, 4), (5, 2), (6, 1)]
    assert pointers(recall) == [(0, 8), (6, 2), (5, 3), (3, 5)]


def test_played_backwards_recent_memory_recalls_later_frames():
    recall = RecentMemory(slots=4).recall(
        bank([20], range(10, 20)), PlaybackPosition(9, backwards=True)
    )
    assert maps(recall) == [(20, 3), (12, 2), (11, 1), (10, 0)]
    assert pointers(recall) == [(20, 11), *((9 + age, age) for age in range(1, 11))]


def test_played_backwards_recent_memory_recalls_what_was_tracked_forwards_before():
    """As SAM 2 does: the frames after the prompt are its past now."""
    recall = RecentMemory(slots=4).recall(
        bank([5], [6, 7, 8, 9]), PlaybackPosition(4, backwards=True)
    )
    assert maps(recall) == [(5, 3), (7, 2), (6, 1)]
    assert pointers(recall) == [(5, 1), (6, 2), (7, 3), (8, 4), (9, 5)]


def test_frames_still_to_come_are_not_recalled():
    recall = RecentMemory().recall(bank([0], [1, 2, 3, 4, 5]), PlaybackPosition(3))
    assert maps(recall) == [(0, 6), (1, 1), (2, 0)]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_prompted_frame_still_to_come_lends_its_map_but_not_its_pointer(policy):
    recall = policy.recall(bank([0, 9], [1, 2]), PlaybackPosition(3))
    last = policy.slots - 1
    assert maps(recall)[:2] == [(0, last), (9, last)]
    assert 9 not in dict(pointers(recall))
    backwards = policy.recall(bank([0, 9], [7, 8]), PlaybackPosition(6, backwards=True))
    assert maps(backwards)[:2] == [(0, last), (9, last)]
    assert pointers(backwards)[0] == (9, 3)
    assert 0 not in dict(pointers(backwards))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("position", "prompted"),
    [
        (PlaybackPosition(30), [0]),
        (PlaybackPosition(1), [0]),
        (PlaybackPosition(30), [12, 3]),
        (PlaybackPosition(5, True), [40, 8]),
    ],
)
def test_every_policy_recalls_the_prompted_frames_first(policy, position, prompted):
    others = [i for i in range(1, 40) if i not in prompted]
    recall = policy.recall(bank(prompted, others), position)
    count = len(prompted)
    assert maps(recall)[:count] == [(i, policy.slots - 1) for i in prompted]
    assert [m.prompted for m in recall.maps] == [n < count for n in range(len(recall.maps))]


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_stays_within_its_slots(policy):
    recall = policy.recall(bank([0], range(1, 100)), PlaybackPosition(100))
    assert [m.slot for m in recall.maps] == list(range(policy.slots - 1, -1, -1))
    assert len(recall.pointers) == policy.pointers
    assert all(m.key_scale == 1 for m in (*recall.maps, *recall.pointers))
    assert recall.presence_threshold == 0


def test_reliable_memory_recalls_by_rank_and_not_by_age():
    recall = ReliableMemory(slots=4).recall(
        bank([0], [1, 4, bad(5), 9, bad(10), 11]), PlaybackPosition(12)
    )
    assert maps(recall) == [(0, 3), (4, 2), (9, 1), (11, 0)]


def test_reliable_memory_can_recall_some_of_the_ranks():
    some = ReliableMemory(slots=7, ranks=(0, 2, 5))
    recall = some.recall(bank([0], range(1, 12)), PlaybackPosition(12))
    assert maps(recall) == [(0, 6), (6, 5), (9, 2), (11, 0)]
    early = some.recall(bank([0], range(1, 3)), PlaybackPosition(3))
    assert maps(early) == [(0, 6), (2, 0)]


def test_reliable_memory_never_leaves_out_the_previous_frame():
    recall = ReliableMemory(slots=4).recall(bank([0], [1, bad(2), 3, bad(4)]), PlaybackPosition(5))
    assert maps(recall) == [(0, 3), (1, 2), (3, 1), (4, 0)]


def test_the_previous_frame_takes_a_slot_from_the_oldest():
    recall = ReliableMemory(slots=3).recall(bank([0], [1, 2, 3, bad(4)]), PlaybackPosition(5))
    assert maps(recall) == [(0, 2), (3, 1), (4, 0)]


def test_only_the_previous_frame_is_excused():
    recall = ReliableMemory().recall(bank([0], [bad(1), bad(2), bad(3)]), PlaybackPosition(4))
    assert maps(recall) == [(0, 21), (3, 0)]
    after_a_gap = ReliableMemory().recall(bank([0], [bad(1), bad(2), bad(3)]), PlaybackPosition(5))
    assert maps(after_a_gap) == [(0, 21)]


def test_the_oldest_kept_frame_has_no_pointer():
    """As published: the walk over pointers stops one early."""
    recall = ReliableMemory().recall(bank([0], [2, bad(3), 4, 6]), PlaybackPosition(7))
    assert maps(recall) == [(0, 21), (2, 2), (4, 1), (6, 0)]
    assert pointers(recall) == [(0, 7), (6, 1), (4, 2)]
    alone = ReliableMemory().recall(bank([0], [1]), PlaybackPosition(2))
    assert maps(alone) == [(0, 21), (1, 0)]
    assert pointers(alone) == [(0, 2)]


def test_reliable_memory_keeps_the_newest_21_and_points_to_15():
    recall = ReliableMemory().recall(bank([0], range(1, 60)), PlaybackPosition(60))
    assert maps(recall) == [(0, 21), *((i, 59 - i) for i in range(39, 60))]
    assert pointers(recall) == [(0, 60), *((60 - rank, rank) for rank in range(1, 16))]


def test_of_22_entries_the_newest_21_get_a_slot():
    """21 good frames and a bad previous one: the oldest good one has neither slot nor pointer."""
    recall = ReliableMemory(pointers=30).recall(
        bank([0], [*range(1, 60), bad(60)]), PlaybackPosition(61)
    )
    assert maps(recall)[1] == (40, 20)
    assert maps(recall)[-1] == (60, 0)
    # Pointers may reach further than slots: 29 good frames are walked then.
    assert pointers(recall)[-1] == (32, 29)


@pytest.mark.parametrize(
    ("iou", "presence", "is_good"),
    [(0.3, 5.0, False), (0.3001, 5.0, True), (0.9, 0.0, False), (0.9, 1e-6, True)],
)
def test_the_thresholds_of_reliable_memory_are_strict(iou, presence, is_good):
    recall = ReliableMemory().recall(
        bank([0], [remembered(1, iou, presence), 2]), PlaybackPosition(3)
    )
    assert (1 in dict(maps(recall))) is is_good


def test_the_iou_threshold_can_be_set():
    recall = ReliableMemory(min_iou=0.95).recall(bank([0], [1, 2]), PlaybackPosition(4))
    assert maps(recall) == [(0, 21)]


def test_played_backwards_reliable_memory_walks_up_to_the_prompt():
    tracked = [remembered(i) for i in (19, 18)] + [bad(17), remembered(16), bad(15)]
    recall = ReliableMemory(slots=5).recall(
        bank([20], tracked), PlaybackPosition(14, backwards=True)
    )
    assert maps(recall) == [(20, 4), (19, 3), (18, 2), (16, 1), (15, 0)]
    assert pointers(recall) == [(20, 6), (15, 1), (16, 2), (18, 3)]


def test_the_walk_of_reliable_memory_ends_at_the_farthest_prompt_behind():
    """Frames before it were played the other way, from it."""
    tracked = [*range(1, 20), *range(21, 25)]
    forwards = ReliableMemory().recall(bank([20], tracked), PlaybackPosition(25))
    assert maps(forwards) == [(20, 21), (21, 3), (22, 2), (23, 1), (24, 0)]
    backwards = ReliableMemory().recall(bank([20], tracked), PlaybackPosition(17, backwards=True))
    assert maps(backwards) == [(20, 21), (19, 1), (18, 0)]


def test_the_walk_of_reliable_memory_passes_a_second_prompted_frame():
    recall = ReliableMemory().recall(bank([0, 4], [1, 2, 3, 5, 6]), PlaybackPosition(7))
    assert maps(recall) == [(0, 21), (4, 21), (1, 4), (2, 3), (3, 2), (5, 1), (6, 0)]
    assert pointers(recall) == [(0, 7), (4, 3), (6, 1), (5, 2), (3, 3), (2, 4)]


def test_right_after_a_prompted_frame_nothing_else_is_recalled():
    for policy in POLICIES:
        recall = policy.recall(bank([0], []), PlaybackPosition(1))
        assert maps(recall) == [(0, policy.slots - 1)]
        assert pointers(recall) == [(0, 1)]


@pytest.mark.parametrize("policy", [RecentMemory, ReliableMemory])
def test_pointers_of_a_short_video_reach_as_far_as_it_is_long(policy):
    """As published: distances are divided by min(num_frames, 16) - 1."""
    kept = bank([0], range(1, 30))
    short = policy(video_length=5).recall(kept, PlaybackPosition(30))
    assert short.horizon == 4
    assert max(distance for _, distance in pointers(short)[1:]) <= 4
    stream = policy().recall(kept, PlaybackPosition(30))
    assert stream.horizon == 15
    assert max(distance for _, distance in pointers(stream)[1:]) == 15
    assert policy(video_length=500).recall(kept, PlaybackPosition(30)) == stream


def test_reliable_memory_of_a_short_video_keeps_one_frame_less_than_it_has():
    recall = ReliableMemory(video_length=5).recall(bank([0], range(1, 9)), PlaybackPosition(9))
    assert maps(recall) == [(0, 21), (5, 3), (6, 2), (7, 1), (8, 0)]
    assert pointers(recall) == [(0, 9), (8, 1), (7, 2), (6, 3)]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_mask_of_highest_predicted_iou_is_selected(policy):
    masks = [Candidate(0, n, iou, 5) for n, iou in enumerate((0.2, 0.7, 0.6))]
    assert policy.choose([Track()], masks) == [masks[1]]


def test_the_first_of_equally_good_masks_is_selected():
    masks = [Candidate(0, n, iou, 5) for n, iou in enumerate((0.2, 0.7, 0.7))]
    assert best_iou(masks) is masks[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slots": 0}, "slots and pointers are at least 1, got 0 and 16"),
        ({"pointers": 0}, "at least 1"),
        ({"min_iou": 1.5}, r"min_iou is a score in \[0, 1\], got 1.5"),
        ({"slots": 4, "ranks": (0, 3)}, r"ranks are from 0 to slots - 2, got \(0, 3\)"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ReliableMemory(**settings)
    if not settings.keys() & {"min_iou", "ranks"}:
        with pytest.raises(ValueError, match=message):
            RecentMemory(**settings)


BOUNDED = [
    RecentMemory(prompted=3),
    ReliableMemory(prompted=3),
    MotionMemory(prompted=3),
    TreeMemory(prompted=3),
]


@pytest.mark.parametrize("policy", BOUNDED, ids=repr)
@pytest.mark.parametrize(
    ("now", "expected"),
    [(45, [30, 40, 50]), (5, [0, 10, 20]), (99, [70, 80, 90]), (40, [30, 40, 50])],
)
def test_the_nearest_of_many_prompted_frames_are_recalled(policy, now, expected):
    recall = policy.recall(bank(range(0, 100, 10)), PlaybackPosition(now))
    assert [m.memory.frame_index for m in recall.maps if m.prompted] == expected


def test_the_nearest_before_and_after_come_first_as_in_sam2():
    recall = RecentMemory(prompted=2).recall(bank([0, 48, 49, 90]), PlaybackPosition(50))
    assert [m.memory.frame_index for m in recall.maps] == [49, 90]


@pytest.mark.parametrize("policy", BOUNDED, ids=repr)
def test_a_stream_that_is_corrected_every_100_frames_keeps_a_bounded_number_of_prompts(policy):
    kept = bank([0])
    sizes = []
    for index in range(1, 20_000):
        now = PlaybackPosition(index)
        if index % 100 == 0:
            kept = kept.prompt(remembered(index))
        elif index % 100 == 1:
            kept = policy.forget(kept.remember(remembered(index)), now)
            sizes.append(len(kept.prompted))
    assert max(sizes) == sizes[-1] == 12
    assert kept.prompted[0].frame_index == 0


@pytest.mark.parametrize("policy", BOUNDED, ids=repr)
def test_dropping_far_prompts_changes_no_recall_of_the_frames_that_follow(policy):
    full = bank(range(0, 3000, 100))
    short = policy.forget(full, PlaybackPosition(2950))
    assert len(short.prompted) < len(full.prompted)
    for index in range(2951, 3300, 7):
        now = PlaybackPosition(index)
        assert policy.recall(short, now) == policy.recall(full, now)


def test_a_bound_below_one_is_refused():
    with pytest.raises(ValueError, match="prompted is at least 1"):
        RecentMemory(prompted=0)
