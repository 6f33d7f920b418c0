"""The clips of stage 1 against those that the official trainer draws."""

import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.fixtures import facts, fixture
from helpers.memory_toy import SHORT, videos
from helpers.sav_toy import write_video
from segment_concept.datasets.masklets import NULL, read_masklets
from segment_concept.datasets.sav import find_videos
from segment_concept.train.memory_data import (
    ClipConfig,
    MemoryClipLoader,
    clip_orders,
    draw_clip,
)
from segment_concept.types import InputError

PUBLISHED = ClipConfig()


@pytest.fixture(scope="module")
def areas():
    video = find_videos(fixture("training/sav_tiny"))["sav_000001"]
    return read_masklets(video.masklets).areas


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    root = tmp_path_factory.mktemp("sav")
    write_video(root, "sav_000001", 60)
    write_video(root, "sav_000002", 48, objects=1)
    return videos(root)


def draws(areas, count, clip=PUBLISHED):
    return [draw_clip(areas, clip, np.random.default_rng(n)) for n in range(count)]


def test_a_clip_has_thirty_different_frames_three_a_second_and_begins_with_its_objects(areas):
    for drawn in draws(areas, 100):
        assert len(set(drawn.rows)) == 30
        assert all(row % 2 == 0 for row in drawn.rows)
        assert 1 <= len(drawn.columns) <= 2
        assert all(areas[drawn.rows[0], column] > 0 for column in drawn.columns)


def test_the_frames_of_a_clip_are_in_no_order(areas):
    order = [np.corrcoef(np.arange(30), drawn.rows)[0, 1] for drawn in draws(areas, 100)]
    assert abs(np.mean(order)) < 0.06  # the deviation of the mean is 0.019


def test_objects_are_chosen_as_often_as_by_the_official_sampler(areas):
    official = facts("training/stage1_step")["sampler_30_frames_of_sav_000001"]
    expected = Counter(tuple(sorted(draw["objects"])) for draw in official)
    ours = Counter(drawn.columns for drawn in draws(areas, 600))
    assert ours.keys() == expected.keys()
    # chi-square of two samples, 2 degrees of freedom: p > 1e-4
    total, other = sum(expected.values()), sum(ours.values())
    chi = sum(
        (expected[k] * (other / total) ** 0.5 - ours[k] * (total / other) ** 0.5) ** 2
        / (expected[k] + ours[k])
        for k in ours
    )
    assert chi < 18.4
    frames = Counter(frame for draw in official for frame in draw["frames"])
    assert frames.keys() == {4 * row for drawn in draws(areas, 60) for row in drawn.rows}


def test_frames_in_order_have_one_cut(areas):
    for drawn in draws(areas, 50, ClipConfig(order="in order")):
        back = [b < a for a, b in zip(drawn.rows, drawn.rows[1:], strict=False)]
        assert sum(back) == 1
        assert all(b - a == 2 for a, b in zip(drawn.rows, drawn.rows[1:], strict=False) if b > a)


def test_a_frame_with_a_null_mask_falls_out_and_a_short_video_is_refused(areas):
    holes = areas.copy()
    holes[10, 1] = NULL
    drawn = draws(holes, 30)
    assert all(10 not in each.rows for each in drawn)
    holes[::2][:3] = NULL
    holes[60:] = NULL
    assert draws(holes, 5) == [None] * 5
    assert draw_clip(areas[:58], PUBLISHED, np.random.default_rng(0)) is None  # 29 frames


def test_a_video_without_objects_gives_no_clip():
    empty = np.zeros((60, 2), np.int64)
    assert draw_clip(empty, PUBLISHED, np.random.default_rng(0)) is None


def test_the_orders_of_a_step_are_the_same_wherever_they_are_made():
    first = clip_orders(PUBLISHED, 7, 4, seed=3, step=11)
    assert first == clip_orders(PUBLISHED, 7, 4, seed=3, step=11)
    assert pickle.loads(pickle.dumps(first)) == first
    assert first != clip_orders(PUBLISHED, 7, 4, seed=4, step=11)
    assert len({order.seed for order in first}) == 4
    assert len({order.predicted for order in first}) == 1  # one draw a step


def test_every_video_is_used_twice_an_epoch():
    orders = [o for step in range(7) for o in clip_orders(PUBLISHED, 7, 4, seed=3, step=step)]
    assert len(orders) == 28
    for epoch in (orders[:14], orders[14:]):
        assert Counter(order.video for order in epoch) == dict.fromkeys(range(7), 2)


def test_eight_of_the_other_twenty_nine_frames_are_predicted():
    drawn = [clip_orders(PUBLISHED, 7, 1, seed=3, step=step)[0].predicted for step in range(400)]
    assert all(len(set(each)) == 8 for each in drawn)
    counts = Counter(place for each in drawn for place in each)
    assert counts.keys() == set(range(1, 30))  # never the first
    assert all(60 < count < 170 for count in counts.values())
    official = facts("training/stage1_step")["frames_predicted_seed_42_of_30"]
    assert {len(each) for each in official} == {8}


def test_a_clip_is_read_as_it_was_drawn(toy):
    order = clip_orders(SHORT, 2, 1, seed=0, step=0)[0]
    clip = MemoryClipLoader(toy, SHORT, 64)(order)
    again = MemoryClipLoader(toy, SHORT, 64)(order)
    assert torch.equal(clip.pixels, again.pixels)
    assert clip.pixels.shape == (6, 3, 64, 64)
    assert clip.masks.shape[::2] == (6, 64)
    assert clip.masks[0].flatten(1).any(1).all()
    assert clip.predicted == order.predicted
    # the squares of the toy are red: where a mask is, the picture is
    inside = clip.pixels[0, 0][clip.masks[0, 0]].float().mean()
    assert inside > 150
    assert not clip.refused


def test_a_video_that_is_too_short_is_replaced_and_not_called_damaged(toy):
    long = replace(SHORT, frames=14, predicted=3)  # of 15 and 12 rows
    for order in clip_orders(long, 2, 4, seed=0, step=0):
        clip = MemoryClipLoader(toy, long, 32)(order)
        assert clip.name == "sav_000001"
        assert not clip.refused


def test_a_video_that_cannot_be_read_is_replaced_and_named(toy, tmp_path):
    damaged = replace(toy[0], movie=tmp_path / "sav_000001.mp4")
    damaged.movie.write_bytes(toy[0].movie.read_bytes()[:3000])
    load = MemoryClipLoader((damaged, toy[1]), SHORT, 32)
    orders = [o for step in range(4) for o in clip_orders(SHORT, 2, 2, seed=0, step=step)]
    clips = [load(order) for order in orders]
    assert {clip.name for clip in clips} == {"sav_000002"}
    named = {name for clip in clips for name, _ in clip.refused}
    assert named == {"sav_000001"}
    assert all("sav_000001.mp4" in why for clip in clips for _, why in clip.refused)


def test_without_any_video_that_can_be_used_loading_ends_with_a_sentence(toy):
    load = MemoryClipLoader(toy, PUBLISHED, 32)
    with pytest.raises(InputError, match=r"none of 100 videos in a row has 30 frames at 3"):
        load(clip_orders(PUBLISHED, 2, 1, seed=0, step=0)[0])


def test_a_clip_of_which_more_is_predicted_than_there_is_cannot_be_configured():
    with pytest.raises(ValueError, match="cannot be predicted"):
        ClipConfig(frames=8)
