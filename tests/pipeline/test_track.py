"""The main job from end to end, with a tracker that follows a color."""

import errno
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from helpers.closeness import same_masks
from helpers.video_toys import (
    HEIGHT,
    WIDTH,
    ColorTracker,
    Film,
    Forgetful,
    damaged,
    overlap,
    presentation_times,
    truth,
    write_film,
    write_folder,
)
from segment_concept.checkpoints.load import load
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.ops.rle import decode_rle
from segment_concept.pipeline import outputs as recorder
from segment_concept.pipeline import writer
from segment_concept.pipeline.outputs import OutputFormat
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.run_folder import IfExists, open_output_folder
from segment_concept.pipeline.schedule import Direction
from segment_concept.pipeline.track import RunMonitor, TrackJob, run_track
from segment_concept.recipes import find_recipe
from segment_concept.runtime import files
from segment_concept.tracking.api import NO_FRAME_PROMPTS
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Box, InputError, Mask, ObjectId, OutputError, Points
from segment_concept.video.live import LiveVideo
from segment_concept.video.open import open_video
from segment_concept.video.timecode import Seconds

ONE, TWO = ObjectId(1), ObjectId(2)
RED_BOX, GREEN_BOX = Box(4, 12, 20, 28), Box(70, 44, 86, 60)
GREEN_TRUTH = np.zeros((HEIGHT, WIDTH), np.bool_)
GREEN_TRUTH[44:60, 70:86] = True
EVERYTHING = frozenset(OutputFormat)


def red_box(index: int) -> Box:
    rows, columns = np.nonzero(truth(index))
    return Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@pytest.fixture
def job(film: Path, tmp_path: Path) -> TrackJob:
    return TrackJob(open_video(film), (TimedPrompt(ONE, RED_BOX),), tmp_path / "out")


def labels(path: Path) -> Any:
    return np.asarray(Image.open(path))


def result_of(out: Path) -> Any:
    return json.loads((out / "result.json").read_text())


def shown_in(out: Path) -> list[str]:
    """What a user sees there: the hidden folder holds the masks, for other outputs."""
    return sorted(p.name for p in out.iterdir() if not p.name.startswith("."))


def everything_in(out: Path) -> Mapping[str, bytes]:
    """All files but videos, which are encoded in parts where a run was interrupted."""
    files = [p for p in out.rglob("*") if p.is_file() and p.suffix != ".mp4"]
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


class StopAfter:
    """Stops a run after so many frames, as Ctrl-C does."""

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def __call__(self) -> bool:
        self.frames -= 1
        return self.frames < 0


@pytest.mark.parametrize("compact", [True, False])
def test_a_tracker_that_shares_cores_has_half_of_the_threads_and_any_other_has_all(
    job: TrackJob, compact: bool
) -> None:
    threads: list[int] = []
    watch = RunMonitor(on_frame=lambda done, total: threads.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        run_track(
            job,
            Tracker(CompactSegmenter(short_side=64), share_cores=compact),
            watch,
        )
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {2 if compact else 4}


def test_by_default_there_is_an_overlay_a_palette_image_a_frame_and_a_result(job: TrackJob) -> None:
    summary = run_track(job, ColorTracker())
    assert summary.finished
    assert summary.frames == summary.stepped == 20
    names = [f"{i:05d}.png" for i in range(20)]
    assert sorted(p.name for p in (job.out / "palette").iterdir()) == names
    for index in range(20):
        assert overlap(labels(job.out / "palette" / names[index]) == 1, truth(index)) > 0.8
    assert shown_in(job.out) == ["overlay.mp4", "palette", "result.json"]


def test_the_overlay_has_the_frames_the_times_and_the_sound_of_the_source(
    job: TrackJob, film: Path
) -> None:
    run_track(job, ColorTracker())
    assert presentation_times(job.out / "overlay.mp4") == presentation_times(film)
    with av.open(str(job.out / "overlay.mp4")) as made:
        assert made.streams.video[0].average_rate == 25
        assert made.streams.audio[0].codec_context.name == "aac"
        frame = next(made.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    original = next(open_video(film).frames()).rgb.astype(int)
    tinted = (original + np.array((128, 0, 0))) // 2
    assert np.abs(frame - tinted)[truth(0)].mean() < 20
    assert np.abs(frame - original)[40:, :60].mean() < 6


def test_the_result_says_what_was_done_with_what_and_how_well(job: TrackJob) -> None:
    provenance = {"recipe": {"name": "toy"}, "weights": {"sha256": "abc"}, "versions": {"x": "1"}}
    run_track(replace(job, provenance=provenance), ColorTracker())
    result = result_of(job.out)
    assert result["finished"] is True
    assert result["recipe"] == {"name": "toy"}
    assert result["weights"] == {"sha256": "abc"}
    assert result["versions"] == {"x": "1"}
    assert result["request"]["video"]["size"] == [HEIGHT, WIDTH]
    assert result["request"]["prompts"][0]["object"] == 1
    assert result["request"]["prompts"][0]["x0"] == 4
    assert [f["frame"] for f in result["frames"]] == list(range(20))
    assert result["frames"][5]["seconds"] == pytest.approx(0.2)
    assert 0 < result["frames"][5]["objects"]["1"]["presence"] <= 1
    assert result["concept_queries"] == [5, 10, 15]
    assert result["objects"]["1"]["visible"] == 20


def test_everything_that_can_be_written_agrees(job: TrackJob) -> None:
    prompts = (TimedPrompt(ONE, RED_BOX), TimedPrompt(TWO, Points.on((75, 50))))
    run_track(replace(job, prompts=prompts, save=EVERYTHING), ColorTracker())
    rle = json.loads((job.out / "rle.json").read_text())
    assert [f["frame"] for f in rle["frames"]] == list(range(20))
    for frame in rle["frames"]:
        ids = labels(job.out / "palette" / f"{frame['name']}.png")
        matte = labels(job.out / "matte" / f"{frame['name']}.png")
        for found in frame["objects"]:
            mask = decode_rle(found["segmentation"]["counts"], found["segmentation"]["size"])
            assert (mask == (ids == found["id"])).all()
            assert found["area"] == mask.sum()
            own = labels(job.out / "objects" / f"{found['id']:03d}" / f"{frame['name']}.png")
            assert (own == 255 * mask).all()
        assert ((matte > 127) == (ids > 0)).all()
    assert presentation_times(job.out / "matte.mp4") == presentation_times(job.out / "overlay.mp4")
    gray = next(open_video(job.out / "matte.mp4").frames()).rgb[..., 1]
    assert gray[truth(0)].mean() > 200
    assert gray[:8].mean() < 8


def test_only_what_was_asked_for_is_written(job: TrackJob) -> None:
    run_track(replace(job, save=frozenset({OutputFormat.RLE})), ColorTracker())
    assert shown_in(job.out) == ["result.json", "rle.json"]


def test_two_objects_have_their_own_masks(job: TrackJob) -> None:
    prompts = (TimedPrompt(TWO, GREEN_BOX), TimedPrompt(ONE, Mask(truth(0))))
    run_track(replace(job, prompts=prompts), ColorTracker())
    for index in (0, 7, 19):
        ids = labels(job.out / "palette" / f"{index:05d}.png")
        assert overlap(ids == 1, truth(index)) > 0.8
        assert overlap(ids == 2, GREEN_TRUTH) > 0.8


def test_from_the_middle_both_directions_are_played(job: TrackJob, film: Path) -> None:
    tracker = ColorTracker()
    summary = run_track(replace(job, prompts=(TimedPrompt(ONE, red_box(8), at=8),)), tracker)
    # The second pass begins on the prompted frame, so that the next is compared with that one.
    assert tracker.stepped == [*range(9, 20), *range(8, -1, -1)]
    assert summary.frames == 20
    for index in (0, 4, 8, 15):
        ids = labels(job.out / "palette" / f"{index:05d}.png")
        assert overlap(ids == 1, truth(index)) > 0.8
    assert presentation_times(job.out / "overlay.mp4") == presentation_times(film)


@pytest.mark.parametrize(
    ("direction", "frames"),
    [(Direction.FORWARD, range(8, 20)), (Direction.BACKWARD, range(9))],
)
def test_one_direction_can_be_chosen(job: TrackJob, direction: Direction, frames: range) -> None:
    prompts = (TimedPrompt(ONE, red_box(8), at=Seconds(0.32)),)
    run_track(replace(job, prompts=prompts, direction=direction), ColorTracker())
    written = sorted(p.name for p in (job.out / "palette").iterdir())
    assert written == [f"{i:05d}.png" for i in frames]
    assert len(presentation_times(job.out / "overlay.mp4")) == len(frames)
    assert presentation_times(job.out / "overlay.mp4")[0] == 0


def test_an_object_shown_later_is_found_in_the_frames_before_too(job: TrackJob, film: Path) -> None:
    prompts = (TimedPrompt(ONE, red_box(3), at=3), TimedPrompt(TWO, GREEN_BOX, at=12))
    run_track(replace(job, prompts=prompts, save=EVERYTHING), ColorTracker())
    result = result_of(job.out)
    assert [list(f["objects"]) for f in result["frames"]] == [["1", "2"]] * 20
    for index in (0, 5, 12, 18):
        ids = labels(job.out / "palette" / f"{index:05d}.png")
        assert overlap(ids == 1, truth(index)) > 0.8
        assert overlap(ids == 2, GREEN_TRUTH) > 0.8
    assert presentation_times(job.out / "overlay.mp4") == presentation_times(film)
    early = list(open_video(job.out / "overlay.mp4").frames())[5].rgb.astype(int)
    plain = list(open_video(film).frames())[5].rgb.astype(int)
    assert np.abs(early - (plain + np.array((0, 128, 0))) // 2)[46:58, 72:84].mean() < 20


def test_forward_only_an_object_shown_later_joins_there(job: TrackJob) -> None:
    prompts = (TimedPrompt(ONE, RED_BOX), TimedPrompt(TWO, GREEN_BOX, at=12))
    run_track(replace(job, prompts=prompts, direction=Direction.FORWARD), ColorTracker())
    frames = result_of(job.out)["frames"]
    assert [list(f["objects"]) for f in frames] == [["1"]] * 12 + [["1", "2"]] * 8


def test_an_object_can_be_corrected_on_a_later_frame(job: TrackJob) -> None:
    prompts = (TimedPrompt(ONE, RED_BOX), TimedPrompt(ONE, GREEN_BOX, at=10))
    run_track(replace(job, prompts=prompts), ColorTracker())
    before, after = (labels(job.out / "palette" / f"{i:05d}.png") for i in (9, 11))
    assert overlap(before == 1, truth(9)) > 0.8
    assert overlap(after == 1, GREEN_TRUTH) > 0.8


def test_masks_of_a_folder_of_images_have_the_images_names(tmp_path: Path) -> None:
    names = ["00000.png", "00005.png", "00015.png"]
    source = open_video(write_folder(tmp_path / "frames", names))
    job = TrackJob(source, (TimedPrompt(ONE, RED_BOX),), tmp_path / "out")
    run_track(job, ColorTracker())
    assert sorted(p.name for p in (job.out / "palette").iterdir()) == names
    assert len(presentation_times(job.out / "overlay.mp4")) == 3


def test_a_live_source_is_followed_as_it_comes(film: Path, tmp_path: Path) -> None:
    job = TrackJob(LiveVideo(str(film)), (TimedPrompt(ONE, RED_BOX),), tmp_path / "out")
    summary = run_track(job, ColorTracker())
    assert summary.finished
    assert 1 <= summary.frames <= 20  # what comes faster than it is tracked is left out
    assert (job.out / "overlay.mp4").exists()


@pytest.mark.parametrize("stop", [1, 6, 19])
def test_a_resumed_run_equals_an_undisturbed_one(job: TrackJob, tmp_path: Path, stop: int) -> None:
    whole = replace(job, save=EVERYTHING, out=tmp_path / "whole")
    run_track(whole, ColorTracker())
    part = replace(job, save=EVERYTHING)
    tracker = ColorTracker()
    summary = run_track(part, tracker, RunMonitor(should_stop=StopAfter(stop)))
    assert not summary.finished
    assert summary.frames == stop + 1
    stepped = len(tracker.stepped)
    summary = run_track(replace(part, if_exists=IfExists.RESUME), tracker)
    assert summary.finished
    assert summary.frames == 20
    assert tracker.stepped[stepped:] == list(range(stop + 1, 20))
    assert everything_in(part.out) == everything_in(whole.out)
    for name in ("overlay.mp4", "matte.mp4"):
        times = presentation_times(part.out / name)
        assert times == presentation_times(whole.out / name)


def test_frames_encoded_ahead_change_nothing_and_are_lost_on_a_stop_harmlessly(
    job: TrackJob,
) -> None:
    tracker = load(replace(find_recipe("sec_compact"), short_side=64), every=1)
    session, frames = tracker.session(), job.source.frames(0)
    expected = [session.prompt(next(frames), {ONE: RED_BOX}), *session.track(frames)]
    assert not run_track(job, tracker, RunMonitor(should_stop=StopAfter(7))).finished
    assert run_track(replace(job, if_exists=IfExists.RESUME), tracker).finished
    for result in expected:
        found = labels(job.out / "palette" / f"{result.frame_index:05d}.png")
        same_masks(result.logits[0], found == ONE, 1e-3)


@pytest.mark.parametrize("stop", [5, 13, 20])
def test_a_run_in_both_directions_resumes_in_either(
    job: TrackJob, tmp_path: Path, stop: int
) -> None:
    prompts = (TimedPrompt(ONE, red_box(3), at=3), TimedPrompt(TWO, GREEN_BOX, at=12))
    whole = replace(job, prompts=prompts, save=EVERYTHING, out=tmp_path / "whole")
    run_track(whole, ColorTracker())
    part = replace(whole, out=tmp_path / "part", if_exists=IfExists.RESUME)
    while not run_track(part, ColorTracker(), RunMonitor(should_stop=StopAfter(stop))).finished:
        pass
    assert everything_in(part.out) == everything_in(whole.out)
    times = presentation_times(part.out / "overlay.mp4")
    assert times == presentation_times(whole.out / "overlay.mp4")


def test_frames_computed_before_a_stop_are_complete(job: TrackJob) -> None:
    run_track(job, ColorTracker(), RunMonitor(should_stop=StopAfter(6)))
    assert len(list((job.out / "palette").glob("*.png"))) == 7
    assert len(presentation_times(job.out / "overlay.mp4")) == 7
    assert result_of(job.out)["finished"] is False
    assert len(result_of(job.out)["frames"]) == 7
    assert not list(job.out.rglob("*.partial"))


def test_a_session_that_cannot_be_stored_is_played_again_without_writing(
    job: TrackJob, tmp_path: Path
) -> None:
    whole = replace(job, out=tmp_path / "whole")
    run_track(whole, Forgetful())
    run_track(job, Forgetful(), RunMonitor(should_stop=StopAfter(6)))
    before = {p.name: p.stat().st_mtime_ns for p in (job.out / "palette").iterdir()}
    tracker = Forgetful()
    run_track(replace(job, if_exists=IfExists.RESUME), tracker)
    assert tracker.stepped == list(range(1, 20))
    assert everything_in(job.out) == everything_in(whole.out)
    after = {p.name: p.stat().st_mtime_ns for p in (job.out / "palette").iterdir()}
    assert {name: after[name] for name in before} == before


def test_a_run_that_was_killed_resumes_from_its_last_checkpoint(
    job: TrackJob, tmp_path: Path
) -> None:
    class KilledError(BaseException):
        """As good as SIGKILL: nothing may be done about it."""

    def kill(done: int, total: int | None) -> None:
        if done == 11:
            raise KilledError

    whole = replace(job, out=tmp_path / "whole")
    run_track(whole, ColorTracker())
    with pytest.raises(KilledError):
        run_track(job, ColorTracker(), RunMonitor(on_frame=kill, save_every=0.0))
    summary = run_track(replace(job, if_exists=IfExists.RESUME), ColorTracker())
    assert summary.stepped < 10
    assert everything_in(job.out) == everything_in(whole.out)
    times = presentation_times(job.out / "overlay.mp4")
    assert times == presentation_times(whole.out / "overlay.mp4")


@pytest.mark.parametrize("file", ["checkpoint.bin", "request.json"])
def test_a_damaged_state_is_named(job: TrackJob, file: str) -> None:
    run_track(job, ColorTracker(), RunMonitor(should_stop=StopAfter(5)))
    (job.out / ".resume" / file).write_bytes(b"rubbish")
    with pytest.raises(InputError, match=f"{file} is damaged: begin again with --overwrite"):
        run_track(replace(job, if_exists=IfExists.RESUME), ColorTracker())


def stopped_run_of_an_older_version(job: TrackJob, before: int | None) -> Path:
    """What older versions left behind: another format, or none, and a checkpoint of torch."""
    run_track(job, ColorTracker(), RunMonitor(should_stop=StopAfter(5)))
    state = job.out / ".resume"
    request = json.loads((state / "request.json").read_text())
    older = {k: v for k, v in request.items() if k != "format"}
    (state / "request.json").write_text(
        json.dumps(older if before is None else older | {"format": before})
    )
    (state / "checkpoint.bin").unlink()
    torch.save({"format": before or 1}, state / "checkpoint.pt")
    return state


@pytest.mark.parametrize("before", [None, 1, 2])
def test_a_run_of_an_older_version_is_refused_in_a_sentence_and_can_be_replaced(
    job: TrackJob, before: int | None
) -> None:
    stopped_run_of_an_older_version(job, before)
    with pytest.raises(InputError, match=r"another version of segment-concept.*--overwrite"):
        run_track(replace(job, if_exists=IfExists.RESUME), ColorTracker())
    assert run_track(replace(job, if_exists=IfExists.OVERWRITE), ColorTracker()).finished


def test_a_result_of_an_older_version_is_refused_in_a_sentence(job: TrackJob) -> None:
    run_track(job, ColorTracker())
    result = json.loads((job.out / "result.json").read_text())
    del result["request"]["format"]
    (job.out / "result.json").write_text(json.dumps(result))
    with pytest.raises(InputError, match="another version of segment-concept"):
        run_track(replace(job, if_exists=IfExists.RESUME), ColorTracker())


def rewritten(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change a checkpoint, and give it the checksum of its new content."""
    content = path.read_bytes()
    start = content.index(b"PK")
    buffer = io.BytesIO()
    torch.save(change(torch.load(io.BytesIO(content[start:]), weights_only=True)), buffer)
    digest = hashlib.sha256(buffer.getvalue()).digest()
    path.write_bytes(content[: start - len(digest)] + digest + buffer.getvalue())


@pytest.mark.parametrize(
    "missing", ["position", "parts", "session", "journal", "checksum", "stamps"]
)
def test_a_checkpoint_that_lacks_something_is_refused(job: TrackJob, missing: str) -> None:
    run_track(job, ColorTracker(), RunMonitor(should_stop=StopAfter(5)))
    path = job.out / ".resume" / "checkpoint.bin"
    rewritten(path, lambda values: {k: v for k, v in values.items() if k != missing})
    with pytest.raises(InputError, match="is damaged"):
        run_track(replace(job, if_exists=IfExists.RESUME), ColorTracker())


def test_a_checkpoint_of_another_version_is_refused(job: TrackJob) -> None:
    run_track(job, ColorTracker(), RunMonitor(should_stop=StopAfter(5)))
    rewritten(job.out / ".resume" / "checkpoint.bin", lambda values: values | {"format": 4})
    with pytest.raises(InputError, match="another version"):
        run_track(replace(job, if_exists=IfExists.RESUME), ColorTracker())


def test_a_state_file_can_run_no_code(job: TrackJob) -> None:
    run_track(job, ColorTracker(), RunMonitor(should_stop=StopAfter(5)))
    path = job.out / ".resume" / "checkpoint.bin"
    rewritten(path, lambda values: values | {"session": Path("/")})
    with pytest.raises(InputError, match="is damaged"):
        run_track(replace(job, if_exists=IfExists.RESUME), ColorTracker())


def test_resuming_a_finished_run_does_nothing(job: TrackJob) -> None:
    first = run_track(job, ColorTracker())
    before = everything_in(job.out)
    tracker = ColorTracker()
    again = run_track(replace(job, if_exists=IfExists.RESUME), tracker)
    assert tracker.stepped == []
    assert everything_in(job.out) == before
    assert (again.frames, again.objects) == (first.frames, first.objects)


def test_resuming_where_nothing_was_begun_begins(job: TrackJob) -> None:
    assert run_track(replace(job, if_exists=IfExists.RESUME), ColorTracker()).frames == 20


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"prompts": (TimedPrompt(ONE, Box(1, 1, 9, 9)),)}, "prompts"),
        ({"direction": Direction.FORWARD}, "direction"),
        ({"provenance": {"recipe": {"name": "other"}}}, "recipe"),
        ({"provenance": {"weights": "other"}}, "weights"),
    ],
)
@pytest.mark.parametrize("stop", [5, 99])
def test_another_run_cannot_be_resumed(
    job: TrackJob, change: dict[str, Any], what: str, stop: int
) -> None:
    run_track(job, ColorTracker(), RunMonitor(should_stop=StopAfter(stop)))
    before = everything_in(job.out)
    other = replace(job, if_exists=IfExists.RESUME, **change)
    with pytest.raises(InputError, match=f"another {what}.*--overwrite"):
        run_track(other, ColorTracker())
    assert everything_in(job.out) == before


def test_an_unfinished_run_with_other_outputs_cannot_be_resumed(job: TrackJob) -> None:
    run_track(job, ColorTracker(), RunMonitor(should_stop=StopAfter(5)))
    other = replace(job, if_exists=IfExists.RESUME, save=frozenset({OutputFormat.RLE}))
    with pytest.raises(InputError, match=r"another outputs.*--overwrite"):
        run_track(other, ColorTracker())


def test_a_result_is_not_overwritten_unasked(job: TrackJob) -> None:
    run_track(job, ColorTracker())
    before = everything_in(job.out)
    with pytest.raises(InputError, match=r"holds a result.*--overwrite"):
        run_track(job, ColorTracker())
    assert everything_in(job.out) == before


def test_an_interrupted_run_is_not_begun_again_unasked(job: TrackJob) -> None:
    run_track(job, ColorTracker(), RunMonitor(should_stop=StopAfter(5)))
    with pytest.raises(InputError, match=r"unfinished.*--resume"):
        run_track(job, ColorTracker())


def test_overwriting_removes_what_was_written_and_nothing_else(job: TrackJob) -> None:
    run_track(replace(job, save=EVERYTHING), ColorTracker())
    (job.out / "notes.txt").write_text("mine")
    run_track(replace(job, if_exists=IfExists.OVERWRITE), ColorTracker())
    assert shown_in(job.out) == ["notes.txt", "overlay.mp4", "palette", "result.json"]


@pytest.mark.parametrize("if_exists", list(IfExists))
def test_a_folder_with_other_files_is_never_touched(job: TrackJob, if_exists: IfExists) -> None:
    (job.out / "palette").mkdir(parents=True)
    (job.out / "palette" / "mine.png").write_text("mine")
    with pytest.raises(InputError, match="contains other files"):
        run_track(replace(job, if_exists=if_exists), ColorTracker())
    assert [p.name for p in job.out.rglob("*")] == ["palette", "mine.png"]


def test_a_file_cannot_be_the_output_folder(job: TrackJob) -> None:
    job.out.write_text("a file")
    with pytest.raises(InputError, match="is a file"):
        run_track(job, ColorTracker())


def test_two_runs_cannot_write_to_one_folder(job: TrackJob) -> None:
    with open_output_folder(job.out, IfExists.REFUSE):
        for if_exists in (IfExists.RESUME, IfExists.OVERWRITE):
            with pytest.raises(InputError, match="another run is writing"):
                run_track(replace(job, if_exists=if_exists), ColorTracker())


def test_a_full_disk_keeps_what_was_written_and_can_be_resumed(
    job: TrackJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = replace(job, out=tmp_path / "whole")
    run_track(whole, ColorTracker())
    original = files.write_atomic

    def full(path: Path, data: Any) -> None:
        if path.name == "00011.png":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        original(path, data)

    monkeypatch.setattr(recorder, "write_atomic", full)
    with pytest.raises(OutputError, match=r"full.*--resume"):
        run_track(job, ColorTracker(), RunMonitor(save_every=0.0))
    assert {f"{i:05d}.png" for i in range(11)} <= {p.name for p in (job.out / "palette").iterdir()}
    monkeypatch.setattr(recorder, "write_atomic", original)
    run_track(replace(job, if_exists=IfExists.RESUME), ColorTracker())
    assert everything_in(job.out) == everything_in(whole.out)


def test_a_disk_that_fills_at_the_end_loses_nothing(
    job: TrackJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = replace(job, out=tmp_path / "whole")
    run_track(whole, ColorTracker())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("segment_concept.pipeline.writer.join", full)
        with pytest.raises(OutputError, match="full"):
            run_track(job, ColorTracker())
    tracker = ColorTracker()
    run_track(replace(job, if_exists=IfExists.RESUME), tracker)
    assert tracker.stepped == []
    assert everything_in(job.out) == everything_in(whole.out)


def test_a_folder_that_may_not_be_written_to_is_refused(
    job: TrackJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files, "write_atomic", denied)
    with pytest.raises(OutputError, match="permission denied"):
        run_track(job, ColorTracker())


def test_a_damaged_frame_is_left_out_and_masks_go_on(tmp_path: Path) -> None:
    whole = write_film(tmp_path / "a.mov", Film("mjpeg", pixels="yuvj420p"))
    source = open_video(damaged(whole, tmp_path / "b.mov", {9}))
    job = TrackJob(source, (TimedPrompt(ONE, RED_BOX),), tmp_path / "out")
    summary = run_track(job, ColorTracker())
    assert summary.skipped == (9,)
    assert result_of(job.out)["damaged_frames"] == [9]
    assert not (job.out / "palette" / "00009.png").exists()
    assert overlap(labels(job.out / "palette" / "00010.png") == 1, truth(10)) > 0.8


def test_a_video_that_is_cut_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.avi", Film("mjpeg", pixels="yuvj420p", frames=30))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    job = TrackJob(open_video(path), (TimedPrompt(ONE, RED_BOX),), tmp_path / "out")
    run_track(job, ColorTracker())
    assert "bytes are missing" in result_of(job.out)["video_incomplete"]


def test_damaged_frames_at_the_end_are_listed(tmp_path: Path) -> None:
    whole = write_film(tmp_path / "a.mov", Film("mjpeg", pixels="yuvj420p"))
    source = open_video(damaged(whole, tmp_path / "b.mov", {18, 19}))
    job = TrackJob(source, (TimedPrompt(ONE, RED_BOX),), tmp_path / "out")
    assert run_track(job, ColorTracker()).skipped == (18, 19)
    assert result_of(job.out)["video_incomplete"] is None


def test_results_are_on_disk_before_a_video_is_made_of_them(
    job: TrackJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("the muxer fell over")

    job = replace(job, save=frozenset({OutputFormat.OVERLAY, OutputFormat.RLE}))
    monkeypatch.setattr(writer, "join", broken)
    with pytest.raises(OSError, match="fell over"):
        run_track(job, ColorTracker())
    assert (job.out / "rle.json").exists()
    assert result_of(job.out)["finished"] is False
    monkeypatch.undo()
    assert run_track(replace(job, if_exists=IfExists.RESUME), ColorTracker()).finished
    assert result_of(job.out)["finished"] is True


def test_an_image_of_another_size_stops_the_run_and_it_can_be_resumed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames", [f"{i:05d}.png" for i in range(6)])
    good = (folder / "00004.png").read_bytes()

    class Strict(ColorTracker):
        """Refuses frames of another size, as every tracker has to."""

        def session(self) -> Any:
            session = super().session()
            original = session.step

            class Session(type(session)):  # type: ignore[misc]
                def step(self, frame: Any, prompts: Any = NO_FRAME_PROMPTS) -> Any:
                    if frame.size != (HEIGHT, WIDTH):
                        raise InputError(f"frame {frame.index} is of another size")
                    return super().step(frame, prompts)

            assert original is not None
            return Session(self)

    job = TrackJob(open_video(folder), (TimedPrompt(ONE, RED_BOX),), tmp_path / "out")
    Image.new("RGB", (32, 32)).save(folder / "00004.png")  # after it was checked
    with pytest.raises(InputError, match="frame 4 is of another size"):
        run_track(job, Strict())
    assert len(list((job.out / "palette").iterdir())) == 4
    assert len(presentation_times(job.out / "overlay.mp4")) == 4
    (folder / "00004.png").write_bytes(good)
    again = replace(job, source=open_video(folder), if_exists=IfExists.RESUME)
    assert run_track(again, Strict()).frames == 6


@pytest.mark.parametrize(
    ("prompts", "why"),
    [
        ((), "nothing to track"),
        (
            (TimedPrompt(ONE, RED_BOX), TimedPrompt(ONE, Points.on((5, 5)))),
            "has two prompts on frame 0",
        ),
        ((TimedPrompt(ONE, Points.on((96, 10))),), r"object 1: the point \(96, 10\) lies outside"),
        ((TimedPrompt(TWO, Box(200, 200, 220, 220)),), "object 2: the box .* lies outside"),
        (
            (TimedPrompt(ONE, Mask(np.ones((10, 10), bool))),),
            "the mask is 10x10 but frame 0 is 96x64",
        ),
        ((TimedPrompt(ONE, RED_BOX, at=20),), "no frame 20"),
        ((TimedPrompt(ONE, RED_BOX, at=Seconds(0.8)),), "0.80 s long"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_written(
    job: TrackJob, prompts: tuple[TimedPrompt, ...], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        run_track(replace(job, prompts=prompts), ColorTracker())
    assert not job.out.exists()


def test_a_prompt_that_the_tracker_refuses_leaves_no_trace(job: TrackJob) -> None:
    class Picky(ColorTracker):
        def session(self) -> Any:
            session = super().session()

            class Session(type(session)):  # type: ignore[misc]
                def prompt(self, frame: Any, prompts: Any) -> Any:
                    raise InputError("this tracker starts from masks")

            return Session(self)

    with pytest.raises(InputError, match="starts from masks"):
        run_track(job, Picky())
    assert not job.out.exists()


def test_memory_does_not_grow_with_the_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts the frames that are alive while three times as many are tracked."""
    import gc

    from segment_concept.types import Frame

    source = open_video(write_film(tmp_path / "long.mp4", Film(frames=60)))
    most = 0

    def count(done: int, total: int | None) -> None:
        nonlocal most
        if done in (15, 35, 55):
            most = max(most, sum(type(thing) is Frame for thing in gc.get_objects()))

    job = TrackJob(source, (TimedPrompt(ONE, RED_BOX),), tmp_path / "out")
    gc.collect()
    before = sum(type(thing) is Frame for thing in gc.get_objects())
    run_track(job, ColorTracker(), RunMonitor(on_frame=count))
    assert most - before <= 12  # 4 ahead, 2 behind, and those in hand


def test_progress_is_reported_frame_by_frame(job: TrackJob) -> None:
    told: list[tuple[int, int | None]] = []
    watch = RunMonitor(on_frame=lambda done, total: told.append((done, total)))
    prompts = (TimedPrompt(ONE, red_box(8), at=8),)
    run_track(replace(job, prompts=prompts), ColorTracker(), watch)
    assert told == [(i, 21) for i in range(1, 22)]
