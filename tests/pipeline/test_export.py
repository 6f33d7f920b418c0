"""Other outputs of a finished run, made from the masks that it has recorded."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.video_toys import ColorTracker, Film, presentation_times, write_film, write_folder
from segment_concept.pipeline.export import export_outputs
from segment_concept.pipeline.outputs import OutputFormat
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.run_folder import IfExists
from segment_concept.pipeline.track import RunMonitor, TrackJob, run_track
from segment_concept.types import Box, InputError, ObjectId
from segment_concept.video.open import open_video

ONE, TWO = ObjectId(1), ObjectId(2)
EVERYTHING = frozenset(OutputFormat)
WITHOUT_VIDEO = EVERYTHING - {OutputFormat.OVERLAY, OutputFormat.MATTE}


@pytest.fixture
def job(film: Path, tmp_path: Path) -> TrackJob:
    """Two objects, one of which is prompted on a later frame; finished with `rle` alone."""
    shown = (TimedPrompt(ONE, Box(4, 12, 20, 28)), TimedPrompt(TWO, Box(70, 44, 86, 60), at=5))
    save = frozenset({OutputFormat.RLE})
    job = TrackJob(open_video(film), shown, tmp_path / "out", save=save)
    run_track(job, ColorTracker())
    return replace(job, if_exists=IfExists.RESUME)


@pytest.fixture
def whole(job: TrackJob, tmp_path: Path) -> Path:
    """The same run with everything from the beginning."""
    run_track(replace(job, save=EVERYTHING, out=tmp_path / "whole"), ColorTracker())
    return tmp_path / "whole"


def images(out: Path, folder: str) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in (out / folder).rglob("*.png")}


def same(out: Path, whole: Path) -> None:
    for folder in ("palette", "objects"):
        assert images(out, folder) == images(whole, folder)
        assert images(out, folder)
    assert json.loads((out / "result.json").read_text()) == json.loads(
        (whole / "result.json").read_text()
    )
    assert (out / "result.json").read_bytes() == (whole / "result.json").read_bytes()
    assert (out / "rle.json").read_bytes() == (whole / "rle.json").read_bytes()
    matte = np.asarray(Image.open(out / "matte/00007.png"))
    soft = np.asarray(Image.open(whole / "matte/00007.png"))
    assert ((matte > 127) == (soft > 127)).all()
    for name in ("overlay.mp4", "matte.mp4"):
        assert presentation_times(out / name) == presentation_times(whole / name)


def test_resuming_a_finished_run_with_other_outputs_tracks_nothing(
    job: TrackJob, whole: Path
) -> None:
    tracker = ColorTracker()
    summary = run_track(replace(job, save=EVERYTHING), tracker)
    assert summary.finished
    assert tracker.stepped == []
    same(job.out, whole)


def test_outputs_are_exported_without_a_tracker(job: TrackJob, whole: Path) -> None:
    made = export_outputs(job.out, EVERYTHING, job.source)
    assert set(made) == EVERYTHING - {OutputFormat.RLE}
    same(job.out, whole)
    assert export_outputs(job.out, EVERYTHING) == ()
    assert not list(job.out.rglob("*.nut"))


def test_images_are_exported_without_the_video(job: TrackJob, whole: Path) -> None:
    export_outputs(job.out, WITHOUT_VIDEO)
    assert images(job.out, "palette") == images(whole, "palette")
    assert (job.out / "explain.html").exists()
    assert not (job.out / "overlay.mp4").exists()


def test_a_resumed_run_with_fewer_outputs_is_left_as_it_is(job: TrackJob) -> None:
    before = (job.out / "result.json").read_bytes()
    run_track(replace(job, save=frozenset()), ColorTracker())
    assert (job.out / "result.json").read_bytes() == before


@pytest.mark.parametrize("kind", [OutputFormat.OVERLAY, OutputFormat.MATTE])
def test_a_video_is_required_if_one_is_shown(job: TrackJob, kind: OutputFormat) -> None:
    with pytest.raises(InputError, match="give it with --video"):
        export_outputs(job.out, frozenset({kind}))


def test_another_video_is_refused(job: TrackJob, tmp_path: Path) -> None:
    other = open_video(write_film(tmp_path / "other.mp4", Film(frames=9)))
    with pytest.raises(InputError, match="is not the video that was tracked"):
        export_outputs(job.out, EVERYTHING, other)


def test_an_unfinished_run_is_not_exported(job: TrackJob, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    run_track(replace(job, out=out), ColorTracker(), RunMonitor(should_stop=lambda: True))
    with pytest.raises(InputError, match="is not finished"):
        export_outputs(out, EVERYTHING, job.source)


def test_a_folder_without_a_run_is_refused_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished run"):
        export_outputs(tmp_path / "none", EVERYTHING)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: bytes(len(content)),
        lambda content: content.replace(b"counts", b"cOunts", 1),
    ],
)
def test_masks_that_are_damaged_are_refused(
    job: TrackJob, damage: Callable[[bytes], bytes]
) -> None:
    path = job.out / ".resume" / "frames.jsonl"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"is damaged or missing: begin again with --overwrite"):
        export_outputs(job.out, WITHOUT_VIDEO)


def test_the_frames_of_a_folder_keep_their_names(tmp_path: Path) -> None:
    names = ["00000.png", "00005.png", "00015.png"]
    source = open_video(write_folder(tmp_path / "frames", names))
    shown = (TimedPrompt(ONE, Box(4, 12, 20, 28)),)
    job = TrackJob(source, shown, tmp_path / "out", save=frozenset())
    run_track(job, ColorTracker())
    export_outputs(job.out, EVERYTHING, source)
    assert sorted(p.name for p in (job.out / "palette").iterdir()) == names
    assert len(presentation_times(job.out / "overlay.mp4")) == 3
