"""Annotated sequences from which clips are made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from segment_concept.datasets.masks import read_picture
from segment_concept.datasets.survey import VOID
from segment_concept.datasets.types import Benchmark, Dataset, VideoEntry
from segment_concept.types import Bitmap, Image, InputError
from segment_concept.video.open import open_video

_WITH_VOID = (Benchmark.DAVIS2017, Benchmark.DAVIS2017_UNSUPERVISED)


@dataclass(frozen=True)
class SourceSequence:
    """A sequence: its frames with image and mask, in order."""

    video: VideoEntry
    void: int = 0  # id of void pixels; 0 if there is none

    @property
    def name(self) -> str:
        """Name of the video in the dataset."""
        return self.video.name

    @cached_property
    def frames(self) -> tuple[str, ...]:
        """Names of the frames that have an image and a mask in every layer."""
        if not self.video.layers:
            return ()
        names = set.intersection(*(set(layer.frames) for layer in self.video.layers))
        if self.video.movie is None:
            names &= {path.stem for path in self.video.pictures}
        return tuple(name for name in self.video.layers[0].frames if name in names)

    @cached_property
    def areas(self) -> Mapping[str, tuple[int, ...]]:
        """Pixel count of every object on every frame. Reads all masks.

        Raises:
            InputError: a mask cannot be read.
        """
        rows: dict[str, list[int]] = {}
        for index in range(len(self.frames)):
            for name, mask in self.masks(index).items():
                row = rows.setdefault(name, [0] * len(self.frames))
                row[index] = int(np.count_nonzero(mask))
        return {name: tuple(rows[name]) for name in sorted(rows)}

    @cached_property
    def main_object(self) -> str | None:
        """The object that is visible on the most frames; the largest of several."""

        def prominence(name: str) -> tuple[int, int]:
            return int(np.count_nonzero(self.areas[name])), sum(self.areas[name])

        return max(self.areas, key=prominence, default=None)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(H, W) of its images. Raises InputError if the first is damaged."""
        height, width = next(self._read(0, 1)).shape[:2]
        return height, width

    def masks(self, index: int) -> dict[str, Bitmap]:
        """The (H, W) masks of the objects that are visible on a frame.

        Raises:
            InputError: a mask cannot be read.
        """
        found: dict[str, Bitmap] = {}
        for layer in self.video.layers:
            labels = layer.read(self.frames[index])
            for object_id in np.flatnonzero(np.bincount(labels.ravel())).tolist():
                if object_id not in (0, self.void):
                    mask = np.asarray(labels == object_id, np.bool_)
                    found[layer.object_name or str(object_id)] = mask
        return found

    def pictures(self, first: int, end: int) -> Iterator[Image]:
        """The (H, W, 3) images of `frames[first:end]`.

        Raises:
            InputError: an image is damaged, or differs in size from the first.
        """
        for name, rgb in zip(self.frames[first:end], self._read(first, end), strict=True):
            if rgb.shape[:2] != self.size:
                (h, w), (h0, w0) = rgb.shape[:2], self.size
                raise InputError(
                    f"image {name} of video {self.name} is {w}x{h} and its first is {w0}x{h0}: "
                    "all images of a video must have the same size"
                )
            yield rgb

    def picture(self, index: int) -> Image:
        """A single image."""
        return next(self.pictures(index, index + 1))

    def _read(self, first: int, end: int) -> Iterator[Image]:
        names = self.frames[first:end]
        if self.video.movie is None:
            paths = {path.stem: path for path in self.video.pictures}
            yield from (read_picture(paths[name]) for name in names)
        else:
            yield from self._of_movie([int(name) for name in names])

    def _of_movie(self, indices: list[int]) -> Iterator[Image]:
        missing = set(indices)
        for frame in open_video(str(self.video.movie)).frames(indices[0]):
            if frame.index in missing:
                missing.remove(frame.index)
                yield frame.rgb
            if not missing or frame.index >= indices[-1]:
                break
        if missing:
            raise InputError(
                f"frame {min(missing)} of {self.video.movie} is annotated but cannot be read"
            )


def sequences_of(dataset: Dataset) -> tuple[SourceSequence, ...]:
    """The sequences of a dataset that have images, sorted by name.

    Raises:
        InputError: there are only images, only masks, or only the first masks of objects.
    """
    if not dataset.truth_is_complete:
        raise InputError(
            f"{dataset.source.root} has only the first mask of each object, and clips need masks "
            "on all frames: give another split, or the full masks with --truth"
        )
    void = VOID if dataset.benchmark in _WITH_VOID else 0
    found = tuple(
        SourceSequence(video, void)
        for video in sorted(dataset.videos, key=lambda video: video.name)
    )
    if not any(video.pictures or video.movie for video in dataset.videos):
        raise InputError(
            f"{dataset.source.root} has masks but no images: put the dataset's JPEGImages next to "
            "its annotations"
        )
    usable = tuple(footage for footage in found if footage.frames)
    if not usable:
        raise InputError(
            f"no image of {dataset.source.root} has a mask with the same name: "
            "JPEGImages/VIDEO/00000.jpg belongs to Annotations/VIDEO/00000.png"
        )
    return usable
