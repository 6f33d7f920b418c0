"""Draw a shot: backdrop, objects and occluders seen by a moving camera."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from segment_concept.synthetic.articulated import DrawableObject
from segment_concept.synthetic.motion import Camera, Pose, Track
from segment_concept.synthetic.optics import Optics, smear
from segment_concept.synthetic.pixels import (
    Image,
    alpha_of,
    as_image,
    lay,
    premultiply,
    smooth_noise,
    with_alpha,
)

_CELL = 8  # pixels between the nodes of a warp; the map between them is linear


@dataclass
class PlacedObject:
    """An object with its motion in a shot, in screen positions."""

    drawable: DrawableObject
    track: Track
    label: int  # 0: not an object of the clip
    shadow: float = 0.0  # darkness of its shadow, in [0, 1]
    soft: bool = True  # its edge is one pixel softer
    depth: float = 1.0


@dataclass
class Layer:
    """A large flat image in the scene at its own depth."""

    image: Image  # RGB, or premultiplied RGBA
    depth: float

    def view(self, camera: Camera, frame: int, height: int, width: int) -> Image:
        """The part that the camera sees, (height, width, 3 or 4)."""
        zoom = float(camera.zoom[frame]) ** self.depth
        roll = float(camera.roll[frame])
        x, y = camera.offset[frame] * self.depth
        cos, sin = zoom * math.cos(roll), zoom * math.sin(roll)
        h, w = self.image.shape[:2]
        matrix = np.array(
            [
                [cos, -sin, width / 2 + x - cos * w / 2 + sin * h / 2],
                [sin, cos, height / 2 + y - sin * w / 2 - cos * h / 2],
            ]
        )
        border = cv2.BORDER_REFLECT_101 if self.image.shape[2] == 3 else cv2.BORDER_REPLICATE
        seen = cv2.warpAffine(
            self.image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border
        )
        return as_image(seen)


@dataclass
class Shot:
    """Everything about one shot; `frame` draws it."""

    height: int
    width: int
    frames: int
    layers: list[Layer]  # far to near, all behind the objects
    placed: list[PlacedObject]  # far to near
    front: Layer | None  # in front of all objects; without a label
    camera: Camera
    optics: Optics

    def frame(self, index: int, rng: Generator) -> tuple[Image, Image]:
        """RGB (height, width, 3) and labels (height, width) of one frame of the shot."""
        rgb = self._backdrop(index)
        labels = np.zeros((self.height, self.width), np.uint8)
        for item in self.placed:
            self._draw(item, index, rgb, labels)
        if self.front is not None:
            sprite = self.front.view(self.camera, index, self.height, self.width)
            lay(rgb, sprite)
            labels[alpha_of(sprite) > 127] = 0
        at = index / max(1, self.frames - 1)
        return self.optics.expose(rgb, at, index, rng), labels

    def _backdrop(self, index: int) -> Image:
        rgb = self.layers[0].view(self.camera, index, self.height, self.width)
        for layer in self.layers[1:]:
            lay(rgb, layer.view(self.camera, index, self.height, self.width))
        if self.optics.shutter > 0 and self.frames > 1:
            step = self.camera.offset[max(1, index)] - self.camera.offset[max(1, index) - 1]
            dx, dy = self.optics.shutter * self.layers[0].depth * step
            rgb = smear(rgb, float(dx), float(dy))
        return rgb

    def _draw(self, item: PlacedObject, index: int, rgb: Image, labels: Image) -> None:
        pose = item.track.pose(index)
        sprite = item.drawable.sprite(pose.phase, pose.size)
        placed = place(sprite, pose, self.height, self.width)
        if placed is None:
            return
        patch, x, y = placed
        h, w = patch.shape[:2]
        solid = alpha_of(patch) > 127
        if item.shadow > 0:
            _throw_shadow(rgb, patch, (x, y), pose.size, item.shadow)
        if self.optics.shutter > 0 and self.frames > 1:
            step = item.track.position[max(1, index)] - item.track.position[max(1, index) - 1]
            patch = smear(patch, *(float(s) for s in self.optics.shutter * step))
        if item.soft:
            patch = as_image(cv2.blur(patch, (3, 3)))
        lay(rgb[y : y + h, x : x + w], patch)
        labels[y : y + h, x : x + w][solid] = item.label


def place(sprite: Image, pose: Pose, height: int, width: int) -> tuple[Image, int, int] | None:
    """Warp a premultiplied sprite to its pose.

    Returns the patch that meets the frame (h, w, 4) with its left and top, or None if it is
    outside. Affine, perspective and smooth bending are one backward map.
    """
    sprite_h, sprite_w = sprite.shape[:2]
    long_side = max(sprite_h, sprite_w)
    forward = _forward(pose)
    half_w, half_h = sprite_w / long_side / 2, sprite_h / long_side / 2
    reach = 1.0 + 0.6 * (abs(pose.tilt[0]) * half_w + abs(pose.tilt[1]) * half_h) + 0.06
    reach += 0.12 if pose.bend is not None else 0.0
    corners = forward @ np.array(
        [[-half_w, half_w, half_w, -half_w], [-half_h, -half_h, half_h, half_h]]
    )
    box_x, box_y = np.abs(corners).max(axis=1) * reach + 2
    x0, x1 = max(0, math.floor(pose.x - box_x)), min(width, math.ceil(pose.x + box_x))
    y0, y1 = max(0, math.floor(pose.y - box_y)), min(height, math.ceil(pose.y + box_y))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    back = np.linalg.inv(forward)
    nodes_x = np.arange(-1, (x1 - x0 - 1) // _CELL + 2) * _CELL + (_CELL - 1) / 2 + x0 - pose.x
    nodes_y = np.arange(-1, (y1 - y0 - 1) // _CELL + 2) * _CELL + (_CELL - 1) / 2 + y0 - pose.y
    u = (back[0, 0] * nodes_x[None] + back[0, 1] * nodes_y[:, None]).astype(np.float32)
    v = (back[1, 0] * nodes_x[None] + back[1, 1] * nodes_y[:, None]).astype(np.float32)
    depth = np.maximum(1 + pose.tilt[0] * u + pose.tilt[1] * v, 0.3)
    u, v = u / depth, v / depth
    if pose.bend is not None:
        last = np.float32(pose.bend.shape[0] - 1)
        moved = cv2.remap(
            pose.bend,
            (u + np.float32(0.5)) * last,
            (v + np.float32(0.5)) * last,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        u, v = u + moved[..., 0], v + moved[..., 1]
    maps = [
        cv2.resize(coarse, (coarse.shape[1] * _CELL, coarse.shape[0] * _CELL))[
            _CELL : _CELL + y1 - y0, _CELL : _CELL + x1 - x0
        ]
        for coarse in (
            (u * long_side + (sprite_w - 1) / 2).astype(np.float32),
            (v * long_side + (sprite_h - 1) / 2).astype(np.float32),
        )
    ]
    patch = cv2.remap(
        sprite,
        maps[0],
        maps[1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0, 0),
    )
    return as_image(patch), x0, y0


def _forward(pose: Pose) -> NDArray[np.float64]:
    """From units of the sprite's longer side to pixels, (2, 2)."""
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    lean = np.array([[1.0, pose.shear], [0.0, 1.0]])
    flip = -1.0 if pose.mirror else 1.0
    stretch = math.sqrt(pose.stretch)
    return np.asarray(turn @ lean @ np.diag([flip * pose.size * stretch, pose.size / stretch]))


def _throw_shadow(
    rgb: Image, patch: Image, corner: tuple[int, int], size: float, darkness: float
) -> None:
    """Draw the object's shadow on the ground, in place."""
    x, y = corner
    down = max(1, round(0.05 * size))
    y = min(y + down, rgb.shape[0])
    h, w = min(patch.shape[0], rgb.shape[0] - y), patch.shape[1]
    if h < 2:
        return
    width = max(3, round(0.08 * size)) | 1
    shadow = cv2.blur(alpha_of(patch[:h]), (width, width))
    keep = cv2.cvtColor(cv2.convertScaleAbs(shadow, alpha=darkness), cv2.COLOR_GRAY2RGB)
    ground = rgb[y : y + h, x : x + w]
    ground[:] = cv2.subtract(ground, cv2.multiply(ground, keep, scale=1 / 255))


def horizon(rgb: Image, rng: Generator, line: float, rough: float) -> Image:
    """An image (h, w, 3) with the part above a wavy line removed, as premultiplied RGBA."""
    height, width = rgb.shape[:2]
    waves = smooth_noise(rng, 2, width, int(rng.integers(3, 12)))[0]
    edge = height * line + rough * height * waves
    alpha = (np.arange(height, dtype=np.float32)[:, None] - edge[None]) * 128 + 128
    return premultiply(with_alpha(rgb, as_image(alpha.clip(0, 255))))
