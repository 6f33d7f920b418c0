"""Predicting the videos of a benchmark in offline mode."""

from pathlib import Path
from typing import Any

import pytest

from helpers import benchmark_toys as toys
from helpers.tracking_toy import ColorSegmenter, RotatingConcept
from segment_concept.datasets.open import open_dataset
from segment_concept.datasets.types import Benchmark, Dataset, Source
from segment_concept.evaluate.predict import predict_video, video_job
from segment_concept.evaluate.tracker_source import TrackerSource
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import Every
from segment_concept.types import InputError


class Undecided(RotatingConcept):
    """Notes what it was asked, and never knows."""

    def _concept(self, request: Any) -> None:
        return None


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    clip = toys.Clip("clip", ((1, 2),) * 9)
    for i, ids in enumerate(clip.ids):
        toys.save(tmp_path / f"set/Annotations/clip/{i:05d}.png", toys.labels(i, ids))
        toys.save(tmp_path / f"set/JPEGImages/clip/{i:05d}.png", toys.picture(i, clip))
    return open_dataset(Benchmark.FOLDER, Source(tmp_path / "set"))


@pytest.mark.parametrize(("alone", "sessions"), [(False, 1), (True, 2)])
def test_every_session_is_played_twice_and_the_second_pass_is_written(
    dataset: Dataset, tmp_path: Path, alone: bool, sessions: int
) -> None:
    encoder = Undecided()
    tracker = Tracker(ColorSegmenter(), trigger=Every(3), concept=encoder, keyframes=3)
    (tmp_path / "out").mkdir()
    job = video_job(dataset, dataset.videos[0], alone=alone, offline=True)
    prediction = predict_video(tracker, job, tmp_path / "out")
    assert prediction.frames == len(list((tmp_path / "out").iterdir())) == 9
    assert len(encoder.queried) == 2 * sessions * 2
    assert prediction.concept_calls == 2 * sessions


def test_a_recipe_without_keyframes_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    job = video_job(dataset, dataset.videos[0], offline=True)
    with pytest.raises(InputError, match="has no concept encoder"):
        predict_video(Tracker(ColorSegmenter()), job, tmp_path)
    for name in ("cutie_base", "helpers.benchmark_toys:color"):
        with pytest.raises(InputError, match="has no concept encoder"):
            TrackerSource(name).check_offline()
