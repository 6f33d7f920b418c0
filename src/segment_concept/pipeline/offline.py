"""Offline mode: a video is played more than once, and every frame is decided by all of it.

    shots are found -> the objects are tracked -> keyframes are chosen from the whole video
    -> tracked forwards and backwards, recognised from all keyframes
    -> what most of the passes see is written

What a pass finds goes to disk as run-length masks and scores. No frame is kept: they are decoded
again in every pass, but for the keyframes, of which a session holds a few.
"""

import json
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from segment_concept.ops.color import appearance
from segment_concept.ops.rle import decode_rle
from segment_concept.pipeline.journal import FrameRecord, JournalIndex, ObjectRecord
from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.pipeline.results import TrackSummary, read_summary
from segment_concept.pipeline.run_folder import OutputFolder, open_output_folder
from segment_concept.pipeline.schedule import Direction, Pass, PlaybackSchedule
from segment_concept.pipeline.track import Run, RunMonitor, TrackJob, check_job, request_of
from segment_concept.pipeline.voting import FusedTracker
from segment_concept.runtime.background import read_ahead
from segment_concept.runtime.files import write_atomic
from segment_concept.tracking.api import VideoTracker
from segment_concept.tracking.offline import (
    LEAST_AREA,
    KeyframeCandidate,
    Offline,
    Shots,
    choose_keyframes,
    confidence,
    with_fixed_keyframes,
    with_queries_at,
)
from segment_concept.tracking.session import Tracker
from segment_concept.types import Bitmap, Frame, FrameResult, InputError, Mask, ObjectId, Prompt
from segment_concept.video.source import VideoSource, read_frame

ShotFinder = Callable[[Iterable[Frame]], Sequence[int]]
"""The first frames of the shots of a video; it may read the frames, or know them already."""

Prompts = Mapping[int, Mapping[ObjectId, Prompt]]  # by frame

_STAGES = 6  # each goes through the video once, or nearly so


@dataclass(frozen=True, slots=True)
class TwoPasses:
    """How to go about it, and who finds the shots (`data.shots.first_frames`, or another)."""

    find_shots: ShotFinder
    offline: Offline = field(default_factory=Offline)


class _StoppedError(Exception):
    """The run was asked to stop; everything that was found is on disk."""


def check_offline(job: TrackJob) -> PlaybackSchedule:
    """What the first pass will play. Changes nothing.

    Raises:
        InputError: the video is live, only one direction is wanted, or as `check_job`.
    """
    if job.source.info.live:
        raise InputError(
            f"{job.source.name} is live, and offline mode plays a video more than once: record it "
            "first, or track it without offline mode"
        )
    if job.direction is not Direction.BOTH:
        raise InputError(
            "offline mode looks in both directions from where objects are shown, and "
            f"{job.direction.value} alone was asked for: leave the direction out"
        )
    return check_job(job)


def run_offline(
    job: TrackJob, tracker: VideoTracker, how: TwoPasses, watch: RunMonitor | None = None
) -> TrackSummary:
    """Do the job in two passes. A run that was stopped by `watch` is kept and can be resumed.

    A matte's edges are hard: of every pass only the masks are kept.

    Raises:
        InputError: as `check_offline`, or the output folder cannot be used.
        OutputError: the disk is full or read-only; what was written is kept.
    """
    plan, began, watch = check_offline(job), time.monotonic(), watch or RunMonitor()
    request = request_of(job)
    with open_output_folder(job.out, job.if_exists) as folder:
        before = folder.finished_result(request)
        if before is not None:
            return read_summary(job.out, before)
        checkpoint = folder.load(request)
        folder.begin(request)
        passes = _Passes(job, tracker, how, plan, folder.state, watch)
        try:
            found = passes.play()
        except InputError:
            folder.abandoned = not passes.any_found
            raise
        except _StoppedError:
            took = time.monotonic() - began
            return TrackSummary(job.out, False, 0, took, 0, {}, (), ())
        told = replace(job, provenance={**job.provenance, "offline": found.described})
        whole = PlaybackSchedule({}, (Pass(0, backwards=False, prompting=False),))
        run = Run(told, whole, found.masks, folder, passes.stage_watch(_STAGES - 1), checkpoint)
        return replace(run.play(request), seconds=time.monotonic() - began)


def track_offline(
    source: VideoSource,
    prompts: Prompts,
    tracker: VideoTracker,
    how: TwoPasses,
) -> Iterator[FrameResult]:
    """Every frame of a video as two passes see it, in order, once both are done.

    Masks are final: logits are far above or below 0, and nothing between. Records are kept in a
    temporary folder, which is removed when the iterator is exhausted or closed.

    Args:
        source: the video; it is read several times.
        prompts: how objects are shown, by frame.
        tracker: any; its sessions are used as they come.
        how: who finds the shots, and how keyframes are chosen.

    Raises:
        InputError: as `check_offline`.
    """
    shown = tuple(
        TimedPrompt(i, prompt, at) for at, each in prompts.items() for i, prompt in each.items()
    )
    with TemporaryDirectory(prefix="segment-concept-") as place:
        job = TrackJob(source, shown, Path(place) / "out", save=frozenset())
        plan = check_offline(job)
        found = _Passes(job, tracker, how, plan, Path(place), RunMonitor()).play()
        yield from found.masks.session().track(source.frames())


@dataclass(frozen=True, slots=True)
class _Found:
    """What the two passes came to."""

    masks: FusedTracker
    keyframes: Mapping[ObjectId, Sequence[int]]

    @property
    def described(self) -> Mapping[str, object]:
        """For `result.json`."""
        return {"shots": list(self.masks.shots.starts), "keyframes": self.keyframes}


@dataclass(frozen=True, slots=True)
class _Passes:
    """All but the last stage of a run, each found on disk if it was done before."""

    job: TrackJob
    tracker: VideoTracker
    how: TwoPasses
    plan: PlaybackSchedule  # of the first pass
    state: Path  # a folder of its own
    watch: RunMonitor

    def play(self) -> _Found:
        """To the end. Raises _StoppedError."""
        starts = self._kept("shots", self._find_shots)["starts"]
        online = with_queries_at(self.tracker, frozenset(starts))
        first = self._pass(1, "first", self.plan, online)
        shots = Shots.of(starts, len(first))
        kept = self._kept("keyframes", lambda: self._choose(first, shots))
        keyframes = {ObjectId(i): frames for i, frames in kept.items()}
        seeds = self._seeds(first, keyframes)
        forward, backward = (self._again(seeds, shots, backwards=b) for b in (False, True))
        return _Found(
            FusedTracker(first, forward, backward, shots, _known(seeds, shots)), keyframes
        )

    @property
    def any_found(self) -> bool:
        """Was any frame tracked yet?"""
        return any(p.stat().st_size for p in self.state.glob("*/*/frames.jsonl"))

    def stage_watch(self, number: int) -> RunMonitor:
        """The watch of one stage of several that are about equally long."""
        length = self.job.source.info.frames

        def on_frame(done: int, total: int | None) -> None:
            if length is None:
                self.watch.on_frame(done, None)
            else:
                share = done / max(total or length, 1)
                self.watch.on_frame(round((number + min(share, 1)) * length), _STAGES * length)

        return replace(self.watch, on_frame=on_frame)

    def _frames(self, number: int) -> Iterator[Frame]:
        """The video, decoded once more. Raises _StoppedError."""
        watch = self.stage_watch(number)
        with closing(read_ahead(self.job.source.frames())) as frames:
            for done, frame in enumerate(frames, start=1):
                if self.watch.should_stop():
                    raise _StoppedError
                yield frame
                watch.on_frame(done, None)

    def _kept(
        self, name: str, make: Callable[[], Mapping[str, list[int]]]
    ) -> Mapping[str, list[int]]:
        """What was made, by this run or by the one that it goes on with."""
        path = self.state / f"{name}.json"
        if not path.exists():
            write_atomic(path, json.dumps(make()).encode())
        kept: Mapping[str, list[int]] = json.loads(path.read_text())
        return kept

    def _pass(
        self, number: int, name: str, plan: PlaybackSchedule, tracker: VideoTracker
    ) -> JournalIndex:
        """Play the video once, as the plan says. Raises _StoppedError."""
        folder, request = OutputFolder(self.state / name), request_of(self.job)
        done = folder.path / "done"
        if not done.exists():
            folder.state.mkdir(parents=True, exist_ok=True)
            checkpoint = folder.load(request)
            folder.begin(request)
            job = replace(self.job, out=folder.path, save=frozenset())
            run = Run(job, plan, tracker, folder, self.stage_watch(number), checkpoint)
            if not run.record():
                raise _StoppedError
            write_atomic(done, b"")
        return JournalIndex(folder.state / "frames.jsonl")

    def _again(self, seeds: Prompts, shots: Shots, *, backwards: bool) -> JournalIndex:
        """One direction of the second pass. Raises _StoppedError."""
        entered = with_queries_at(self.tracker, frozenset(shots.starts[1:]))
        plan = _second(seeds, self.tracker, backwards=backwards)
        number, name = (4, "backward") if backwards else (3, "forward")
        return self._pass(number, name, plan, with_fixed_keyframes(entered))

    def _find_shots(self) -> Mapping[str, list[int]]:
        return {"starts": [int(index) for index in self.how.find_shots(self._frames(0))]}

    def _choose(self, first: JournalIndex, shots: Shots) -> Mapping[str, list[int]]:
        """The keyframes of every object, beside the frames on which it was shown."""
        candidates = _candidates(first, shots, self.how.offline)
        shown = {(index, i) for index, prompts in self.plan.prompts_at.items() for i in prompts}
        views: dict[tuple[ObjectId, bool], list[KeyframeCandidate]] = {}
        for frame in self._frames(2):
            for sighting in first.record(frame.index).objects if frame.index in first else ():
                key = frame.index, ObjectId(sighting.id)
                if sighting.area and (key in candidates or key in shown):
                    view = _view(frame, sighting, shots)
                    views.setdefault((key[1], key in shown), []).append(view)
        chosen = {}
        for object_id in dict.fromkeys(
            i for prompts in self.plan.prompts_at.values() for i in prompts
        ):
            own, given = views.get((object_id, False), ()), views.get((object_id, True), ())
            confirmed = self._confirmation(first, object_id)
            added = choose_keyframes(own, given, self.how.offline.keyframes, confirmed)
            chosen[str(object_id)] = sorted(view.frame_index for view in added)
        return chosen

    def _confirmation(
        self, first: JournalIndex, object_id: ObjectId
    ) -> Callable[[KeyframeCandidate], bool]:
        """Does a view lead back to what was shown, and so show the same object?"""
        home = read_frame(self.job.source, self.plan.first_shown(object_id))
        shown = _mask(first.record(home.index), object_id)

        def min_backtrack_iou(view: KeyframeCandidate) -> bool:
            if self.watch.should_stop():
                raise _StoppedError
            mask = _mask(first.record(view.frame_index), object_id)
            if shown is None or mask is None:
                return False
            session = self.tracker.session()
            session.prompt(read_frame(self.job.source, view.frame_index), {object_id: mask})
            found = session.step(home).mask(object_id)
            return _overlap(found, shown.bitmap) >= self.how.offline.min_backtrack_iou

        return min_backtrack_iou

    def _seeds(self, first: JournalIndex, keyframes: Mapping[ObjectId, Sequence[int]]) -> Prompts:
        """All frames on which objects are known, with their masks.

        What was shown by a box or by clicks is shown by what came of it: a click that corrected
        a mask says nothing without that mask.
        """
        seeds: dict[int, dict[ObjectId, Prompt]] = {}
        for index, prompts in self.plan.prompts_at.items():
            record = first.record(index)
            found = {i: p if isinstance(p, Mask) else _mask(record, i) for i, p in prompts.items()}
            seeds[index] = {i: found[i] or p for i, p in prompts.items()}
        for object_id, frames in keyframes.items():
            for index in frames:
                mask = _mask(first.record(index), object_id)
                assert mask is not None, "a keyframe's mask is not empty"
                seeds.setdefault(index, {})[object_id] = mask
        return seeds


def _second(seeds: Prompts, tracker: VideoTracker, *, backwards: bool) -> PlaybackSchedule:
    """The video played from the outermost frame on which an object is known.

    A tracker of SAM 2's kind never forgets what it was shown, whenever that was: it sees all
    keyframes beforehand, in the order of the video, as the concept encoder is used to. Others
    take what they are shown as the newest they know, and see keyframes on the way.
    """
    begin = max(seeds) if backwards else min(seeds)
    if isinstance(tracker, Tracker):
        known = tuple((index, seeds[index]) for index in sorted(seeds))
        return PlaybackSchedule({}, (Pass(begin, backwards, prompting=False),), known)
    return PlaybackSchedule(seeds, (Pass(begin, backwards, prompting=True),))


def _known(seeds: Prompts, shots: Shots) -> Mapping[int, frozenset[ObjectId]]:
    """The objects of which each shot holds a frame that was shown, or a keyframe."""
    known: dict[int, frozenset[ObjectId]] = {}
    for index, prompts in seeds.items():
        shot = shots.on(index)
        known[shot] = known.get(shot, frozenset()) | frozenset(prompts)
    return known


def _candidates(first: JournalIndex, shots: Shots, how: Offline) -> set[tuple[int, ObjectId]]:
    """Of every stretch of every shot the frame on which an object was tracked most surely."""
    areas: dict[int, array[int]] = {}
    for record in first:
        for seen in record.objects:
            if seen.area:
                areas.setdefault(seen.id, array("q")).append(seen.area)
    least = {i: LEAST_AREA * median(each) for i, each in areas.items()}
    best: dict[tuple[int, int, int], tuple[float, int]] = {}
    for record in first:
        for seen in record.objects:
            if not seen.area or seen.area < least[seen.id]:
                continue
            if seen.presence <= how.min_presence or seen.quality <= how.min_quality:
                continue
            stretch = (seen.id, *shots.stretch(record.frame, how.keyframes))
            here = (_confidence(seen), record.frame)
            best[stretch] = max(best.get(stretch, here), here)
    return {(frame, ObjectId(key[0])) for key, (_, frame) in best.items()}


def _confidence(sighting: ObjectRecord) -> float:
    return confidence(sighting.presence, sighting.quality)


def _view(frame: Frame, sighting: ObjectRecord, shots: Shots) -> KeyframeCandidate:
    looks = appearance(frame.rgb, decode_rle(sighting.counts, frame.size))
    return KeyframeCandidate(frame.index, shots.on(frame.index), _confidence(sighting), looks)


def _overlap(a: Bitmap, b: Bitmap) -> float:
    """IoU; b is not empty."""
    return float(np.count_nonzero(a & b) / np.count_nonzero(a | b))


def _mask(record: FrameRecord, object_id: ObjectId) -> Mask | None:
    """An object's mask on a frame; None where it is empty."""
    found = next(s for s in record.objects if s.id == object_id)
    return Mask(decode_rle(found.counts, record.size)) if found.area else None
