"""Movement in clips made of photographs: paths of objects in the frame, and cameras."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from segment_concept.synthetic.photo_spec import PhotoClipSpec
from segment_concept.synthetic.photo_warp import Affine
from segment_concept.synthetic.pixels import chance, log_uniform, uniform

Series = NDArray[np.float64]  # (T,), (T, 2) or (T, 2, 3): one entry a frame

_LEAST_SHARE = 0.004  # of the frame's area
_MOST_SHARE = 0.65
_MOST_ZOOM = 4.5  # frame pixels per photograph pixel: above, the image is only blur


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """Center, square root of the area, and angle of an object on every frame."""

    position: Series  # (T, 2) pixels of the frame
    root: Series  # (T,) pixels
    angle: Series  # (T,) radians

    def matrices(self, center: tuple[float, float], area: float) -> Series:
        """(T, 2, 3): from pixels of an image, in which the object has this center and area."""
        return similarity(self.position, self.root / math.sqrt(area), self.angle, center)


@dataclass(frozen=True, slots=True)
class Start:
    """The start of a path of an object that begins at its position in the photograph."""

    position: tuple[float, float]
    share: float  # of the frame's area
    angle: float


def similarity(
    position: Series, scale: Series, angle: Series, center: tuple[float, float]
) -> Series:
    """(T, 2, 3): scale and rotate about `center`, and move it to `position`."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    out = np.empty((len(scale), 2, 3))
    out[:, 0, 0], out[:, 0, 1], out[:, 1, 0], out[:, 1, 1] = cos, -sin, sin, cos
    out[:, :, 2] = position - out[:, :, :2] @ np.asarray(center)
    return out


def after(second: Affine, first: Series) -> Series:
    """(T, 2, 3): `first`, then `second`, which is (2, 3) or (T, 2, 3)."""
    out = second[..., :2] @ first
    out[..., 2] += second[..., 2]
    return np.asarray(out)


def seen_at(matrices: Series, point: tuple[float, float]) -> Series:
    """(T, 2): the position of a point of the image on each frame."""
    return np.asarray(matrices[..., :2] @ np.asarray(point) + matrices[..., 2])


def scales(matrices: Series) -> Series:
    """(T,): frame pixels per pixel of the image."""
    return np.asarray(np.sqrt(np.abs(np.linalg.det(matrices[..., :2]))))


def easing(rng: Generator, frames: int) -> Series:
    """(T,) from 0 to 1, monotonic: linear, late, early, or slow at both ends."""
    t = np.linspace(0, 1, frames) if frames > 1 else np.ones(1)
    bent = t ** log_uniform(rng, 0.6, 1.7)
    smooth = t * t * (3 - 2 * t)
    mix = uniform(rng, 0, 1)
    return np.asarray(mix * bent + (1 - mix) * smooth)


def draw_shares(
    rng: Generator, spec: PhotoClipSpec, frames: int, limits: tuple[float, float], start: float = 0
) -> Series:
    """(T,): the share of the frame's area that object 1 covers, within `limits` if possible.

    A positive `start` is the share on the first frame.
    """
    low, high = limits
    grows = chance(rng, spec.growth)
    ratio = log_uniform(rng, *spec.growth_range) if grows else log_uniform(rng, 1, 1.5)
    shrinks = chance(rng, spec.shrink if grows else 0.5)
    if start > 0:
        room = start / low if shrinks else high / start
        other = max(1.0, min(ratio, room))
        ends = (start, start / other if shrinks else start * other)
    else:
        ratio = min(ratio, high / low)
        least = max(low * ratio, 0.05 if grows else 0.01)
        large = log_uniform(rng, min(least, high), high if grows else min(high, 0.4))
        if chance(rng, spec.fills):
            large = uniform(rng, min(0.4, high), max(high, 0.4))
        ends = (large, large / ratio) if shrinks else (large / ratio, large)
    return np.asarray(ends[0] * (ends[1] / ends[0]) ** easing(rng, frames))


def draw_path(
    rng: Generator,
    spec: PhotoClipSpec,
    frames: int,
    extent: tuple[float, float],
    shares: Series,
    start: Start | None = None,
) -> Path:
    """A path of an object whose half box is `extent` times the square root of its area.

    It stays inside the frame if it fits, except with the probability `partial` of the spec.
    """
    root = np.sqrt(shares * spec.height * spec.width)
    half = np.asarray(extent)[None] * root[:, None]
    frame = np.array([spec.width, spec.height], np.float64)
    partial = start is None and chance(rng, spec.partial)
    keep = uniform(rng, 0.2, 0.9) if partial else 1.0
    low = np.minimum(half * keep, frame / 2)
    span = frame - 2 * low
    if start is None:
        begin = rng.random(2)
    else:
        begin = ((np.asarray(start.position) - low[0]) / np.maximum(span[0], 1)).clip(0, 1)
    fast = chance(rng, spec.fast)
    pace = spec.speed * (log_uniform(rng, 0.06, 0.2) if fast else log_uniform(rng, 0.003, 0.06))
    toward = uniform(rng, 0, 2 * math.pi)
    turn = float(rng.normal(0, 0.15))
    headings = toward + turn * np.arange(frames)
    steps = pace * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    units = _fold(begin + np.cumsum(steps, axis=0) - steps[0])
    position = low + units * span
    if partial and frames > 1 and chance(rng, 0.7):
        position = _entering(rng, position, half, frame)
    lively = 0.12 if chance(rng, 0.15) else 0.02
    angle = float(rng.normal(0, lively)) * spec.speed * np.arange(frames)
    angle += start.angle if start is not None else float(rng.normal(0, 0.15))
    return Path(position, root, np.asarray(angle, np.float64))


def _fold(units: Series) -> Series:
    """Reflect into [0, 1]."""
    wrapped = np.mod(units, 2)
    return np.asarray(np.where(wrapped > 1, 2 - wrapped, wrapped))


def _entering(rng: Generator, position: Series, half: Series, frame: Series) -> Series:
    """The path with 25 to 60 % of the box inside the frame on its first frame."""
    frames = len(position)
    axis, far = int(rng.integers(2)), chance(rng, 0.5)
    seen = uniform(rng, 0.25, 0.6) * 2 * float(half[0, axis])
    at = float(half[0, axis]) - seen  # distance of the center beyond the border
    border = position[0].copy()
    border[axis] = frame[axis] + at if far else -at
    until = max(1.0, uniform(rng, 0.4, 1.0) * (frames - 1))
    left = (1 - np.arange(frames) / until).clip(0, 1)[:, None]
    return np.asarray(left * border + (1 - left) * position)


def away_during(rng: Generator, path: Path, invisible: range, extent: float, width: int) -> Path:
    """The path with the object outside the left or right border in the frames `invisible`."""
    position = path.position.copy()
    right = chance(rng, 0.5)
    for t in range(len(position)):
        reach = 1.6 * extent * float(path.root[t]) + 24
        outside = width + reach if right else -reach
        distance = max(invisible.start - t, t - invisible.stop + 1, 0)
        if distance == 0:
            position[t, 0] = outside
        elif distance == 1:
            border = width if right else 0
            position[t, 0] = 0.7 * border + 0.3 * position[t, 0]
    return Path(position, path.root, path.angle)


# --------------------------------------------------------------------------------------- cameras


def cover_zoom(spec: PhotoClipSpec, size: tuple[int, int]) -> float:
    """The smallest zoom at which a photograph (width, height) covers the frame."""
    return max(spec.width / size[0], spec.height / size[1])


def draw_camera(rng: Generator, spec: PhotoClipSpec, frames: int, size: tuple[int, int]) -> Series:
    """(T, 2, 3): a camera that pans and zooms in a photograph (width, height)."""
    rate = float(rng.normal(0, 0.02)) * spec.speed
    zoom = cover_zoom(spec, size) * log_uniform(rng, 1.02, 1.6) * np.exp(rate * np.arange(frames))
    zoom = np.asarray(np.maximum(zoom, cover_zoom(spec, size)), np.float64)
    pace = spec.speed * log_uniform(rng, 0.001, 0.03) * min(size)
    toward = uniform(rng, 0, 2 * math.pi)
    along = np.arange(frames)[:, None] * pace
    begin = np.asarray(size) * rng.random(2)
    looks_at = begin + along * np.array([math.cos(toward), math.sin(toward)])
    return camera_matrices(spec, size, looks_at, zoom, draw_roll(rng, spec, frames))


def draw_roll(rng: Generator, spec: PhotoClipSpec, frames: int) -> Series:
    """(T,): small rotations of a hand-held camera, radians."""
    shake = rng.normal(0, 0.004 * spec.speed, frames)
    return float(rng.normal(0, 0.03)) + float(rng.normal(0, 0.008)) * np.arange(frames) + shake


def camera_matrices(
    spec: PhotoClipSpec, size: tuple[int, int], looks_at: Series, zoom: Series, roll: Series
) -> Series:
    """(T, 2, 3): `looks_at` in the center of the frame, moved so that the photograph covers it."""
    frame = np.array([spec.width, spec.height], np.float64)
    half = frame / 2 / zoom[:, None]
    sides = np.asarray(size, np.float64)
    inside = np.where(
        2 * half < sides, looks_at.clip(half, np.maximum(sides - half, half)), sides / 2
    )
    out = similarity(np.zeros((len(zoom), 2)), zoom, roll, (0.0, 0.0))
    out[:, :, 2] = frame / 2 - np.einsum("tij,tj->ti", out[:, :, :2], inside)
    return out


def following_camera(
    rng: Generator,
    spec: PhotoClipSpec,
    frames: int,
    size: tuple[int, int],
    thing: tuple[tuple[float, float], float, tuple[float, float]],
) -> Series:
    """(T, 2, 3): a camera under which an object of the photograph moves and changes its size.

    `thing` is its center and area in pixels of the photograph, and its half box divided by the
    square root of its area.
    """
    center, area, extent = thing
    least = cover_zoom(spec, size)
    share = area * least**2 / (spec.height * spec.width)  # with the whole photograph in view
    low = share * (1.0 if chance(rng, 0.4) else log_uniform(rng, 1, 2))
    high = max(low, min(0.8, share * (_MOST_ZOOM / least) ** 2))
    shares = draw_shares(rng, spec, frames, (low, high))
    lowest = float(shares.min())
    if lowest > low and chance(rng, 0.5):
        shares *= low / lowest
    path = draw_path(rng, spec, frames, extent, shares)
    zoom = np.asarray(np.maximum(path.root / math.sqrt(area), least), np.float64)
    roll = draw_roll(rng, spec, frames)
    free = similarity(path.position, zoom, roll, center)
    middle = np.array([spec.width / 2, spec.height / 2])
    looks_at = np.linalg.solve(free[:, :, :2], (middle - free[:, :, 2])[..., None])[..., 0]
    return camera_matrices(spec, size, np.asarray(looks_at, np.float64), zoom, roll)


def lens(rng: Generator, spec: PhotoClipSpec, at: Series, least_zoom: float) -> Affine:
    """(2, 3): another view of the frame, closer or farther away, and possibly mirrored.

    The point `at` (2,) moves to a random position; the photograph covers the frame at `least_zoom`.
    """
    distant = least_zoom < 0.85 and chance(rng, 0.5)
    zoom = log_uniform(rng, least_zoom, 0.85) if distant else log_uniform(rng, 1.3, 2.6)
    mirror = -1.0 if chance(rng, 0.3) else 1.0
    to = np.array([uniform(rng, 0.2, 0.8) * spec.width, uniform(rng, 0.25, 0.75) * spec.height])
    matrix = np.array([[mirror * zoom, 0.0, 0.0], [0.0, zoom, 0.0]])
    matrix[:, 2] = to - matrix[:, :2] @ at
    return matrix
