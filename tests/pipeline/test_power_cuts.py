"""What a run does when the files of its state are not as it has written them.

A power cut, a full disk or a copy that broke off leaves files short, filled with zeros or junk, or
takes them away.
"""

import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.video_toys import ColorTracker, presentation_times, truth
from segment_concept.pipeline.journal import JOURNAL
from segment_concept.pipeline.outputs import OutputFormat
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.run_folder import IfExists
from segment_concept.pipeline.schedule import Direction
from segment_concept.pipeline.track import RunMonitor, TrackJob, run_track
from segment_concept.types import Box, InputError, ObjectId
from segment_concept.video.open import open_video

ONE, TWO = ObjectId(1), ObjectId(2)
EVERYTHING = frozenset(OutputFormat)
DAMAGED = r"is damaged: begin again with --overwrite"


def red_box(index: int) -> Box:
    rows, columns = np.nonzero(truth(index))
    return Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def job_in(out: Path, film: Path) -> TrackJob:
    """Two passes: from frame 3 on, and backwards from frame 12, where a second object appears.

    30 frames are played.
    """
    shown = (
        TimedPrompt(ONE, red_box(3), at=3),
        TimedPrompt(TWO, Box(70, 44, 86, 60), at=12),
    )
    return TrackJob(open_video(film), shown, out, save=EVERYTHING, if_exists=IfExists.RESUME)


@pytest.fixture
def job(film: Path, tmp_path: Path) -> TrackJob:
    """One that has not begun."""
    return job_in(tmp_path / "out", film)


def stopped(job: TrackJob, frames: int, *, saved: bool = True) -> Path:
    """Stop a run after so many frames, saved after every one; return its state folder."""
    left = iter(range(frames))
    stop = RunMonitor(
        should_stop=lambda: next(left, None) is None, save_every=0.0 if saved else 60.0
    )
    assert not run_track(job, ColorTracker(), stop).finished
    return job.out / ".resume"


def files_but_videos(out: Path) -> dict[str, bytes]:
    """Without the page: the color change on the frame where a run went on may be unknown."""
    found = [p for p in out.rglob("*") if p.suffix in (".png", ".json")]
    return {str(p.relative_to(out)): p.read_bytes() for p in found if ".resume" not in p.parts}


def same_results(job: TrackJob, whole: TrackJob) -> None:
    assert files_but_videos(job.out) == files_but_videos(whole.out)
    for name in ("overlay.mp4", "matte.mp4"):
        assert presentation_times(job.out / name) == presentation_times(whole.out / name)


@pytest.fixture(scope="module")
def whole(film: Path, tmp_path_factory: pytest.TempPathFactory) -> TrackJob:
    """The same run, undisturbed."""
    undisturbed = job_in(tmp_path_factory.mktemp("whole"), film)
    run_track(undisturbed, ColorTracker())
    return undisturbed


@pytest.fixture(scope="module")
def interrupted(film: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The output folders of runs that were stopped after so many frames."""
    jobs = {n: job_in(tmp_path_factory.mktemp("stopped") / "out", film) for n in (9, 24)}
    for frames, job in jobs.items():
        stopped(job, frames)
    return {frames: job.out for frames, job in jobs.items()}


def cut_to(share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return damage


def short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def zeros_at_the_end(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


def junk(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(path.stat().st_size))


def one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def gone(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


KINDS = [cut_to(0.0), cut_to(0.5), short, zeros, zeros_at_the_end, junk, one_bit, gone]


@pytest.mark.parametrize("damage", KINDS)
@pytest.mark.parametrize("stop", [9, 24])
@pytest.mark.parametrize("pattern", [JOURNAL, "overlay-*.nut", "matte-*.nut"])
def test_damaged_frames_are_tracked_again_and_results_are_complete(
    job: TrackJob,
    whole: TrackJob,
    interrupted: dict[int, Path],
    pattern: str,
    stop: int,
    damage: Callable[[Path], None],
) -> None:
    state = shutil.copytree(interrupted[stop], job.out) / ".resume"
    victims = sorted(state.glob(pattern))
    damage(victims[len(victims) // 2])
    assert run_track(job, ColorTracker()).finished
    same_results(job, whole)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_journal_that_is_cut_off_anywhere_costs_only_what_it_lacks(
    job: TrackJob, whole: TrackJob, interrupted: dict[int, Path], share: float
) -> None:
    state = shutil.copytree(interrupted[24], job.out) / ".resume"
    cut_to(share)(state / JOURNAL)
    assert run_track(job, ColorTracker()).finished
    same_results(job, whole)


def test_half_a_part_of_a_video_is_noticed_and_said(
    job: TrackJob, whole: TrackJob, caplog: pytest.LogCaptureFixture
) -> None:
    state = stopped(job, 12, saved=False)
    cut_to(0.5)(max(state.glob("overlay-*.nut")))
    assert run_track(job, ColorTracker()).finished
    assert "are damaged, perhaps because the power failed" in caplog.text
    same_results(job, whole)


@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.BACKWARD])
def test_one_direction_is_cut_back_like_both(
    job: TrackJob, tmp_path: Path, direction: Direction
) -> None:
    job = replace(job, prompts=(TimedPrompt(ONE, red_box(10), at=10),), direction=direction)
    undisturbed = replace(job, out=tmp_path / "other")
    run_track(undisturbed, ColorTracker())
    state = stopped(job, 6)
    cut_to(0.5)(sorted(state.glob("matte-*.nut"))[3])
    summary = run_track(job, ColorTracker())
    assert summary.finished
    same_results(job, undisturbed)


def test_images_alone_are_cut_back_by_the_record(job: TrackJob, tmp_path: Path) -> None:
    job = replace(job, save=frozenset({OutputFormat.PALETTE}))
    undisturbed = replace(job, out=tmp_path / "other")
    run_track(undisturbed, ColorTracker())
    state = stopped(job, 10)
    short(state / JOURNAL)
    assert run_track(job, ColorTracker()).finished
    assert files_but_videos(job.out) == files_but_videos(undisturbed.out)


@pytest.mark.parametrize("damage", [*KINDS[:-1], a_folder])
@pytest.mark.parametrize("file", ["checkpoint.bin", "request.json"])
def test_a_damaged_state_is_refused_in_one_sentence_and_can_be_replaced(
    job: TrackJob, file: str, damage: Callable[[Path], None]
) -> None:
    path = stopped(job, 5, saved=False) / file
    damage(path)
    if file == "request.json" and damage is one_bit:
        pytest.skip("another request may be what is left")
    with pytest.raises(InputError, match=DAMAGED):
        run_track(job, ColorTracker())
    if path.is_file():
        assert run_track(replace(job, if_exists=IfExists.OVERWRITE), ColorTracker()).finished


def test_a_state_without_its_request_is_damaged(job: TrackJob) -> None:
    (stopped(job, 5, saved=False) / "request.json").unlink()
    with pytest.raises(InputError, match=f"request.json {DAMAGED}"):
        run_track(job, ColorTracker())


def test_without_its_checkpoint_a_run_begins_again(job: TrackJob, whole: TrackJob) -> None:
    (stopped(job, 5, saved=False) / "checkpoint.bin").unlink()
    assert run_track(job, ColorTracker()).finished
    same_results(job, whole)


CONTENTS: list[Any] = [[], 3, "text", None, True, {}, {"finished": True}, [{"finished": True}]]
TEXTS = [
    *map(json.dumps, CONTENTS[:5]),
    "[" * 100_000,
    '{"finished": ' + "[" * 100_000,
    '{"finished": 1e999}',
    "",
    "\0" * 300,
    "\x1b[2J",
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("file", [".resume/request.json", "result.json"])
def test_json_of_any_other_form_is_damaged(job: TrackJob, file: str, text: str) -> None:
    stopped(job, 5, saved=False)
    (job.out / file).write_text(text)
    with pytest.raises(InputError, match=DAMAGED):
        run_track(job, ColorTracker())
    assert run_track(replace(job, if_exists=IfExists.OVERWRITE), ColorTracker()).finished


@pytest.mark.parametrize("value", CONTENTS, ids=range(len(CONTENTS)))
@pytest.mark.parametrize(
    "key", ["request", "objects", "frames_with_masks", "concept_queries", "damaged_frames"]
)
def test_a_finished_result_with_odd_values_is_no_traceback(
    job: TrackJob, key: str, value: Any
) -> None:
    run_track(job, ColorTracker())
    path = job.out / "result.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {key: value}))
    # An empty list is as good a value as any other; whatever else it is, it is no other error.
    with suppress(InputError):
        assert run_track(job, ColorTracker()).finished
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=DAMAGED):
        run_track(job, ColorTracker())


def test_a_checkpoint_promises_only_what_is_on_the_disk(
    job: TrackJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()

    def fsync(number: int) -> None:
        synced.add(Path(f"/proc/self/fd/{number}").resolve().name)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs the names of open files")
    monkeypatch.setattr("os.fsync", fsync)
    monkeypatch.setattr("os.sync", lambda: synced.add("all images"))
    state = stopped(job, 7)
    parts = {path.name for path in state.glob("*.nut")}
    images = {path.name for path in job.out.rglob("*.png")}
    assert images <= synced or "all images" in synced
    assert parts | {JOURNAL, ".resume"} <= synced


@pytest.mark.parametrize("name", [b"caf\xe9.mp4", b"\xff\xfe.mp4", b"\x1b[2J.mp4", b"<b>&.mp4"])
def test_a_video_of_any_name_can_be_explained(film: Path, tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    try:
        path.write_bytes(film.read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    shown = (TimedPrompt(ONE, red_box(0)),)
    job = TrackJob(open_video(path), shown, tmp_path / "out", save=EVERYTHING)
    assert run_track(job, ColorTracker()).finished
    page = (tmp_path / "out" / "explain.html").read_text(encoding="utf-8")
    assert "<b>&" not in page
