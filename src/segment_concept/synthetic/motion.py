"""Smooth paths of positions, sizes and angles, and the motion of the camera."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from segment_concept.synthetic.pixels import Field, chance, log_uniform, pick, uniform

Path1 = NDArray[np.float64]  # (T,)
Path2 = NDArray[np.float64]  # (T, 2), x and y


@dataclass(frozen=True, slots=True)
class Pose:
    """Pose of a sprite in a frame."""

    x: float  # center, in pixels
    y: float
    size: float  # longer side, in pixels
    angle: float  # radians
    mirror: bool
    stretch: float  # factor of the width, inverse factor of the height
    shear: float
    tilt: tuple[float, float]  # perspective: relative depth per unit along the sprite's axes
    bend: Field | None  # (g, g, 2) displacement in units of the size; None: none
    phase: float  # phase of an object's movement, in cycles


@dataclass
class Track:
    """Motion of an object in a shot; positions may be changed before drawing."""

    position: Path2
    size: Path1
    angle: Path1
    mirror: bool
    stretch: Path1
    shear: Path1
    tilt: Path2
    bends: tuple[Field, Field] | None
    phase: Path1

    def pose(self, frame: int) -> Pose:
        """The pose in one frame of the shot."""
        bend = None
        if self.bends is not None:
            turn = 2 * math.pi * 0.7 * float(self.phase[frame])
            bend = math.cos(turn) * self.bends[0] + math.sin(turn) * self.bends[1]
        return Pose(
            x=float(self.position[frame, 0]),
            y=float(self.position[frame, 1]),
            size=float(self.size[frame]),
            angle=float(self.angle[frame]),
            mirror=self.mirror,
            stretch=float(self.stretch[frame]),
            shear=float(self.shear[frame]),
            tilt=(float(self.tilt[frame, 0]), float(self.tilt[frame, 1])),
            bend=bend,
            phase=float(self.phase[frame]),
        )


@dataclass(frozen=True, slots=True)
class Camera:
    """Motion of the camera during a shot."""

    offset: Path2  # shift of objects at depth 1, in pixels
    zoom: Path1
    roll: Path1  # radians

    def project(self, position: Path2, depth: float, height: int, width: int) -> Path2:
        """Screen positions (T, 2) of something at `depth` (1: the objects, smaller: farther)."""
        middle = np.array([width / 2, height / 2])
        zoom = self.zoom[:, None] ** depth
        return np.asarray((position - middle) * zoom + middle + depth * self.offset)


def wander(rng: Generator, frames: int, start: float, speed: float, drift: float) -> Path1:
    """A smooth path (frames,) that starts with velocity `drift` and is pulled back."""
    values = np.empty(frames)
    velocity, value = drift, start
    for t in range(frames):
        values[t] = value
        velocity += 0.35 * speed * float(rng.normal()) - 0.012 * (value - start)
        value += velocity
    return values


def draw_camera(rng: Generator, frames: int, side: int, speed: float) -> Camera:
    """A static, hand-held, panning or zooming camera; `side` in pixels sets the scale."""
    pace = side * speed * (0.0, 0.004, 0.02, 0.045)[pick(rng, [0.2, 0.3, 0.35, 0.15])]
    drift = rng.normal(0, pace, 2) * (1.0, 0.5)
    offset = np.stack([wander(rng, frames, 0.0, 0.3 * pace, d) for d in drift], axis=1)
    shake = side * speed * (0.0, 0.003, 0.01)[pick(rng, [0.55, 0.3, 0.15])]
    offset += rng.normal(0, 1, (frames, 2)) * shake
    pull = speed * (0.0, 0.008, 0.03)[pick(rng, [0.5, 0.35, 0.15])]
    zoom = np.exp(wander(rng, frames, 0.0, 0.2 * pull, float(rng.normal(0, pull))))
    twist = speed * (0.0, 0.006)[pick(rng, [0.6, 0.4])]
    roll = wander(rng, frames, 0.0, 0.5 * twist, float(rng.normal(0, twist)))
    return Camera(offset - offset[0], zoom.clip(0.6, 1.7), roll)


def draw_track(
    rng: Generator, frames: int, frame_size: tuple[int, int], size: float, speed: float
) -> Track:
    """A random motion in world coordinates; `frame_size` is (height, width), `size` in pixels."""
    height, width = frame_size
    pace = speed * (0.012 * min(height, width) + 0.05 * size) * log_uniform(rng, 0.15, 1.8)
    heading = uniform(rng, 0, 2 * math.pi)
    velocity = pace * math.cos(heading), 0.6 * pace * math.sin(heading)
    # Large objects are nearer the center: the border may cut a target, but not most of it.
    room = max(0.12, 0.5 - 0.3 * size / min(height, width))
    x = width * (0.5 + uniform(rng, -room, room))
    y = height * (0.52 + 0.9 * uniform(rng, -room, room))
    position = np.stack(
        [wander(rng, frames, s, 0.5 * pace, v) for s, v in zip((x, y), velocity, strict=True)],
        axis=1,
    )
    growth = wander(rng, frames, 0.0, 0.012 * speed, float(rng.normal(0, 0.02 * speed)))
    upright = chance(rng, 0.8)
    angle = float(rng.normal(0, 0.15)) if upright else uniform(rng, -math.pi, math.pi)
    spin = float(rng.normal(0, 0.03 * speed)) * (1 if upright else 2)
    tempo = log_uniform(rng, 0.02, 0.14) * speed
    phase = uniform(rng, 0, 1) + tempo * np.arange(frames, dtype=np.float64)
    return Track(
        position=position,
        size=size * np.exp(growth).clip(0.45, 2.0),
        angle=wander(rng, frames, angle, 0.02 * speed, spin),
        mirror=chance(rng, 0.5),
        stretch=np.exp(wander(rng, frames, float(rng.normal(0, 0.1)), 0.012 * speed, 0.0)),
        shear=wander(rng, frames, float(rng.normal(0, 0.1)), 0.015 * speed, 0.0),
        tilt=np.stack(
            [
                wander(rng, frames, float(rng.normal(0, 0.12)), 0.02 * speed, 0.0).clip(-0.5, 0.5)
                for _ in range(2)
            ],
            axis=1,
        ),
        bends=_draw_bends(rng),
        phase=phase,
    )


def _draw_bends(rng: Generator) -> tuple[Field, Field] | None:
    """Two smooth displacement fields that the motion blends; None for a rigid object."""
    if chance(rng, 0.3):
        return None
    cells = int(rng.integers(2, 6))
    # below a quarter of a cell the warp does not fold
    strength = uniform(rng, 0.02, 0.22) / cells
    fields = rng.standard_normal((2, cells, cells, 2), dtype=np.float32) * strength
    first, second = (
        np.asarray(cv2.resize(f, (17, 17), interpolation=cv2.INTER_CUBIC), np.float32)
        for f in fields
    )
    return first, second


def leave(rng: Generator, track: Track, invisible: range, frame_size: tuple[int, int]) -> None:
    """Change screen positions so that the object is outside the frame in the frames `invisible`."""
    height, width = frame_size
    frames = len(track.position)
    first, last = invisible.start, invisible.stop - 1
    at = track.position[first]
    side = pick(rng, [0.4, 0.4, 0.1, 0.1])
    margin = 0.85 * float(track.size[max(0, first - 1) :].max()) + 6
    lengths = (-margin - at[0], width + margin - at[0], -margin - at[1], height + margin - at[1])
    way = np.array([lengths[side], 0.0] if side < 2 else [0.0, lengths[side]])
    ramp = int(rng.integers(1, max(2, min(first, 8)) + 1))
    share = np.zeros(frames)
    for t in range(frames):
        if t < first:
            share[t] = max(0.0, 1 - (first - t) / ramp) ** 1.3
        elif t <= last:
            share[t] = 1.0
        else:
            share[t] = max(0.0, 1 - (t - last) / ramp) ** 1.3
    # its own motion must not bring it back while it is invisible
    path = track.position.copy()
    path[first : last + 1] = at
    track.position[:] = path + share[:, None] * way
