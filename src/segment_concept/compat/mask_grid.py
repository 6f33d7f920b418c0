"""What the generator of masks needs of geometry: grids of points, crops, boxes, duplicates."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product
from math import ceil
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segment_concept.ops.rle import counts_to_text
from segment_concept.types import Bitmap

Floats: TypeAlias = NDArray[np.float64]
NEAR = 20.0  # pixels: a box as near to the border of a crop is cut by it, as in the release


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """N masks of an image; the rows of all fields belong together."""

    runs: list[NDArray[np.int64]]  # run lengths, down the columns, background first
    boxes: Floats  # (N, 4) x0, y0, x1, y1: first and last pixel
    iou: Floats  # (N,) predicted
    stability: Floats  # (N,)
    points: Floats  # (N, 2) the clicks
    crops: Floats  # (N, 4) the part of the image that was looked at

    def __len__(self) -> int:
        return len(self.runs)

    def select(self, rows: NDArray[np.int64]) -> "Found":
        """Some of them, in that order."""
        arrays = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "runs"}
        return Found([self.runs[row] for row in rows], **arrays)

    @classmethod
    def joined(cls, parts: Sequence["Found"]) -> "Found":
        """All of several parts."""
        names = [f.name for f in fields(cls) if f.name != "runs"]
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls([runs for part in parts for runs in part.runs], **arrays)


def point_grid(side: int) -> Floats:
    """(side * side, 2) points in the middles of the cells of a grid, in shares of the image."""
    along = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)


def crop_boxes(
    size: tuple[int, int], layers: int, overlap_ratio: float
) -> list[tuple[int, tuple[int, int, int, int]]]:
    """Each layer's number with a box x0, y0, x1, y1; layer i has 2^i crops along each side."""
    height, width = size
    found = [(0, (0, 0, width, height))]
    for layer in range(1, layers + 1):
        count = 2**layer
        overlap = int(overlap_ratio * min(size) * (2 / count))
        w, h = (ceil((overlap * (count - 1) + side) / count) for side in (width, height))
        for i, j in product(range(count), range(count)):
            x, y = (w - overlap) * i, (h - overlap) * j
            found.append((layer, (x, y, min(x + w, width), min(y + h, height))))
    return found


def cut_by_crop(boxes: Floats, crop: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(N,) which boxes end at a border of the crop that is none of the image."""
    whole = (0, 0, size[1], size[0])
    at_crop = np.abs(boxes - np.asarray(crop)) <= NEAR
    at_image = np.abs(boxes - np.asarray(whole)) <= NEAR
    cut: NDArray[np.bool_] = (at_crop & ~at_image).any(axis=1)
    return cut


def without_duplicates(boxes: Floats, scores: Floats, threshold: float) -> NDArray[np.int64]:
    """Rows of the boxes that no better one overlaps by more than an IoU; the best first."""
    order = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        common = np.prod((high - low).clip(min=0), axis=1)
        with np.errstate(invalid="ignore"):
            iou = common / (areas[best] + areas[rest] - common)
        order = rest[~(iou > threshold)]
    return np.array(kept, np.int64)


def as_segmentation(runs: NDArray[np.int64], size: tuple[int, int], mode: str) -> Any:
    """A mask in the form that was asked for."""
    if mode == "binary_mask":
        inside = (np.arange(len(runs)) & 1).astype(np.bool_)
        mask: Bitmap = np.ascontiguousarray(np.repeat(inside, runs).reshape(size[::-1]).T)
        return mask
    counts = counts_to_text(runs) if mode == "coco_rle" else runs.tolist()
    return {"size": list(size), "counts": counts}
