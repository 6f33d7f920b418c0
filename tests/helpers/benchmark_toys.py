"""A tracker one can check by hand, without any network, and a tiny dataset for it.

An object is whatever has the mean color of its mask. Nothing here loads torch, so that a worker
starts at once.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NOTHING: Mapping[int, Any] = MappingProxyType({})
SIZE = (24, 32)  # (H, W)
COLORS = ((0, 0, 0), (220, 30, 30), (30, 220, 30), (40, 60, 230))
NEAR = 60  # summed difference of R, G, B up to which a pixel is the object's


class Numbers:
    """Just enough of a tensor."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self.values = values

    def cpu(self) -> "Numbers":
        return self

    def numpy(self) -> NDArray[np.float32]:
        return self.values


@dataclass(frozen=True)
class Result:
    """Just enough of a FrameResult."""

    object_ids: tuple[int, ...]
    logits: Numbers
    concept_queried: bool = False

    def mask(self, object_id: int) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.logits.values[self.object_ids.index(object_id)] > 0
        return found

    def label_map(self) -> NDArray[np.int32]:
        best = self.logits.values.max(axis=0)
        ids = np.array(self.object_ids, np.int32)
        labels: NDArray[np.int32] = np.where(best > 0, ids[self.logits.values.argmax(axis=0)], 0)
        return labels.astype(np.int32)


@dataclass
class ColorSession:
    """Finds each object by its color."""

    seconds_a_frame: float = 0.0
    colors: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    def prompt(self, frame: Any, prompts: Mapping[int, Any]) -> Result:
        for object_id, mask in prompts.items():
            self.colors[object_id] = frame.rgb[mask.bitmap].mean(axis=0)
        return self._look(frame, tuple(prompts))

    def step(self, frame: Any, prompts: Mapping[int, Any] = NOTHING) -> Result:
        if not self.colors:
            return self.prompt(frame, prompts)
        time.sleep(self.seconds_a_frame)
        if prompts:
            self.prompt(frame, prompts)
        return self._look(frame, tuple(self.colors))

    def track(self, frames: Any, prompts: Mapping[int, Any] = NOTHING, prefetch: int = 0) -> Any:
        for frame in frames:
            yield self.step(frame, prompts.get(frame.index, {}))

    def _look(self, frame: Any, ids: tuple[int, ...]) -> Result:
        away = [np.abs(frame.rgb - self.colors[i]).sum(axis=2) for i in ids]
        return Result(ids, Numbers((NEAR - np.stack(away)).astype(np.float32)), frame.index == 2)


@dataclass(frozen=True)
class ColorTracker:
    """Implements `VideoTracker`."""

    seconds_a_frame: float = 0.0

    def session(self) -> ColorSession:
        return ColorSession(self.seconds_a_frame)


def color() -> ColorTracker:
    return ColorTracker()


def slow_color() -> ColorTracker:
    """Slow enough to be killed in the middle of a video."""
    return ColorTracker(0.02)


class LosingFirst(ColorTracker):
    """Never finds object 1: a second tracker to compare with."""

    def session(self) -> Any:
        class Session(ColorSession):
            def _look(self, frame: Any, ids: tuple[int, ...]) -> Result:
                found = super()._look(frame, ids)
                values = found.logits.values.copy()
                values[[i == 1 for i in ids]] = -1
                return Result(ids, Numbers(values))

        return Session()


def losing_first() -> LosingFirst:
    return LosingFirst()


class Deadly(ColorTracker):
    """Kills its process on the first try of every video whose second frame is darkened."""

    def session(self) -> Any:
        class Session(ColorSession):
            def step(self, frame: Any, prompts: Mapping[int, Any] = NOTHING) -> Result:
                _die_once(frame.rgb)
                return super().step(frame, prompts)

        return Session()


def deadly() -> Deadly:
    return Deadly()


def _die_once(rgb: NDArray[np.uint8]) -> None:
    """Where the environment names a folder: once, or always if it holds a file `always`."""
    folder = Path(os.environ["TOY_DEATHS"])
    if tuple(rgb[0, 0]) < (200, 200, 200):
        return
    note = folder / "died"
    if (folder / "always").exists() or not note.exists():
        note.write_text("x")
        os.kill(os.getpid(), 9)


@dataclass(frozen=True)
class Clip:
    """A video: ids on each frame; object i is a square in row i that moves to the right."""

    name: str
    ids: tuple[tuple[int, ...], ...]
    deadly: bool = False


def labels(frame: int, ids: tuple[int, ...]) -> NDArray[np.uint8]:
    found = np.zeros(SIZE, np.uint8)
    for i in ids:
        left = (2 * frame + 3 * i) % (SIZE[1] - 6)
        found[7 * i - 5 : 7 * i, left : left + 5] = i
    return found


def picture(frame: int, clip: Clip) -> NDArray[np.uint8]:
    rgb = np.array(COLORS, np.uint8)[labels(frame, clip.ids[frame])]
    if clip.deadly and frame == 1:
        rgb[0, 0] = 255
    return rgb


TOGETHER = (1, 2)
CLIPS = (
    Clip("apples", (TOGETHER,) * 6),
    Clip("birds", (TOGETHER, TOGETHER, (1,), (1,), TOGETHER, TOGETHER, TOGETHER)),
    Clip("cats", ((1,),) * 5),
    Clip("dogs", ((1, 2, 3),) * 4),
)


def save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def davis(root: Path, clips: tuple[Clip, ...] = CLIPS) -> Path:
    """The clips laid out as DAVIS 2017, with pictures that are lossless."""
    for clip in clips:
        for i, ids in enumerate(clip.ids):
            save(root / f"Annotations/480p/{clip.name}/{i:05d}.png", labels(i, ids))
            save(root / f"JPEGImages/480p/{clip.name}/{i:05d}.png", picture(i, clip))
    sets = root / "ImageSets/2017"
    sets.mkdir(parents=True)
    (sets / "val.txt").write_text("".join(f"{clip.name}\n" for clip in clips))
    return root


def files_of(run: Path) -> dict[str, bytes]:
    """All that must be the same in two runs for the same thing."""
    chosen = ("manifest.json", "scores.json", "scores.csv", "masks", "videos")
    return {
        str(path.relative_to(run)): path.read_bytes()
        for name in chosen
        for path in sorted((run / name).rglob("*") if (run / name).is_dir() else [run / name])
        if path.is_file()
    }
