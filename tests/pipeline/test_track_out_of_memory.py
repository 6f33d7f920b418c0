"""`run_track` on a GPU that runs out of memory: what was done is kept, and the run can go on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from helpers.tracking_toy import ColorSegmenter
from helpers.video_toys import Film, write_film
from segment_concept.checkpoints import load as build
from segment_concept.cli.app import make_app
from segment_concept.pipeline.outputs import OutputFormat
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.run_folder import IfExists
from segment_concept.pipeline.track import TrackJob, run_track
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Box, DeviceMemoryError, ObjectId
from segment_concept.video.open import open_video

LENGTH, FULL_ON = 12, 7
RED = Box(4, 12, 20, 28)


class FillingSegmenter(ColorSegmenter):
    """Runs out of memory on one frame."""

    def encode(self, frames: Any) -> Any:
        if frames[0].index == FULL_ON:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB.")
        return super().encode(frames)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_film(tmp_path / "film.mp4", Film(frames=LENGTH))


def job_of(film: Path, out: Path) -> TrackJob:
    prompts = (TimedPrompt(ObjectId(1), RED),)
    return TrackJob(open_video(film), prompts, out, frozenset({OutputFormat.PALETTE}))


def masks(out: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted((out / "palette").glob("*.png"))]


def test_finished_frames_are_kept_and_the_run_goes_on_where_it_was(film: Path, tmp_path: Path):
    job = job_of(film, tmp_path / "out")
    with pytest.raises(DeviceMemoryError, match="ran out of memory on"):
        run_track(job, Tracker(FillingSegmenter()))
    kept = json.loads((job.out / "result.json").read_text())
    assert not kept["finished"]
    before = masks(job.out)
    assert 1 <= len(before) <= FULL_ON
    summary = run_track(replace(job, if_exists=IfExists.RESUME), Tracker(ColorSegmenter()))
    assert summary.finished
    whole = job_of(film, tmp_path / "whole")
    run_track(whole, Tracker(ColorSegmenter()))
    for found, expected in zip(masks(job.out), masks(whole.out), strict=True):
        assert np.array_equal(found, expected)
    assert len(masks(whole.out)) == LENGTH


def test_the_command_answers_in_a_sentence(film: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(build, "load", lambda recipe, **_: Tracker(FillingSegmenter()))
    monkeypatch.setattr(build, "weights_hash", lambda recipe: "0" * 64)
    monkeypatch.chdir(tmp_path)
    words = ["track", str(film), "--box", "4,12,20,28", "--out", "out", "-r", "sam2_compact"]
    found = CliRunner().invoke(make_app(), words, env={"COLUMNS": "400"})
    assert found.exit_code == 2
    assert "error: cpu ran out of memory on" in found.output
    assert "With more memory continue by --resume" in found.output
    assert masks(tmp_path / "out")
