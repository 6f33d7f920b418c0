"""Prepare SA-V for training: extract annotated frames, and count cuts."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import cv2

from segment_concept.checkpoints.transnet import load_transnet
from segment_concept.datasets.masklets import ROW_STEP
from segment_concept.datasets.sav import PICTURE, SavReader, SavVideo
from segment_concept.pipeline.triggers import ANYWHERE
from segment_concept.runtime.files import disk_errors, unfinished_name, write_atomic
from segment_concept.shots.adaptive import find_cuts
from segment_concept.shots.transnet import learned_cuts
from segment_concept.tracking.triggers.base import Trigger, TriggerContext
from segment_concept.types import Frame, Image, InputError

Result = TypeVar("Result")
Tell = Callable[[int, int | None], None]  # done, of how many

QUALITY = 95  # of JPEG files, as OpenCV's default, with which SeC's frames were extracted
_TRIGGERS = ("published", "fast")
SCENEDETECT, TRANSNET = "scenedetect", "transnet"
DETECTORS = (*_TRIGGERS, SCENEDETECT, TRANSNET)


@dataclass(frozen=True, slots=True)
class Failure:
    """A video that could not be used, and why."""

    name: str
    why: str


def extract_frames(video: SavVideo, out: Path) -> Failure | None:
    """Write the annotated frames of a video to `out/<video>/%05d.jpg`, all or none.

    Raises:
        OutputError: they cannot be written.
    """
    final = out / video.name
    if final.is_dir():
        return None
    unfinished = out / unfinished_name(video.name)
    reader = SavReader(kept=0)
    with disk_errors(out):
        unfinished.mkdir(parents=True)
        try:
            indices = [row * ROW_STEP for row in range(len(reader.masklets(video).rows))]
            number = 0
            for number, rgb in enumerate(reader.each(video, indices), start=1):
                _write_picture(unfinished / f"{indices[number - 1]:05d}{PICTURE}", rgb)
            if number < len(indices):
                raise InputError(f"{video.movie}: only {number} of {len(indices)} frames are whole")
            unfinished.replace(final)
        except InputError as error:
            return Failure(video.name, str(error))
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return None


def _write_picture(path: Path, rgb: Image) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    _, data = cv2.imencode(PICTURE, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    path.write_bytes(data.tobytes())


def extract_all(videos: Sequence[SavVideo], out: Path, workers: int, tell: Tell) -> list[Failure]:
    """Extract the frames of videos, on several processes; what is there is left as it is.

    Returns the videos that cannot be read.

    Raises:
        OutputError: frames cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    jobs = {video.name: partial(extract_frames, video, out) for video in videos}
    return [failure for _, failure in _done(jobs, workers, tell) if failure is not None]


def count_cuts(video: SavVideo, detector: str) -> int | Failure:
    """The number of cuts between annotated frames of a video, by one of `DETECTORS`."""
    reader = SavReader(kept=0)
    try:
        rows = range(len(reader.masklets(video).rows))
        frames = reader.each(video, [row * ROW_STEP for row in rows])
        return sum(1 for _ in _cuts(frames, detector))
    except InputError as error:
        return Failure(video.name, str(error))


def _cuts(frames: Iterator[Image], detector: str) -> Iterable[int]:
    if detector == SCENEDETECT:
        return find_cuts(frames)
    numbered = (Frame(index, rgb) for index, rgb in enumerate(frames))
    if detector == TRANSNET:
        return learned_cuts(numbered, load_transnet("cpu"))
    return _fired(numbered, ANYWHERE[detector]())


def _fired(frames: Iterable[Frame], trigger: Trigger) -> Iterator[int]:
    """The frames on which a trigger sees a cut."""
    before = None
    state: tuple[object, ...] = ()
    for frame in frames:
        now = trigger.describe(frame)
        if before is not None:
            context = TriggerContext(frame.index, before, now, 1, frame.index - 1, state=state)
            decision = trigger.decide(context)
            state = decision.state
            if decision.cut:
                yield frame.index
        before = now


def list_scenes(
    videos: Sequence[SavVideo], out: Path, detector: str, top: int, workers: int, tell: Tell
) -> list[Failure]:
    """Write the names of the `top` videos with the most cuts to `out`, the most first.

    Counts are kept in `OUT.counts`, from which an interrupted run goes on. Returns the videos that
    cannot be read.

    Raises:
        InputError: the detector is unknown, or the counts in `OUT.counts` are another's.
        OutputError: the list cannot be written.
    """
    if detector not in DETECTORS:
        raise InputError(f"there is no detector {detector!r}: expected {', '.join(DETECTORS)}")
    path = out.with_name(f"{out.name}.counts")
    counts = _read_counts(path, detector)
    left = {v.name: partial(count_cuts, v, detector) for v in videos if v.name not in counts}
    failures = []
    with disk_errors(path), path.open("a", encoding="utf-8") as file:
        if not counts and path.stat().st_size == 0:
            file.write(f"# {detector}\n")
        for name, found in _done(left, workers, tell):
            if isinstance(found, Failure):
                failures.append(found)
                continue
            counts[name] = found
            file.write(f"{name} {found}\n")
            file.flush()
    names = {video.name for video in videos}
    ordered = sorted(counts.keys() & names, key=lambda name: (-counts[name], name))
    with disk_errors(out):
        write_atomic(out, "".join(f"{name}\n" for name in ordered[:top]))
    return failures


def _read_counts(path: Path, detector: str) -> dict[str, int]:
    if not path.is_file():
        return {}
    first, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    if first and first != f"# {detector}":
        raise InputError(
            f"{path} has counts of the detector {first.removeprefix('# ')}: give the same "
            "--detector, or delete the file"
        )
    pairs = (line.rpartition(" ") for line in lines)
    return {name: int(count) for name, _, count in pairs if name and count.isdigit()}


def _done(
    jobs: Mapping[str, Callable[[], Result]], workers: int, tell: Tell
) -> Iterator[tuple[str, Result]]:
    """Results of jobs by name, as they are done."""
    if workers <= 1:
        for number, (name, job) in enumerate(jobs.items(), start=1):
            yield name, job()
            tell(number, len(jobs))
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _single_threaded) as pool:
        futures = {pool.submit(job): name for name, job in jobs.items()}
        for number, future in enumerate(as_completed(futures), start=1):
            yield futures[future], future.result()
            tell(number, len(jobs))


def _single_threaded() -> None:
    cv2.setNumThreads(1)
