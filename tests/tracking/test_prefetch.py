"""Frames that are read and encoded in another thread before they are tracked."""

import threading
from collections.abc import Iterator

import pytest
import torch

from helpers.tracking_toy import ONE, RED, TWO, Blob, ColorSegmenter, video
from segment_concept import Frame, InputError, Tracker

BLOB = Blob(RED, left=2, speed=1)


@pytest.mark.parametrize("prefetch", [1, 2, 50])
def test_results_are_those_without_prefetching(prefetch: int):
    frames = video(BLOB)
    prompts = {0: {ONE: BLOB.mask(0)}, 5: {TWO: BLOB.mask(5)}}
    plain = list(Tracker(ColorSegmenter()).session().track(frames, prompts))
    ahead = list(Tracker(ColorSegmenter()).session().track(frames, prompts, prefetch=prefetch))
    assert [r.object_ids for r in ahead] == [r.object_ids for r in plain]
    for expected, found in zip(plain, ahead, strict=True):
        assert torch.equal(expected.logits, found.logits)


def test_every_frame_is_encoded_once_and_in_another_thread():
    threads = set()

    class Segmenter(ColorSegmenter):
        def encode(self, frames):
            threads.add(threading.get_ident())
            return super().encode(frames)

    segmenter = Segmenter()
    session = Tracker(segmenter).session()
    assert len(list(session.track(video(BLOB), {0: {ONE: BLOB.mask(0)}}, prefetch=2))) == 12
    assert segmenter.encoded == list(range(12))
    assert threading.get_ident() not in threads


def test_no_more_frames_are_read_than_may_wait_and_closing_ends_the_reading():
    read: list[int] = []

    def frames() -> Iterator[Frame]:
        for frame in video(BLOB, length=40):
            read.append(frame.index)
            yield frame

    results = (
        Tracker(ColorSegmenter()).session().track(frames(), {0: {ONE: BLOB.mask(0)}}, prefetch=2)
    )
    next(results)
    next(results)
    results.close()
    assert len(read) <= 2 + 2 + 1  # tracked, waiting, being encoded
    assert "segment-concept-reader" not in {t.name for t in threading.enumerate()}


def test_an_error_of_the_source_arrives_where_results_are_read():
    def frames() -> Iterator[Frame]:
        yield from video(BLOB, length=2)
        raise OSError("the disk is gone")

    results = (
        Tracker(ColorSegmenter()).session().track(frames(), {0: {ONE: BLOB.mask(0)}}, prefetch=2)
    )
    with pytest.raises(OSError, match="the disk is gone"):
        list(results)


def test_without_a_prompt_nothing_is_tracked():
    with pytest.raises(InputError, match="prompt an object first"):
        list(Tracker(ColorSegmenter()).session().track(video(BLOB), prefetch=2))


@pytest.mark.parametrize(("share", "threads"), [(True, 2), (False, 4)])
def test_threads_are_halved_only_while_a_tracker_that_shares_cores_is_prefetching(
    share: bool, threads: int
):
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        tracker = Tracker(ColorSegmenter(), share_cores=share)
        prompts = {0: {ONE: BLOB.mask(0)}}
        first, second = (tracker.session().track(video(BLOB), prompts, prefetch=2) for _ in "ab")
        next(first), next(second)
        assert torch.get_num_threads() == threads
        first.close()
        next(second)
        assert torch.get_num_threads() == threads
        second.close()
        assert torch.get_num_threads() == 4
        next(tracker.session().track(video(BLOB), prompts))
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
