"""Extracted frames of SA-V, and lists of its videos with the most cuts."""

import numpy as np
import pytest

from helpers.fixtures import fixture
from helpers.sav_toy import write_video
from segment_concept.datasets.sav import SavReader, find_videos, read_video_list
from segment_concept.train.sav_preparation import (
    DETECTORS,
    Failure,
    count_cuts,
    extract_all,
    extract_frames,
    list_scenes,
)
from segment_concept.types import InputError


def silent(done, total):
    """No progress bar."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("sav")
    write_video(root, "sav_000001", 30)
    write_video(root, "sav_000002", 21)
    return root


def test_every_fourth_frame_is_extracted_and_read_again(data, tmp_path):
    found = list(find_videos(data).values())
    assert extract_all(found, tmp_path, 1, silent) == []
    names = sorted(path.name for path in (tmp_path / "sav_000001").iterdir())
    assert names == [f"{index:05d}.jpg" for index in range(0, 30, 4)]
    extracted = find_videos(data, tmp_path)["sav_000001"]
    reader = SavReader()
    decoded = SavReader().frames(found[0], [8])[0].astype(int)
    assert np.abs(reader.frames(extracted, [8])[0] - decoded).mean() < 3


def test_extracting_again_leaves_what_is_there(data, tmp_path):
    video = find_videos(data)["sav_000002"]
    (tmp_path / "sav_000002").mkdir()
    assert extract_frames(video, tmp_path) is None
    assert list((tmp_path / "sav_000002").iterdir()) == []


def test_a_damaged_video_leaves_no_frames_and_is_named(data, tmp_path):
    write_video(tmp_path / "in", "sav_000009", 30)
    video = find_videos(tmp_path / "in")["sav_000009"]
    video.movie.write_bytes(video.movie.read_bytes()[:-2000])
    (failure,) = extract_all([video], tmp_path / "out", 1, silent)
    assert isinstance(failure, Failure)
    assert "sav_000009.mp4" in failure.why
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("detector", [name for name in DETECTORS if name != "transnet"])
def test_cuts_of_the_fixture_are_counted(detector):
    found = find_videos(fixture("training/sav_tiny"))
    counts = {name: count_cuts(video, detector) for name, video in found.items()}
    assert counts == {"sav_000001": 1, "sav_000002": 0, "sav_000003": 2}


def test_videos_with_the_most_cuts_come_first_and_an_interrupted_count_goes_on(tmp_path):
    found = list(find_videos(fixture("training/sav_tiny")).values())
    out = tmp_path / "top.txt"
    list_scenes(found[:1], out, "published", 5, 1, silent)
    asked = []
    list_scenes(found, out, "published", 2, 1, lambda done, total: asked.append((done, total)))
    assert asked == [(1, 2), (2, 2)]  # the first one is known
    assert read_video_list(out) == ["sav_000003", "sav_000001"]
    with pytest.raises(InputError, match="counts of the detector published"):
        list_scenes(found, out, "fast", 2, 1, silent)


def test_an_unknown_detector_is_refused(tmp_path):
    with pytest.raises(InputError, match="no detector 'eyes': expected published, fast"):
        list_scenes([], tmp_path / "top.txt", "eyes", 2, 1, silent)


@pytest.mark.slow
def test_several_processes_do_the_same(data, tmp_path):
    found = list(find_videos(data).values())
    assert extract_all(found, tmp_path, 2, silent) == []
    assert {path.name for path in tmp_path.iterdir()} == {"sav_000001", "sav_000002"}
