"""Articulated objects: one or more parts, drawn in any phase of their movement.

A rigid object is an object with one part. The parts of a 3D object are its views, of which one is
drawn at a time. Lengths are in *units*: an object is about one unit long.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.synthetic.pixels import Image, as_image, lay, premultiply

Matrix = NDArray[np.float64]  # (3, 3), acts on columns (x, y, 1)

SOLID = "solid"  # the kind of 3D objects
_PHASES = 8  # number of phases in which the extent of an object is measured


@dataclass(frozen=True, slots=True)
class Part:
    """An image attached to its parent by a joint, about which it turns."""

    image: Image  # (h, w, 4), straight alpha
    density: float  # pixels of the image per unit
    pivot: tuple[float, float]  # the joint, in pixels (x, y) of the image
    parent: int = -1  # index of an earlier part; -1: none
    anchor: tuple[float, float] = (0.0, 0.0)  # the joint in units from the parent's joint
    angle: float = 0.0  # radians at rest
    swing: float = 0.0  # radians to either side
    offset: float = 0.0  # of the swing, in cycles
    turns: int = 0  # full turns a cycle (wheels)
    depth: float = 0.0  # drawing order: larger is nearer


@dataclass(frozen=True, slots=True)
class ArticulatedObject:
    """Identity and appearance of an object."""

    kind: str  # "cutout", "person", "bike", ...: the builder that makes similar ones
    category: str  # shared by look-alikes
    parts: tuple[Part, ...]
    source: int = -1  # index of its cut-out, if it has one
    other_movements: tuple[tuple[Part, ...], ...] = ()  # views in other movements, if 3D

    @property
    def solid(self) -> bool:
        """Whether the parts are views of the whole object, all of one size."""
        return self.kind == SOLID

    def repainted(self, paint: Callable[[Image], Image]) -> "ArticulatedObject":
        """The same object with `paint` applied to the RGBA image of every part."""

        def painted(parts: tuple[Part, ...]) -> tuple[Part, ...]:
            return tuple(replace(p, image=paint(p.image)) for p in parts)

        return replace(
            self,
            parts=painted(self.parts),
            other_movements=tuple(painted(parts) for parts in self.other_movements),
        )


class DrawableObject:
    """An object prepared for fast drawing: premultiplied images in a pyramid of sizes."""

    def __init__(self, obj: ArticulatedObject) -> None:
        self.obj = obj
        self._pyramids = [_pyramid(premultiply(p.image)) for p in obj.parts]
        if obj.solid:
            return
        self._order = sorted(range(len(obj.parts)), key=lambda i: obj.parts[i].depth)
        corners = np.concatenate([self._corners(i / _PHASES) for i in range(_PHASES)], axis=1)
        self._low = corners.min(axis=1)
        self._extent = corners.max(axis=1) - self._low

    def sprite(self, phase: float, size: float) -> Image:
        """Premultiplied RGBA (h, w, 4), its longer side at least `size` pixels.

        The box of the image is the same in every phase (in cycles), so the object does not jump.
        """
        if self.obj.solid:
            shown = _there_and_back(phase, len(self._pyramids))
            return _level(self._pyramids[shown], size / max(self.obj.parts[0].image.shape[:2]))
        if len(self.obj.parts) == 1 and not self.obj.parts[0].swing:
            return _level(self._pyramids[0], size / max(self.obj.parts[0].image.shape[:2]))
        scale = min(max(size, 24.0), 360.0) / float(self._extent.max())
        width, height = (math.ceil(float(e) * scale) + 2 for e in self._extent)
        canvas = np.zeros((height, width, 4), np.uint8)
        view = np.array(
            [
                [scale, 0, 1 - scale * self._low[0]],
                [0, scale, 1 - scale * self._low[1]],
                [0, 0, 1],
            ]
        )
        places = self._places(phase)
        for i in self._order:
            self._draw(canvas, view @ places[i], i, scale)
        return canvas

    def _draw(self, canvas: Image, pose: Matrix, index: int, scale: float) -> None:
        part = self.obj.parts[index]
        picture = _level(self._pyramids[index], scale / part.density)
        ratio = part.image.shape[1] / picture.shape[1]
        matrix = pose @ _image_to_units(part) @ np.diag([ratio, ratio, 1.0])
        height, width = picture.shape[:2]
        box = matrix[:2] @ np.array([[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]])
        x0, y0 = np.floor(box.min(axis=1)).astype(int).clip(0)
        x1, y1 = np.ceil(box.max(axis=1)).astype(int) + 1
        x1, y1 = min(int(x1), canvas.shape[1]), min(int(y1), canvas.shape[0])
        if x1 <= x0 or y1 <= y0:
            return
        matrix[:2, 2] -= (x0, y0)
        drawn = cv2.warpAffine(picture, matrix[:2], (int(x1 - x0), int(y1 - y0)))
        lay(canvas[y0:y1, x0:x1], as_image(drawn))

    def _places(self, phase: float) -> list[Matrix]:
        places: list[Matrix] = []
        for part in self.obj.parts:
            sway = math.sin(2 * math.pi * (phase + part.offset))
            angle = part.angle + part.swing * sway + 2 * math.pi * part.turns * phase
            cos, sin = math.cos(angle), math.sin(angle)
            local = np.array([[cos, -sin, part.anchor[0]], [sin, cos, part.anchor[1]], [0, 0, 1]])
            places.append(local if part.parent < 0 else places[part.parent] @ local)
        return places

    def _corners(self, phase: float) -> Matrix:
        boxes = []
        for part, pose in zip(self.obj.parts, self._places(phase), strict=True):
            height, width = part.image.shape[:2]
            corners = np.array([[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]])
            boxes.append((pose @ _image_to_units(part) @ corners)[:2])
        return np.concatenate(boxes, axis=1)


def still(image: Image, kind: str, category: str, source: int = -1) -> ArticulatedObject:
    """An articulated object of one part, from an image (h, w, 4)."""
    height, width = image.shape[:2]
    part = Part(image, float(max(height, width)), (width / 2, height / 2))
    return ArticulatedObject(kind, category, (part,), source)


def solid(movements: Sequence[NDArray[np.uint8]], category: str) -> ArticulatedObject:
    """An object from its views (N, h, w, 4), starting in the first of its movements."""
    first, *rest = [
        tuple(
            Part(as_image(view), float(max(views.shape[1:3])), (views.shape[2] / 2, 0.0))
            for view in views
        )
        for views in movements
    ]
    return ArticulatedObject(SOLID, category, first, other_movements=tuple(rest))


def _there_and_back(phase: float, count: int) -> int:
    """Index of the view to draw: a cycle goes through all `count` views and back."""
    at = round((phase % 1) * 2 * (count - 1))
    return min(at, 2 * (count - 1) - at)


def _image_to_units(part: Part) -> Matrix:
    k = 1 / part.density
    return np.array([[k, 0, -k * part.pivot[0]], [0, k, -k * part.pivot[1]], [0, 0, 1]])


def _pyramid(image: Image) -> list[Image]:
    levels = [image]
    while min(levels[-1].shape[:2]) >= 8:
        height, width = levels[-1].shape[:2]
        # Same ratio for both sides (rounded up), so that a level is not stretched.
        size = ((width + 1) // 2, (height + 1) // 2)
        levels.append(as_image(cv2.resize(levels[-1], size, interpolation=cv2.INTER_AREA)))
    return levels


def _level(pyramid: list[Image], scale: float) -> Image:
    """The smallest level that is at least as large as `scale` times the first one."""
    steps = 0 if scale >= 1 else int(math.log2(1 / max(scale, 1e-6)) + 0.15)
    return pyramid[min(steps, len(pyramid) - 1)]
