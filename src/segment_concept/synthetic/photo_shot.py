"""One shot in a photograph: a background plate under a camera, and sprites over it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from segment_concept.synthetic.optics import Optics, draw_optics, smear
from segment_concept.synthetic.photo_path import Series, after, cover_zoom, lens, scales, seen_at
from segment_concept.synthetic.photo_spec import PhotoClipSpec
from segment_concept.synthetic.photo_warp import Affine, Plate, Pose, Sprite
from segment_concept.synthetic.pixels import Image, chance


@dataclass(frozen=True, slots=True, eq=False)
class MovingSprite:
    """A sprite and where it is on every frame."""

    sprite: Sprite
    matrices: Series  # (T, 2, 3)
    label: int  # 0: none
    shadow: float  # strength in [0, 1]


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """The content between two cuts, frame by frame."""

    spec: PhotoClipSpec
    plate: Plate
    camera: Series  # (T, 2, 3)
    sprites: tuple[MovingSprite, ...]  # from back to front
    optics: Optics
    main: Series  # (T, 2): center of object 1, or of the frame without it
    area: float  # pixels of object 1 on the first frame without occlusion

    def frame(self, t: int, rng: Generator) -> tuple[Image, Image]:
        """Frame `t` of the shot: (H, W, 3) and its labels (H, W)."""
        spec, shutter = self.spec, self.optics.shutter
        rgb, labels = self.plate.frame(self.camera[t], t, spec.height, spec.width)
        middle = _back(self.camera[t], (spec.width / 2, spec.height / 2))
        rgb = smear(rgb, *_movement(self.camera, middle, t, shutter))
        for moving in self.sprites:
            blur = _movement(moving.matrices, moving.sprite.center, t, shutter)
            pose = Pose(moving.matrices[t], t, blur)
            moving.sprite.draw(rgb, labels, moving.label, pose, moving.shadow)
        at = t / max(1, len(self.camera) - 1)
        return self.optics.expose(rgb, at, t, rng), labels

    def reframed(self, rng: Generator) -> "Shot":
        """The same content at the same time, closer or farther, sometimes with other optics."""
        size = (self.plate.rgb.shape[1], self.plate.rgb.shape[0])
        least = cover_zoom(self.spec, size) / float(scales(self.camera).min())
        middle = len(self.main) // 2
        matrix = lens(rng, self.spec, self.main[middle], least)
        matrix = _covering(self.spec, matrix, self.camera[middle], size)
        sprites = tuple(replace(a, matrices=after(matrix, a.matrices)) for a in self.sprites)
        return Shot(
            spec=self.spec,
            plate=self.plate,
            camera=after(matrix, self.camera),
            sprites=sprites,
            optics=draw_optics(rng) if chance(rng, 0.5) else self.optics,
            main=self.main @ matrix[:, :2].T + matrix[:, 2],
            area=self.area * float(abs(np.linalg.det(matrix[:, :2]))),
        )


def _back(matrix: Affine, point: tuple[float, float]) -> tuple[float, float]:
    x, y = np.linalg.solve(matrix[:, :2], np.asarray(point) - matrix[:, 2])
    return float(x), float(y)


def _movement(
    matrices: Series, point: tuple[float, float], t: int, shutter: float
) -> tuple[float, float]:
    """Movement of a point of an image while the shutter is open, in pixels of the frame."""
    if shutter == 0 or len(matrices) < 2:
        return 0.0, 0.0
    first, last = max(0, t - 1), min(len(matrices) - 1, t + 1)
    ends = seen_at(matrices[[first, last]], point)
    dx, dy = (ends[1] - ends[0]) / (last - first) * shutter
    return float(dx), float(dy)


def _covering(spec: PhotoClipSpec, matrix: Affine, camera: Affine, size: tuple[int, int]) -> Affine:
    """`matrix` shifted so that the photograph covers the frame if it is large enough."""
    width, height = size
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    whole = after(matrix, camera[None])[0]
    seen = corners @ whole[:, :2].T + whole[:, 2]
    moved = matrix.copy()
    for axis, side in enumerate((spec.width, spec.height)):
        low, high = float(seen[:, axis].min()), float(seen[:, axis].max())
        if high - low < side:
            moved[axis, 2] += (side - low - high) / 2
        else:
            moved[axis, 2] += min(0.0, -low) + max(0.0, side - high)
    return moved
