"""Jobs: what is tracked, from where, and what becomes of it when something goes wrong."""

import asyncio
import errno
import os
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.video_toys import HEIGHT, WIDTH, Film
from helpers.web_app import Page, run_on_page
from helpers.web_trackers import Counting, Failing
from segment_concept.web.jobs import LEAST_AFTER_CUT, SAME_FRAMES, EarlyStop, Plan, masks_iou
from segment_concept.web.runner import TrackedVideo
from segment_concept.web.runs import empty_runs
from segment_concept.web.snapshots import prune_snapshots
from segment_concept.web.spans import FrameState, Span
from segment_concept.web.store import Result
from segment_concept.web.wire import JobBody
from segment_concept.web.work import Solve, SpanOrder

SIZE = (HEIGHT, WIDTH)


async def scores(page: Page) -> bytes:
    return (await page.get("/timeline?object=1")).content


def test_a_job_that_goes_on_finds_what_an_undisturbed_one_finds(tmp_path: Path) -> None:
    found: list[bytes] = []

    async def at_once(page: Page) -> None:
        await page.click()
        await page.track()
        found.append(await scores(page))

    async def in_parts(page: Page) -> None:
        await page.click()
        for last in (7, 8, 20, 29):
            await page.track(to=last)
        found.append(await scores(page))

    for name, work in (("a", at_once), ("b", in_parts)):
        (tmp_path / name).mkdir()
        run_on_page(tmp_path / name, work)
    assert found[0] == found[1]


def test_it_goes_on_from_a_snapshot_and_does_not_track_again(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.click()
        await page.track(to=9)
        folder = page.workspace.find(page.id).folder.path / "snapshots"
        assert [path.name for path in folder.iterdir()] == ["o001-f0000009-e000001.pt"]
        Counting.stepped.clear()
        await page.track(to=12)
        assert Counting.stepped == [10, 11, 12]

    run_on_page(tmp_path, work, recipe="helpers.web_trackers:Counting")


def test_without_a_snapshot_the_way_from_the_anchor_is_tracked_again_and_not_written(
    tmp_path: Path,
) -> None:
    async def work(page: Page) -> None:
        await page.click()
        await page.track(to=9)
        prune_snapshots(page.workspace.find(page.id).folder.path / "snapshots", most=0)
        before = (await page.get("/masks/5")).content
        Counting.stepped.clear()
        await page.track(to=12)
        assert Counting.stepped == list(range(1, 13))
        assert (await page.get("/masks/5")).content == before

    run_on_page(tmp_path, work, recipe="helpers.web_trackers:Counting")


def test_several_objects_are_tracked_together(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.click()
        green = {"type": "prompt", "object": 2, "frame": 3, "box": [70, 44, 86, 60]}
        await page.edit(green)
        await page.track()
        objects = (await page.project())["objects"]
        assert objects[0]["states"][-1] == [1, 29, "tracked"]
        assert objects[1]["states"] == [[3, 3, "prompted"], [4, 29, "tracked"]]

    run_on_page(tmp_path, work)


def test_an_edit_while_a_job_runs_changes_its_plan_and_loses_nothing(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.click()
        await page.post("/jobs", {"from": 0})
        await page.until(page.project, lambda p: len(p["objects"][0]["states"]) > 1)
        edit = {"type": "prompt", "object": 1, "frame": 4, "points": [[18, 20, 1]]}
        assert (await page.edit(edit)).status_code == 200
        done = await page.until(page.project, lambda p: not p["jobs"])
        states = done["objects"][0]["states"]
        assert states == [
            [0, 0, "prompted"],
            [1, 3, "tracked"],
            [4, 4, "prompted"],
            [5, 59, "tracked"],
        ]

    run_on_page(tmp_path, work, film=Film(frames=60), recipe="helpers.web_trackers:Slow")


def test_a_denied_shot_is_left_out_and_the_frames_after_it_are_tracked_again(
    tmp_path: Path,
) -> None:
    async def work(page: Page) -> None:
        await page.click()
        await page.track()
        await page.edit({"type": "deny", "object": 1, "from": 10, "to": 19})
        Counting.stepped.clear()
        states = await page.track()
        assert states == [
            [0, 0, "prompted"],
            [1, 9, "tracked"],
            [10, 19, "denied"],
            [20, 29, "tracked"],
        ]
        assert not set(Counting.stepped) & set(range(10, 20))

    run_on_page(tmp_path, work, recipe="helpers.web_trackers:Counting")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "the memory of the device is full"),
        (RuntimeError("boom"), "the tracker failed (RuntimeError: boom)"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), "the memory of the device is full"),
    ],
    ids=["memory", "bug", "gpu"],
)
def test_a_tracker_that_fails_is_a_sentence_and_its_frames_are_kept(
    tmp_path: Path, error: Exception, words: str
) -> None:
    async def work(page: Page) -> None:
        Failing.error, Failing.at = error, 12
        await page.click()
        job = (await page.post("/jobs", {"from": 0})).json()
        await page.until(page.project, lambda p: not p["jobs"])
        told = [d for _, name, d in page.workspace.find(page.id).events._kept if name == "job"]
        assert words in told[-1]
        assert f'"id":"{job["id"]}"' in told[-1]
        states = (await page.project())["objects"][0]["states"]
        assert states[-1] == [1, 11, "tracked"]
        Failing.at = -1
        assert (await page.track())[-1] == [1, 29, "tracked"]

    run_on_page(tmp_path, work, recipe="helpers.web_trackers:Failing")


def test_a_full_disk_stops_a_job_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(page: Page) -> None:
        await page.click()
        found = page.workspace.find(page.id)
        real, calls = found.project.store.add, []

        def full(results: Any) -> None:
            calls.append(1)
            if len(calls) > 5:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(results)

        monkeypatch.setattr(found.project.store, "add", full)
        await page.post("/jobs", {"from": 0})
        await page.until(page.project, lambda p: not p["jobs"])
        told = [data for _, name, data in found.events._kept if name == "job"]
        assert "free some space and begin again" in told[-1]
        assert (await page.project())["objects"][0]["states"][-1] == [1, 5, "tracked"]
        monkeypatch.undo()
        assert (await page.track())[-1] == [1, 29, "tracked"]

    run_on_page(tmp_path, work)


def test_of_many_previews_only_the_newest_that_waits_is_computed(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        bodies = [{"frame": 0, "points": [[8 + n, 20, 1]]} for n in range(8)]
        replies = await asyncio.gather(*(page.post("/preview", body) for body in bodies))
        codes = [reply.status_code for reply in replies]
        assert codes[-1] == 200
        assert codes.count(429) >= 5

    run_on_page(tmp_path, work)


def test_too_many_jobs_are_refused(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.click()
        codes = [(await page.post("/jobs", {"from": 0})).status_code for _ in range(12)]
        assert 400 in codes
        await page.until(page.project, lambda p: not p["jobs"])

    run_on_page(tmp_path, work, recipe="helpers.web_trackers:Slow")


class FakeProject:
    """What `EarlyStop` reads of a project whose frames are all stale."""

    def __init__(self, cuts: tuple[int, ...] = ()) -> None:
        self.cuts, self.size = set(cuts), SIZE
        states = type("States", (), {"base": np.full(200, FrameState.STALE)})
        self.objects = {1: type("Object", (), {"states": states})}


def played(project: Any, changed: range = range(0)) -> int | None:
    """The frame on which tracking frames 1 to 99 again is given up."""
    early = EarlyStop((SpanOrder(Span(1, 1, 99), ()),))
    for frame in range(1, 100):
        runs = b"\x01" + empty_runs((HEIGHT, WIDTH - 1)) if frame in changed else empty_runs(SIZE)
        old = Result(1, frame, 1, 1, 1, 0, (0, 0, 0, 0), 0, empty_runs(SIZE))
        new = Result(1, frame, 2, 1, 1, 0, (0, 0, 0, 0), 0, runs)
        if frame in changed:
            new = Result(1, frame, 2, 1, 1, 9, (0, 0, 3, 3), 0, b"\x00\x09\xf7\x2f")
        if early.is_over(0, new, old, project):
            return frame
    return None


def test_tracking_again_ends_once_the_masks_are_those_of_before() -> None:
    assert played(FakeProject()) == SAME_FRAMES
    assert played(FakeProject(), changed=range(1, 11)) == 10 + SAME_FRAMES


def test_tracking_again_does_not_end_before_a_cut() -> None:
    assert played(FakeProject(cuts=(60,))) == 60 + LEAST_AFTER_CUT


def test_two_empty_masks_are_the_same() -> None:
    assert masks_iou(empty_runs(SIZE), empty_runs(SIZE), SIZE) == 1.0


def test_a_confirmed_shot_gives_its_best_frame_as_a_keyframe(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        await page.click()
        await page.track(to=19)
        await page.edit({"type": "confirm", "object": 1, "from": 5, "to": 9})
        project = page.workspace.find(page.id)
        (order,) = Plan(project, JobBody(), again=False).orders
        assert order.span == Span(1, 20, 29)
        (keyframe,) = order.keyframes
        assert 5 <= keyframe.frame <= 9
        assert [anchor.frame for anchor in order.anchors] == [0, 9]

    run_on_page(tmp_path, work)


def test_a_prompt_on_a_frame_that_the_tracker_does_not_know_yet_waits_for_it(
    tmp_path: Path,
) -> None:
    async def work(page: Page) -> None:
        project = page.workspace.find(page.id)
        whole = project.source
        short = copy(whole)
        short.info = replace(whole.info, frames=5)  # type: ignore[union-attr]
        page.workspace.tracking.tracker._sources[page.id] = short  # type: ignore[assignment]
        edit = {"type": "prompt", "object": 1, "frame": 9, "points": [[28, 20, 1]]}
        assert (await page.edit(edit)).status_code == 200
        early = await page.post("/preview", {"frame": 9, "points": [[28, 20, 1]]})
        assert early.status_code == 503
        assert len(project.project.unsolved()) == 1
        page.workspace.tracking.knows_frames(project, whole)  # type: ignore[arg-type]
        await page.until(lambda: page.get("/masks/9"), lambda r: bool(r.content))

    run_on_page(tmp_path, work)


def test_a_mask_is_shown_before_it_is_refined_and_tracking_waits_for_the_latter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    solve = TrackedVideo.solve

    def watched(video: TrackedVideo, request: Solve) -> Result:
        asked.append(request.refine)
        found = solve(video, request)
        return found if request.refine else replace(found, score=0.25)

    monkeypatch.setattr(TrackedVideo, "solve", watched)

    async def work(page: Page) -> None:
        await page.click()
        frames = [d for _, n, d in page.workspace.find(page.id).events._kept if n == "frame"]
        assert asked == [False, True]
        assert len(frames) == 2
        assert '"score":0.25' in frames[0]
        assert '"score":0.25' not in frames[1]

    run_on_page(tmp_path, work)
