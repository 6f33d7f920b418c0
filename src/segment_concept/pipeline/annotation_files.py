"""Read COCO run-length masks as prompts, and name the formats that are not supported.

Supported are COCO files with run-length masks of one image, and this package's own `rle.json`, of
which the first mask of every object is used.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segment_concept.ops.rle import mask_of_runs, text_to_counts
from segment_concept.runtime.limits import check_pixels
from segment_concept.types import InputError, Mask

_OWN_FORM = (
    'write prompts as [{"object": 1, "box": [x0, y0, x1, y1]}] in pixels, or give mask images '
    "with --mask"
)


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """An object's mask on a frame."""

    object_id: int
    frame: int
    mask: Mask


def read_annotations(content: Any) -> list[Annotation] | None:
    """The masks of a COCO file or an `rle.json`; None for other content.

    Raises:
        InputError: its masks cannot be used as prompts, or it is an unsupported export of a known
            program.
    """
    name = _program(content)
    if name is not None:
        raise InputError(f"this is {name}, which is not supported: {_OWN_FORM}")
    if not isinstance(content, Mapping):
        return None
    if isinstance(content.get("annotations"), list):
        return list(_of_coco(content["annotations"]))
    if isinstance(content.get("frames"), list):
        return list(_of_frames(content["frames"]))
    return None


def mask_of_rle(rle: Any) -> Mask:
    """The mask of COCO's {"size": [height, width], "counts": text or numbers}.

    Raises:
        InputError: it is of another form, too large, damaged or empty.
    """
    form = 'expected {"size": [height, width], "counts": "..."} as COCO writes it'
    if not isinstance(rle, Mapping) or "counts" not in rle or "size" not in rle:
        raise InputError(f"a run-length mask has another form: {form}")
    size, counts = rle["size"], rle["counts"]
    if not _are_whole(size) or len(size) != 2 or min(size) < 1:
        raise InputError(f"a run-length mask has no size: {form}")
    height, width = size
    check_pixels(width, height, "a run-length mask")
    if isinstance(counts, str):
        runs = text_to_counts(counts)
    elif _are_whole(counts):
        runs = np.asarray(counts, np.int64)
    else:
        raise InputError(f"a run-length mask has no counts: {form}")
    return Mask(mask_of_runs(runs, (height, width)))


def _are_whole(values: Any) -> bool:
    """Whether this is a list of integers of limited size."""
    return isinstance(values, list) and all(
        type(value) is int and abs(value) < 1 << 40 for value in values
    )


def _of_coco(rows: Sequence[Any]) -> Iterator[Annotation]:
    pictures = {row.get("image_id") if isinstance(row, Mapping) else None for row in rows}
    if len(pictures) > 1:
        raise InputError(
            f"it has annotations of {len(pictures)} images, whose frames are unknown: keep those "
            'of one image, or write [{"at": 12, "rle": {...}}]'
        )
    for number, row in enumerate(rows, start=1):
        segmentation = row.get("segmentation") if isinstance(row, Mapping) else None
        if isinstance(segmentation, list):
            raise InputError(
                f"annotation {number} is a polygon: convert polygons to run-length masks "
                "(pycocotools: COCO.annToRLE), or mask images"
            )
        try:
            yield Annotation(number, 0, mask_of_rle(segmentation))
        except InputError as error:
            raise InputError(f"annotation {number}: {error}") from error


def _of_frames(rows: Sequence[Any]) -> Iterator[Annotation]:
    seen: set[int] = set()
    for row in rows:
        objects = row.get("objects") if isinstance(row, Mapping) else None
        for found in objects if isinstance(objects, list) else ():
            frame, object_id = row.get("frame"), found.get("id") if _is_row(found) else None
            if type(frame) is not int or type(object_id) is not int:
                raise InputError('a frame has another form: expected {"frame": 0, "objects": []}')
            if object_id not in seen and found.get("area", 1):
                seen.add(object_id)
                yield Annotation(object_id, frame, mask_of_rle(found.get("segmentation")))


def _is_row(value: Any) -> bool:
    return isinstance(value, Mapping)


def _program(content: Any) -> str | None:
    """Name of the program that exported the content; None if unknown."""
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, Mapping):
        return None
    keys = set(first)
    if keys & {"data", "annotations", "predictions", "result"} and isinstance(content, list):
        return (
            "an export of Label Studio (boxes in percent, brush masks in its own encoding; its "
            "export 'Brush labels to PNG' makes mask images)"
        )
    if "shapes" in keys:
        known = "an export of LabelMe" if "imagePath" in keys else "an export of CVAT"
        return f"{known} (polygons)"
    if "_via_img_metadata" in keys:
        return "a project of the VGG Image Annotator"
    return None
