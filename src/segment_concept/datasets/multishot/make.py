"""Make clips with cuts and write their folder."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.datasets.multishot.camera import View, clip_size, new_view, whole_view
from segment_concept.datasets.multishot.distractors import (
    DistractorSampler,
    sampler_of,
    sizes_differ,
)
from segment_concept.datasets.multishot.footage import SourceSequence, sequences_of
from segment_concept.datasets.multishot.plan import ClipPlan, MultishotPlan, Shot, make_plan
from segment_concept.datasets.multishot.spec import MultishotSpec, seeded_rng, shuffled
from segment_concept.datasets.types import Dataset
from segment_concept.ops.png import palette_png
from segment_concept.types import Bitmap, Image, InputError

# Segment names of SeCVOS, by number of cuts so far.
_SEGMENTS = ("first_segment", "second_segment", "remain_segments")


@dataclass(frozen=True, slots=True)
class MultishotJob:
    """The clips to make: source, number, and output folder.

    Attributes:
        dataset: with all masks and images.
        out: the folder to write.
        spec: settings of the clips.
        sampler: chooses distractors; None for the categories of the dataset's metadata, or
            appearance if it has none.
        targets: number of sequences, drawn by the seed; None for all.
    """

    dataset: Dataset
    out: Path
    spec: MultishotSpec = field(default_factory=MultishotSpec)
    sampler: DistractorSampler | None = None
    targets: int | None = None


def make_multishot(
    job: MultishotJob, on_frame: Callable[[int, int | None], None] = lambda done, total: None
) -> MultishotPlan:
    """Make clips with cuts in the layout of SeCVOS. Equal jobs write equal bytes.

    JPEGImages/CLIP/00000.jpg, Annotations/CLIP/00000.png (object ids), clips.json (sources of
    each clip), scene_info.json (its segments) and spec.json. The folder is written completely or
    not at all.

    Raises:
        InputError: the dataset lacks masks or images, there are too few or too short sequences, or
            the output folder is not empty.
    """
    refuse_used(job.out)
    footage = sequences_of(job.dataset)
    plan = make_plan(job.spec, footage, _targets(job, footage), job.sampler or sampler_of(footage))
    total, done = sum(clip.frames for clip in plan.clips), 0
    partial = job.out.with_name(f".{job.out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        clips: dict[str, Any] = {}
        for clip in plan.clips:
            cutter = _Cutter(clip, job.spec, partial)
            for shot in clip.shots:
                cutter.cut(shot)
                done += shot.end - shot.first
                on_frame(done, total)
            clips[clip.name] = cutter.description()
        _write(partial / "clips.json", clips)
        _write(partial / "scene_info.json", {c.name: segments(c) for c in plan.clips})
        _write(partial / "spec.json", _provenance(job))
        if job.out.is_dir():
            job.out.rmdir()
        partial.rename(job.out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return plan


def refuse_used(out: Path) -> None:
    """Raises InputError if the output folder is a file or not empty."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: choose a folder for the clips")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is not empty: choose another folder for the clips, or delete it")


def segments(clip: ClipPlan) -> dict[str, list[int]]:
    """First and last frame of the segments before the first cut, up to the second, and after it."""
    bounds = [0, *clip.cuts[:2], clip.frames]
    stretches = [[first, end - 1] for first, end in pairwise(bounds)]
    empty: list[list[int]] = [[]] * (len(_SEGMENTS) - len(stretches))
    return dict(zip(_SEGMENTS, stretches + empty, strict=True))


def _targets(job: MultishotJob, footage: Sequence[SourceSequence]) -> list[SourceSequence]:
    if job.targets is None:
        return list(footage)
    if job.targets < 1:
        raise InputError(f"{job.targets} targets: expected at least 1")
    chosen = shuffled(seeded_rng(job.spec.seed, "targets"), footage)[: job.targets]
    return sorted(chosen, key=lambda f: f.name)


def _provenance(job: MultishotJob) -> dict[str, Any]:
    return {
        "benchmark": job.dataset.benchmark.value,
        "split": job.dataset.source.split,
        "spec": asdict(job.spec),
    }


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


class _Cutter:
    """Writes one clip."""

    def __init__(self, clip: ClipPlan, spec: MultishotSpec, out: Path) -> None:
        self._clip, self._spec = clip, spec
        self._pictures = out / "JPEGImages" / clip.name
        self._masks = out / "Annotations" / clip.name
        self._pictures.mkdir(parents=True)
        self._masks.mkdir(parents=True)
        self._size = clip_size(clip.target.size, spec.short_side)
        self._shots: list[dict[str, Any]] = []
        self._written = 0

    def cut(self, shot: Shot) -> None:
        """Add a shot."""
        view = self._view(shot)
        start = self._written
        pictures = shot.footage.pictures(shot.first, shot.end)
        for index, rgb in zip(range(shot.first, shot.end), pictures, strict=True):
            labels = view.labels(self._targets(shot, index), self._size)
            self._save(view.picture(rgb, self._size), labels)
        self._shots.append(
            {
                "source": shot.footage.name,
                "start": start,
                "end": self._written,
                "absent": shot.absent,
                "frames": [shot.footage.frames[shot.first], shot.footage.frames[shot.end - 1]],
                "view": asdict(view),
            }
        )

    def description(self) -> dict[str, Any]:
        """The clip's entry in clips.json."""
        clip = self._clip
        return {
            "target": clip.target.name,
            "objects": {str(i): name for i, name in enumerate(clip.objects, start=1)},
            "split": clip.split.value,
            "frames": self._written,
            "cuts": clip.cuts,
            "shots": self._shots,
        }

    def _view(self, shot: Shot) -> View:
        source = shot.footage.size
        if not shot.reframed:
            return whole_view(source, self._size)
        rng = seeded_rng(self._spec.seed, self._clip.name, "camera", str(len(self._shots)))
        covered = np.zeros(source, np.bool_)
        for index in range(shot.first, shot.end):
            for mask in self._targets(shot, index):
                covered |= mask
        return new_view(rng, self._spec, source, self._size, covered)

    def _targets(self, shot: Shot, index: int) -> list[Bitmap]:
        """Masks of the clip's objects, in the size of the sequence's images."""
        size = shot.footage.size
        empty = np.zeros(size, np.bool_)
        if shot.absent:
            return [empty] * len(self._clip.objects)
        masks = shot.footage.masks(index)
        for mask in masks.values():
            if mask.shape != size:
                raise InputError(sizes_differ(shot.footage, index, mask.shape, size))
        return [masks.get(name, empty) for name in self._clip.objects]

    def _save(self, rgb: Image, labels: NDArray[np.uint8]) -> None:
        name = f"{self._written:05d}"
        quality = [cv2.IMWRITE_JPEG_QUALITY, self._spec.jpeg_quality]
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)
        (self._pictures / f"{name}.jpg").write_bytes(jpeg.tobytes())
        (self._masks / f"{name}.png").write_bytes(palette_png(labels))
        self._written += 1
