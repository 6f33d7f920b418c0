"""Archives for the evaluation servers of the benchmarks, checked before they are written."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segment_concept.datasets.findings import listed
from segment_concept.datasets.masks import SUFFIX, read_labels
from segment_concept.datasets.survey import picture_size
from segment_concept.datasets.types import Benchmark, Dataset, VideoEntry
from segment_concept.evaluate.first_masks import first_masks
from segment_concept.runtime.files import disk_errors, unfinished_name
from segment_concept.types import InputError, OutputError

# Folder of the videos inside the archive, as in the published scripts of Cutie and XMem:
# YouTube-VOS and LVOS under Annotations, MOSE at the top.
_TOP = {
    Benchmark.YOUTUBE_VOS_2018: "Annotations/",
    Benchmark.YOUTUBE_VOS_2019: "Annotations/",
    Benchmark.MOSE: "",
    Benchmark.MOSE2: "",
    Benchmark.LVOS1: "Annotations/",
    Benchmark.LVOS2: "Annotations/",
}
_SHOWN = 10
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time, so that equal runs produce equal archives


@dataclass(frozen=True, slots=True)
class _Entry:
    """One mask of the archive."""

    name: str
    path: Path


def write_submission(dataset: Dataset, masks: Path, target: Path) -> None:
    """Check a dataset's predictions and pack them for its evaluation server.

    Every image of every video needs a palette PNG of the same size, with no object ids other
    than the prompted ones.

    Raises:
        InputError: the benchmark has no such server, or masks are missing or wrong; the message
            lists the problems.
        OutputError: the archive cannot be written.
    """
    if dataset.benchmark not in _TOP:
        raise InputError(
            f"{dataset.benchmark.value} has no evaluation server for archives (supported: "
            f"{', '.join(b.value for b in _TOP)}): use `segment-concept score` instead"
        )
    problems = [problem for video in dataset.videos for problem in _problems(dataset, video, masks)]
    if problems:
        lines = [f"  - {problem}" for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            lines.append(f"  - and {len(problems) - _SHOWN} more")
        raise InputError("\n".join(["the server would reject these predictions:", *lines]))
    _pack(list(_entries(dataset, masks)), target)


def _problems(dataset: Dataset, video: VideoEntry, masks: Path) -> Iterator[str]:
    folder = masks / video.name
    if not folder.is_dir():
        yield f"video {video.name} has no predictions"
        return
    missing = [p.stem for p in video.pictures if not (folder / (p.stem + SUFFIX)).is_file()]
    if missing:
        yield f"video {video.name} has no masks for {listed(missing)}"
        return
    allowed = {0, *(shown.object_id for shown in first_masks(video, dataset.benchmark))}
    size = picture_size(video.pictures[0]) if video.pictures else None
    for picture in video.pictures:
        problem = _problem(folder / (picture.stem + SUFFIX), size, allowed)
        if problem:
            yield problem


def _problem(path: Path, size: tuple[int, int] | None, allowed: set[int]) -> str:
    try:
        labels = read_labels(path)
        with Image.open(path) as image:
            mode = image.mode
    except (InputError, OSError) as error:
        return str(error)
    if mode != "P":
        return f"{path} has mode {mode}, but the server needs palette PNG files (mode P)"
    if size is not None and labels.shape != size:
        return (
            f"{path} is {labels.shape[1]}x{labels.shape[0]}, but the video is {size[1]}x{size[0]}"
        )
    unknown = sorted(set(np.unique(labels).tolist()) - allowed)
    return f"{path} has unknown ids: {listed([str(i) for i in unknown])}" if unknown else ""


def _entries(dataset: Dataset, masks: Path) -> Iterator[_Entry]:
    top = _TOP[dataset.benchmark]
    for video in sorted(dataset.videos, key=lambda v: v.name):
        for picture in video.pictures:
            name = f"{video.name}/{picture.stem}{SUFFIX}"
            yield _Entry(top + name, masks / name)


def _pack(entries: list[_Entry], target: Path) -> None:
    partial = target.with_name(unfinished_name(target.name))
    try:
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
                for entry in entries:
                    info = zipfile.ZipInfo(entry.name, _EPOCH)
                    info.compress_type = zipfile.ZIP_DEFLATED
                    info.external_attr = 0o644 << 16
                    archive.writestr(info, entry.path.read_bytes())
            partial.replace(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
