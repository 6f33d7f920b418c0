"""Read every mask of a video once: find visible objects and errors."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from segment_concept.datasets.findings import Finding, error, listed, warning
from segment_concept.datasets.folders import missing_numbers
from segment_concept.datasets.masks import Labels, Layer, PngLayer
from segment_concept.datasets.types import Benchmark, VideoEntry
from segment_concept.runtime.names import is_number
from segment_concept.types import InputError

VOID = 255
_LARGEST_PALETTE_ID = 255


@dataclass(frozen=True, slots=True)
class VideoSurvey:
    """Visibility of objects and findings of one video.

    `visible[name]` has one value per annotated frame of the object's layer: whether the object has
    a pixel on it.
    """

    video: VideoEntry
    masks: int
    visible: Mapping[str, tuple[bool, ...]]
    findings: tuple[Finding, ...]


def survey(video: VideoEntry, benchmark: Benchmark) -> VideoSurvey:
    """Read every mask of a video; unreadable files become findings."""
    findings: list[Finding] = list(_pictures(video))
    visible: dict[str, tuple[bool, ...]] = {}
    for layer in video.layers:
        findings.extend(_listing(video, layer))
        rows, found = _layer(video, layer)
        visible.update(rows)
        findings.extend(found)
    findings.extend(_ids(video, visible, benchmark))
    findings.extend(_metadata(video, visible))
    masks = sum(len(layer.frames) for layer in video.layers)
    if not video.layers:
        findings.append(error("has no masks at all", video.name))
    return VideoSurvey(video, masks, _without_void(visible, benchmark), tuple(findings))


def _layer(video: VideoEntry, layer: Layer) -> tuple[dict[str, tuple[bool, ...]], list[Finding]]:
    findings: list[Finding] = []
    size = video.size or _picture_size(video)
    rows: dict[str, list[bool]] = {}
    for position, (frame, labels) in enumerate(_masks(layer, video, findings)):
        if labels is not None and size is None:
            size = _size(labels)
        if labels is not None and size is not None and _size(labels) != size:
            findings.append(
                error(
                    f"{layer.where(frame)} is {labels.shape[1]}x{labels.shape[0]}, expected "
                    f"{size[1]}x{size[0]}",
                    video.name,
                    layer.object_name,
                    frame,
                )
            )
        ids = set() if labels is None else {int(i) for i in np.unique(labels) if i}
        names = {layer.object_name or str(i) for i in ids}
        for name in names - rows.keys():
            rows[name] = [False] * position
        for name, row in rows.items():
            row.append(name in names)
    if layer.object_name and layer.object_name not in rows:
        rows[layer.object_name] = [False] * len(layer.frames)
    return {name: tuple(row) for name, row in rows.items()}, findings


def _masks(
    layer: Layer, video: VideoEntry, findings: list[Finding]
) -> Iterator[tuple[str, Labels | None]]:
    for frame in layer.frames:
        try:
            yield frame, layer.read(frame)
        except InputError as wrong:
            findings.append(error(str(wrong), video.name, layer.object_name, frame))
            yield frame, None


def _size(labels: Labels) -> tuple[int, int]:
    return labels.shape[0], labels.shape[1]


def _picture_size(video: VideoEntry) -> tuple[int, int] | None:
    return picture_size(video.pictures[0]) if video.pictures else None


def picture_size(path: Path) -> tuple[int, int] | None:
    """Read (H, W) from an image's header; None if it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, UnidentifiedImageError):
        return None


def _pictures(video: VideoEntry) -> Iterator[Finding]:
    sizes = {path: picture_size(path) for path in video.pictures}
    broken = [path.name for path, size in sizes.items() if size is None]
    if broken:
        yield error(f"{len(broken)} images cannot be read: {listed(broken)}", video.name)
    most_common = Counter(size for size in sizes.values() if size).most_common(1)
    others = [
        p.name for p, size in sizes.items() if size and most_common and size != most_common[0][0]
    ]
    if others:
        yield error(f"{len(others)} images have another size: {listed(others)}", video.name)
    gaps = missing_numbers([path.stem for path in video.pictures])
    if gaps:
        yield warning(f"image numbers are missing: {listed(gaps)}", video.name)


def _listing(video: VideoEntry, layer: Layer) -> Iterator[Finding]:
    name = video.name, layer.object_name
    if not layer.frames:
        location = layer.folder if isinstance(layer, PngLayer) else layer.where("0")
        yield error(f"{location} has no mask", *name)
        return
    if isinstance(layer, PngLayer) and layer.extra_files:
        yield warning(f"{layer.folder} also has {listed(layer.extra_files)}", *name)
    widths = {len(frame) for frame in layer.frames if is_number(frame)}
    if len(widths) > 1:
        yield warning(
            "mask names have numbers of different lengths, so their order is not numeric (10 "
            "before 2): pad them with zeros",
            *name,
        )
    images = {path.stem for path in video.pictures}
    unmatched = [frame for frame in layer.frames if frame not in images]
    if images and unmatched:
        yield error(
            f"{len(unmatched)} masks have no image: {listed(unmatched)}", *name, unmatched[0]
        )


def _ids(
    video: VideoEntry, visible: Mapping[str, tuple[bool, ...]], benchmark: Benchmark
) -> Iterator[Finding]:
    if any(layer.object_name for layer in video.layers):
        return
    ids = sorted(int(name) for name in visible)
    if not ids and any(layer.frames for layer in video.layers):
        yield warning("the masks have no object", video.name)
    if ids == [VOID]:
        yield warning(
            "the masks have values 0 and 255: binary masks of one object (DAVIS 2016), not label "
            "maps",
            video.name,
        )
    elif VOID in ids and benchmark is not Benchmark.DAVIS2017_UNSUPERVISED:
        yield warning("id 255 marks void pixels in DAVIS and an object elsewhere", video.name)
    if ids and ids[-1] > _LARGEST_PALETTE_ID:
        yield warning(f"ids go up to {ids[-1]}, but palette PNGs end at 255", video.name)


def _without_void(
    visible: Mapping[str, tuple[bool, ...]], benchmark: Benchmark
) -> Mapping[str, tuple[bool, ...]]:
    davis = benchmark in (Benchmark.DAVIS2017, Benchmark.DAVIS2017_UNSUPERVISED)
    return {name: row for name, row in visible.items() if not (davis and name == str(VOID))}


def _metadata(video: VideoEntry, visible: Mapping[str, tuple[bool, ...]]) -> Iterator[Finding]:
    if not video.objects:
        return
    promised = {entry.name for entry in video.objects}
    for name in sorted(promised - visible.keys()):
        yield error("is in the metadata but in no mask", video.name, name)
    for name in sorted(visible.keys() - promised):
        yield warning("is in the masks but not in the metadata", video.name, name)
    annotated = {frame for layer in video.layers for frame in layer.frames}
    frames = {frame for entry in video.objects for frame in entry.frames}
    missing = sorted(frames - annotated)
    if missing:
        yield warning(
            f"the metadata lists {len(missing)} frames without a mask: {listed(missing)}",
            video.name,
            frame=missing[0],
        )
    if video.frame_count is not None and video.frame_count != len(annotated):
        yield error(
            f"the metadata lists {video.frame_count} frames, but there are {len(annotated)} masks",
            video.name,
        )
