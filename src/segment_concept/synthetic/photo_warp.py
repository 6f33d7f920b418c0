"""Warp photographs: an affine map per frame, and a smooth displacement that oscillates."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from segment_concept.synthetic.optics import smear
from segment_concept.synthetic.photo_turn import Turn
from segment_concept.synthetic.pixels import (
    Field,
    Image,
    alpha_of,
    as_image,
    lay,
    premultiply,
    uniform,
    with_alpha,
)

Affine = NDArray[np.float64]  # (2, 3): pixels of an image to pixels of a frame
Window = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels of a frame

_STEP = 8  # pixels between the points at which a map is computed
_CELLS = 24  # points of a displacement along the longer side
FINE = 3  # labels of a plate are stored this many times finer than its pixels
_SHADOW_STEP = 8


@dataclass(frozen=True, slots=True, eq=False)
class Deformation:
    """A displacement of an image: a sum of smooth fields, each oscillating in time."""

    fields: Field  # (K, gh, gw, 2), pixels of the image
    rates: NDArray[np.float64]  # (K,) radians per frame
    phases: NDArray[np.float64]  # (K,)
    size: tuple[int, int]  # width and height of the image

    def at(self, t: float) -> Field:
        """The displacement (gh, gw, 2) at frame `t`."""
        swing = np.sin(self.phases + self.rates * t).astype(np.float32)
        return np.asarray(np.tensordot(swing, self.fields, axes=1), np.float32)

    @property
    def reach(self) -> float:
        """Upper bound of the displacement, pixels of the image."""
        return float(np.abs(self.fields).max(axis=(1, 2, 3)).sum())


def draw_deformation(
    rng: Generator, size: tuple[int, int], amplitude: float, rate: float, where: Field | None = None
) -> Deformation:
    """Coarse displacements of about `amplitude` pixels, and finer ones of a third of it.

    `where` (h, w) in [0, 1] is multiplied by the fields: the parts of the image that are deformed.
    """
    width, height = size
    scale = _CELLS / max(size)
    grid = (max(3, round(width * scale)), max(3, round(height * scale)))
    fields = []
    for cells, strength in ((2, 1.0), (2, 1.0), (5, 0.35), (5, 0.35)):
        coarse = rng.standard_normal((cells + 1, cells + 1, 2), dtype=np.float32)
        field = cv2.resize(coarse, grid, interpolation=cv2.INTER_CUBIC) * (amplitude * strength)
        if where is not None:
            field *= cv2.resize(where, grid, interpolation=cv2.INTER_AREA)[..., None]
        fields.append(field)
    return Deformation(
        np.asarray(fields, np.float32),
        rate * rng.uniform(0.5, 1.5, len(fields)),
        rng.uniform(0, 2 * math.pi, len(fields)),
        size,
    )


def inverse_map(matrix: Affine, window: Window, deformation: Deformation | None, t: float) -> Field:
    """For every pixel of the window, its source in the image: (h, w, 2), x and y.

    Computed at every eighth pixel and interpolated, which is exact for the affine part.
    """
    x0, y0, x1, y1 = window
    columns = x0 - _STEP + _STEP * (np.arange(math.ceil((x1 - x0) / _STEP) + 2) + 0.5) - 0.5
    rows = y0 - _STEP + _STEP * (np.arange(math.ceil((y1 - y0) / _STEP) + 2) + 0.5) - 0.5
    back = cv2.invertAffineTransform(matrix)
    xs, ys = np.meshgrid(columns, rows)
    points = np.stack(
        [
            back[0, 0] * xs + back[0, 1] * ys + back[0, 2],
            back[1, 0] * xs + back[1, 1] * ys + back[1, 2],
        ],
        axis=-1,
    ).astype(np.float32)
    if deformation is not None:
        field = deformation.at(t)
        per_pixel = np.array(
            [field.shape[1] / deformation.size[0], field.shape[0] / deformation.size[1]], np.float32
        )
        at = (points + 0.5) * per_pixel - 0.5
        points += _sample(field, at, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    full = (points.shape[1] * _STEP, points.shape[0] * _STEP)
    grown = cv2.resize(points, full, interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown[_STEP : _STEP + y1 - y0, _STEP : _STEP + x1 - x0], np.float32)


def _sample(image: Image | Field, at: Field, how: int, border: int) -> Image | Field:
    """The image at the positions (h, w, 2), x and y."""
    # Two maps: OpenCV 5.0 may hang on one map of both coordinates and an empty second one.
    x, y = np.ascontiguousarray(at[..., 0]), np.ascontiguousarray(at[..., 1])
    out: Image | Field = cv2.remap(image, x, y, how, borderMode=border)  # type: ignore[assignment]
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Plate:
    """A whole photograph as the background of a shot; its labels are warped with it."""

    rgb: Image  # (h, w, 3)
    fine_labels: Image | None  # (FINE * h, FINE * w) ids; None if it has no labels
    deformation: Deformation | None

    def frame(self, matrix: Affine, t: float, height: int, width: int) -> tuple[Image, Image]:
        """The frame (height, width, 3) and labels (height, width) under a camera."""
        at = inverse_map(matrix, (0, 0, width, height), self.deformation, t)
        rgb = as_image(_sample(self.rgb, at, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101))
        if self.fine_labels is None:
            return rgb, np.zeros((height, width), np.uint8)
        fine = np.asarray(at * FINE + (FINE - 1) / 2, np.float32)
        labels = _sample(self.fine_labels, fine, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
        return rgb, as_image(labels)


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A moving cut-out: premultiplied RGBA in sizes that are halved from level to level."""

    levels: tuple[Image, ...]  # (h, w, 4), (h / 2, w / 2, 4), ...
    center: tuple[float, float]  # of the object, pixels of the first level
    area: float  # pixels of the object at the first level
    deformation: Deformation | None
    turn: Turn | None = None  # of the first level

    def draw(
        self, frame: Image, labels: Image, label: int, pose: "Pose", shadow: float = 0.0
    ) -> None:
        """Draw it into a frame (H, W, 3) and its label into `labels` (H, W), in place."""
        height, width = labels.shape
        window = self._window(pose, height, width)
        if window is None:
            return
        x0, y0, x1, y1 = window
        level, factor = self._level(pose.matrix)
        at = inverse_map(pose.matrix, window, self.deformation, pose.t)
        scaled = at if factor == 1 else np.asarray((at + 0.5) / factor - 0.5, np.float32)
        sprite = as_image(_sample(level, scaled, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT))
        if self.turn is not None:
            sprite = premultiply(with_alpha(self.turn.colors(at, pose.t), alpha_of(sprite)))
        covered = alpha_of(sprite) > 127
        ground = frame[y0:y1, x0:x1]
        if shadow > 0:
            _cast_shadow(ground, alpha_of(sprite), shadow)
        lay(ground, smear(sprite, *pose.blur))
        labels[y0:y1, x0:x1][covered] = label

    def _level(self, matrix: Affine) -> tuple[Image, float]:
        scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
        index = min(max(0, math.floor(math.log2(1 / max(scale, 1e-6)))), len(self.levels) - 1)
        return self.levels[index], 2.0**index

    def _window(self, pose: "Pose", height: int, width: int) -> Window | None:
        """The window of the frame that it may cover; None if there is none."""
        h, w = self.levels[0].shape[:2]
        reach = self.deformation.reach if self.deformation is not None else 0.0
        lows, highs = (-reach, -reach), (w + reach, h + reach)
        corners = np.array([[x, y, 1] for x in (lows[0], highs[0]) for y in (lows[1], highs[1])])
        seen = corners @ pose.matrix.T
        pad = 2 + math.ceil(max(abs(b) for b in pose.blur) / 2)
        x0, y0 = (max(0, math.floor(v) - pad) for v in seen.min(axis=0))
        x1 = min(width, math.ceil(float(seen[:, 0].max())) + pad)
        y1 = min(height, math.ceil(float(seen[:, 1].max())) + pad)
        return (x0, y0, x1, y1) if x1 - x0 > 1 and y1 - y0 > 1 else None


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """Where a sprite is on one frame."""

    matrix: Affine
    t: float
    blur: tuple[float, float]  # movement while the shutter is open, pixels


def _cast_shadow(ground: Image, alpha: Image, strength: float) -> None:
    """Draw a shadow into the background, in place: the outline, shifted down and blurred."""
    h, w = alpha.shape
    small = (max(2, w // _SHADOW_STEP), max(2, h // _SHADOW_STEP))
    coarse = cv2.resize(alpha, small, interpolation=cv2.INTER_AREA)
    drop = max(1, small[1] // 12)
    shift = np.array([[1, 0, 0.5 * drop], [0, 1, drop]], np.float32)
    coarse = cv2.GaussianBlur(cv2.warpAffine(coarse, shift, small), (0, 0), 1 + drop / 2)
    light = 255 - cv2.resize(coarse, (w, h), interpolation=cv2.INTER_LINEAR) * strength
    wide = cv2.cvtColor(as_image(light), cv2.COLOR_GRAY2RGB)
    ground[:] = cv2.multiply(ground, wide, scale=1 / 255)


def draw_rate(rng: Generator, speed: float) -> float:
    """The frequency of a displacement, radians per frame."""
    return speed * uniform(rng, 0.1, 0.7)
