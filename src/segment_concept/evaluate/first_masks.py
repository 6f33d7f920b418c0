"""Prompts of a benchmark: the first mask of each object."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from segment_concept.datasets.masks import Labels, Layer
from segment_concept.datasets.types import Benchmark, Dataset, VideoEntry
from segment_concept.types import Bitmap, InputError, ObjectId

_FIRST_FRAME_ONLY = (Benchmark.DAVIS2016, Benchmark.DAVIS2017)  # objects do not appear later
_VOID = 255  # in DAVIS: pixels that belong to nothing in particular


@dataclass(frozen=True, slots=True, eq=False)
class FirstMask:
    """The first mask of an object, and the frame it is on."""

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
    found = tuple(
        shown
        for place, layer in enumerate(video.layers)
        for shown in (
            _of_object(layer, place) if layer.object_name else _of_labels(video, benchmark, place)
        )
    )
    if not found:
        raise InputError(f"video {video.name}: no mask has an object, so nothing can be tracked")
    return found


def _of_object(layer: Layer, place: int) -> Iterator[FirstMask]:
    for frame in layer.frames:
        mask = layer.read(frame) != 0
        if mask.any():
            yield FirstMask(place + 1, place, frame, mask)
            return


def _of_labels(video: VideoEntry, benchmark: Benchmark, place: int) -> Iterator[FirstMask]:
    layer = video.layers[place]
    frames = layer.frames[:1] if benchmark in _FIRST_FRAME_ONLY else layer.frames
    starts = {int(o.name): (o.frames[0] if o.frames else "") for o in video.objects}
    seen: set[int] = set()
    for frame in frames:
        labels = layer.read(frame)
        for object_id in _ids(labels, benchmark):
            wanted = not starts or (object_id in starts and frame >= starts[object_id])
            if wanted and object_id not in seen:
                seen.add(object_id)
                yield FirstMask(object_id, place, frame, labels == object_id)
        if starts and seen == starts.keys():
            return


def _ids(labels: Labels, benchmark: Benchmark) -> list[int]:
    ids = np.flatnonzero(np.bincount(labels.ravel())).tolist()
    void = _VOID if benchmark is Benchmark.DAVIS2017 else 0
    return [int(object_id) for object_id in ids if object_id not in (0, void)]
