"""Prompts of a benchmark: the first mask of each object."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from segment_concept.datasets.masks import Labels, Layer
from segment_concept.datasets.types import Benchmark, Dataset, VideoEntry
from segment_concept.types import Bitmap, InputError, ObjectId

_FIRST_FRAME_ONLY = (Benchmark.DAVIS2016, Benchmark.DAVIS2017)  # objects do not appear later
_VOID = 255  # in DAVIS: unlabeled pixels


@dataclass(frozen=True, slots=True, eq=False)
class FirstMask:
    """The first mask of an object and its frame."""

    object_id: ObjectId
    layer: int  # position in the video's layers
    frame: str  # the frame's name
    bitmap: Bitmap  # (H, W)


def refuse_unpredictable(dataset: Dataset) -> None:
    """Raise InputError if a dataset has no first masks, or no images to track in."""
    if dataset.benchmark is Benchmark.DAVIS2017_UNSUPERVISED:
        raise InputError(
            "the unsupervised task of DAVIS 2017 gives no first masks, so there is nothing to "
            "track: score proposals of another program with `segment-concept score`, or use "
            "--benchmark davis2017"
        )
    if not any(video.pictures or video.movie for video in dataset.videos):
        raise InputError(
            f"{dataset.source.root} has masks but no images to track in: put the dataset's "
            "JPEGImages next to its annotations"
        )


def first_masks(video: VideoEntry, benchmark: Benchmark) -> tuple[FirstMask, ...]:
    """First mask of every object, including objects that appear later if the benchmark has any.

    An object with a layer of its own gets the layer's position, counted from 1, as its id.

    Raises:
        InputError: a mask cannot be read, or no mask has an object.
    """
    masks = tuple(
        mask
        for index, layer in enumerate(video.layers)
        for mask in (
            _of_object(layer, index) if layer.object_name else _of_labels(video, benchmark, index)
        )
    )
    if not masks:
        raise InputError(f"video {video.name}: no mask has an object, so nothing can be tracked")
    return masks


def _of_object(layer: Layer, index: int) -> Iterator[FirstMask]:
    for frame in layer.frames:
        mask = layer.read(frame) != 0
        if mask.any():
            yield FirstMask(index + 1, index, frame, mask)
            return


def _of_labels(video: VideoEntry, benchmark: Benchmark, index: int) -> Iterator[FirstMask]:
    layer = video.layers[index]
    frames = layer.frames[:1] if benchmark in _FIRST_FRAME_ONLY else layer.frames
    starts = {int(o.name): (o.frames[0] if o.frames else "") for o in video.objects}
    found_ids: set[int] = set()
    for frame in frames:
        labels = layer.read(frame)
        for object_id in _ids(labels, benchmark):
            starts_here = not starts or (object_id in starts and frame >= starts[object_id])
            if starts_here and object_id not in found_ids:
                found_ids.add(object_id)
                yield FirstMask(object_id, index, frame, labels == object_id)
        if starts and found_ids == starts.keys():
            return


def _ids(labels: Labels, benchmark: Benchmark) -> list[int]:
    ids = np.flatnonzero(np.bincount(labels.ravel())).tolist()
    void = _VOID if benchmark is Benchmark.DAVIS2017 else 0
    return [int(object_id) for object_id in ids if object_id not in (0, void)]
