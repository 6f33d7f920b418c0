"""Identify a dataset without reading its files."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from segment_concept.datasets.masklets import MaskletLayer
from segment_concept.datasets.masks import PngLayer
from segment_concept.datasets.types import Dataset, VideoEntry


def dataset_fingerprint(dataset: Dataset) -> str:
    """SHA-256, in hexadecimal, of the names and sizes of all images and masks.

    It changes when a file is added, removed or truncated, and not when the dataset is moved.
    """
    digest = hashlib.sha256(f"{dataset.benchmark.value} {dataset.source.split}".encode())
    for video in dataset.videos:
        for kind, path in _files(video):
            size = path.stat().st_size if path.is_file() else -1
            digest.update(f"\0{video.name}\0{kind}\0{path.name}\0{size}".encode())
    return digest.hexdigest()


def _files(video: VideoEntry) -> Iterator[tuple[str, Path]]:
    for picture in video.pictures:
        yield "picture", picture
    if video.movie is not None:
        yield "movie", video.movie
    for layer in video.layers:
        if isinstance(layer, PngLayer):
            for frame in layer.frames:
                yield f"mask {layer.object_name}", Path(layer.where(frame))
        elif isinstance(layer, MaskletLayer):
            yield f"mask {layer.object_name}", layer.path
