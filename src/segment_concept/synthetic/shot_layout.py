"""Lay out shots: backdrops, clutter, occluders, and the sizes and motions of objects."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator

from segment_concept.synthetic import shapes
from segment_concept.synthetic.articulated import ArticulatedObject, DrawableObject, still
from segment_concept.synthetic.assets import Assets
from segment_concept.synthetic.motion import Camera, Track, draw_camera, draw_track, leave
from segment_concept.synthetic.objects import draw_object
from segment_concept.synthetic.optics import draw_optics
from segment_concept.synthetic.pixels import (
    Image,
    as_image,
    chance,
    grade_table,
    graded,
    lay,
    log_uniform,
    pick,
    smooth_noise,
    uniform,
    with_alpha,
)
from segment_concept.synthetic.scene import Layer, PlacedObject, Shot, horizon

_MARGIN = 1.5  # size of a backdrop relative to the view; beyond that it is mirrored


@dataclass(frozen=True, slots=True)
class ShotObject:
    """An object in a shot, and when it is visible."""

    obj: ArticulatedObject
    label: int  # 0 for an extra without a label
    invisible: range | None = None  # frames of the shot in which it is completely invisible
    covered: bool = False  # hidden behind an occluder instead of outside the frame
    main: bool = False
    second: ArticulatedObject | None = None  # a second part of the object, which drifts away


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotLayout:
    """Settings shared by the shots of a clip."""

    assets: Assets
    height: int
    width: int
    speed: float  # 1 is typical of frames that are a few frames apart
    composite: float
    solid: float
    occluders: float
    growth: float = 0.0
    turning: float = 0.0

    @property
    def side(self) -> int:
        """The shorter side, pixels."""
        return min(self.height, self.width)


def draw_shot(
    layout: ShotLayout,
    rng: Generator,
    shot_objects: list[ShotObject],
    frames: int,
    place: list[Layer] | None = None,
) -> Shot:
    """A shot of the given objects, in a new place unless one is given."""
    camera = draw_camera(rng, frames, layout.side, layout.speed)
    placed: list[PlacedObject] = []
    covers: list[PlacedObject] = []
    follow = uniform(rng, 0.5, 1.0) if chance(rng, 0.5) else 0.0
    for each in shot_objects:
        item = _place_object(layout, rng, each, camera, follow if each.main else 0.0)
        placed.append(item)
        if each.invisible is None:
            if each.second is not None:
                placed.append(_drifting(layout, rng, item, each.second))
            continue
        if each.covered:
            covers.append(_cover(layout, rng, item.track, each.invisible))
        else:
            leave(rng, item.track, each.invisible, (layout.height, layout.width))
    order = rng.permutation(len(placed))
    behind = [placed[i] for i in order]
    if chance(rng, 0.4):  # no occluder in front of the first object
        behind.sort(key=lambda p: p.label == 1)
    passers = _passers(layout, rng, frames, camera) if chance(rng, layout.occluders) else []
    return Shot(
        height=layout.height,
        width=layout.width,
        frames=frames,
        layers=place or draw_place(layout, rng),
        placed=behind + passers + covers,
        front=_front(layout, rng) if chance(rng, 0.4 * layout.occluders) else None,
        camera=camera,
        optics=draw_optics(rng),
    )


def draw_size(rng: Generator, main: bool) -> float:
    """Longer side of an object as a share of the frame's shorter side."""
    if not main:
        return log_uniform(rng, 0.1, 0.65)
    band = pick(rng, [0.08, 0.8, 0.12])
    return log_uniform(rng, *((0.05, 0.18), (0.18, 0.85), (0.85, 1.2))[band])


def _place_object(
    layout: ShotLayout, rng: Generator, each: ShotObject, camera: Camera, follow: float
) -> PlacedObject:
    size = draw_size(rng, each.main) * layout.side
    frames = len(camera.zoom)
    track = draw_track(rng, frames, (layout.height, layout.width), size, layout.speed)
    if each.main and layout.growth and chance(rng, layout.growth):
        _grow(rng, track, layout.side)
    if each.main and layout.turning and each.obj.solid and chance(rng, layout.turning):
        # Half a cycle shows every view once.
        track.phase[:] = track.phase[0] + uniform(rng, 0.3, 0.5) * np.linspace(0, 1, frames)
    following = replace(camera, offset=camera.offset * (1 - follow))
    _apply_camera(track, following, layout, 1.0)
    return PlacedObject(
        drawable=DrawableObject(_relit(rng, each.obj)),
        track=track,
        label=each.label,
        shadow=uniform(rng, 0.15, 0.6) if chance(rng, 0.4) else 0.0,
        soft=chance(rng, 0.6),
    )


def _grow(rng: Generator, track: Track, side: int) -> None:
    """Change the area of an object 3 to 10 times along its track, in place; mostly it grows."""
    frames = len(track.size)
    factor = math.sqrt(log_uniform(rng, 3.0, 10.0))
    at = np.linspace(0, 1, frames) ** uniform(rng, 0.6, 1.6)
    way = factor**at if chance(rng, 0.8) else factor ** (1 - at)
    largest = min(float(track.size.max()) * factor, log_uniform(rng, 0.5, 1.3) * side)
    track.size[:] = largest / factor * way


def _drifting(
    layout: ShotLayout, rng: Generator, first: PlacedObject, obj: ArticulatedObject
) -> PlacedObject:
    """A second part of an object, of similar size, which moves away from the first."""
    frames = len(first.track.position)
    size = first.track.size * log_uniform(rng, 0.6, 1.4)
    heading = uniform(rng, 0, 2 * math.pi)
    way = np.array([math.cos(heading), 0.6 * math.sin(heading)])
    apart = uniform(rng, 0.3, 0.6) + uniform(rng, 0.2, 1.5) * np.linspace(0, 1, frames)
    track = draw_track(rng, frames, (layout.height, layout.width), float(size[0]), layout.speed)
    position = first.track.position + apart[:, None] * float(first.track.size.mean()) * way
    edge = np.array([layout.width, layout.height], float)
    moved = replace(track, position=position.clip(0.05 * edge, 0.95 * edge), size=size)
    return replace(first, drawable=DrawableObject(_relit(rng, obj)), track=moved)


def _apply_camera(track: Track, camera: Camera, layout: ShotLayout, depth: float) -> None:
    """Convert world to screen positions, in place."""
    track.position[:] = camera.project(track.position, depth, layout.height, layout.width)
    track.size[:] *= camera.zoom**depth
    track.angle[:] += camera.roll


def _relit(rng: Generator, obj: ArticulatedObject) -> ArticulatedObject:
    """The object in the light of a new shot."""
    if chance(rng, 0.25):
        return obj
    table = grade_table(rng, 0.9)
    return obj.repainted(lambda rgba: graded(rgba, table))


# ------------------------------------------------------------------------------------- backdrops


def draw_place(layout: ShotLayout, rng: Generator) -> list[Layer]:
    """A new backdrop, sometimes with a nearer ground in front of it."""
    height, width = int(layout.height * _MARGIN), int(layout.width * _MARGIN)
    far = shapes.photo_crop(layout.assets, rng, height, width, 0.75)
    if chance(rng, 0.3):
        far = as_image(cv2.LUT(far, grade_table(rng, 1.2)))
    if chance(rng, 0.25):
        bumps = 1 + 0.25 * smooth_noise(rng, height, width, int(rng.integers(4, 17)))
        gain = as_image((bumps * 100).clip(0, 255))
        far = as_image(cv2.multiply(far, cv2.cvtColor(gain, cv2.COLOR_GRAY2RGB), scale=1 / 100))
    _scatter(layout, rng, far, int(rng.choice([0, 0, 0, 1, 3, 6])))
    layers = [Layer(far, uniform(rng, 0.3, 1.0))]
    if chance(rng, 0.3):
        near = shapes.photo_crop(layout.assets, rng, height, width, 0.75)
        _scatter(layout, rng, near, int(rng.choice([0, 0, 2, 4])))
        line, rough = uniform(rng, 0.4, 0.75), uniform(rng, 0.005, 0.06)
        layers.append(Layer(horizon(near, rng, line, rough), 1.0))
    return layers


def seen_again(rng: Generator, layers: list[Layer]) -> list[Layer]:
    """A place seen by another camera: nearer, shifted, and possibly mirrored."""
    mirror, zoom = chance(rng, 0.5), log_uniform(rng, 1.0, 1.7)
    room = 1 - 1 / zoom
    left, top = uniform(rng, 0, room), uniform(rng, 0, room)

    def view(image: Image) -> Image:
        h, w = image.shape[:2]
        x, y = int(left * w), int(top * h)
        part = image[y : y + math.ceil(h / zoom), x : x + math.ceil(w / zoom)]
        grown = cv2.resize(part, (w, h), interpolation=cv2.INTER_LINEAR)
        return as_image(cv2.flip(grown, 1) if mirror else grown)

    return [replace(layer, image=view(layer.image)) for layer in layers]


def _front(layout: ShotLayout, rng: Generator) -> Layer:
    """A hedge or wall at the lower border, in front of the objects."""
    height, width = int(layout.height * _MARGIN), int(layout.width * _MARGIN)
    rgb = shapes.photo_crop(layout.assets, rng, height, width)
    line, rough = uniform(rng, 0.68, 0.8), uniform(rng, 0.005, 0.04)
    return Layer(horizon(rgb, rng, line, rough), 1.3)


def _scatter(layout: ShotLayout, rng: Generator, rgb: Image, count: int) -> None:
    """Draw clutter without labels into a backdrop, in place."""
    for _ in range(count):
        obj = draw_object(layout.assets, rng, 0.25)
        size = log_uniform(rng, 0.08, 0.5) * layout.side
        sprite = DrawableObject(_relit(rng, obj)).sprite(0.0, size)
        scale = size / max(sprite.shape[:2])
        box = (max(2, round(sprite.shape[1] * scale)), max(2, round(sprite.shape[0] * scale)))
        sprite = as_image(cv2.resize(sprite, box, interpolation=cv2.INTER_AREA))
        h, w = min(box[1], rgb.shape[0]), min(box[0], rgb.shape[1])
        y = int(rng.integers(0, rgb.shape[0] - h + 1))
        x = int(rng.integers(0, rgb.shape[1] - w + 1))
        lay(rgb[y : y + h, x : x + w], sprite[:h, :w])


# ------------------------------------------------------------------------------------- occluders


def _panel(layout: ShotLayout, rng: Generator, wide: float) -> ArticulatedObject:
    """A vertical strip longer than the diagonal of the frame, `wide` times as wide as long."""
    height, width = 480, max(6, round(480 * wide))
    cloth = shapes.any_cloth(layout.assets, rng)
    rgb = shapes.shade(cloth(height, width), uniform(rng, -1, 1), uniform(rng, 0, 0.6))
    alpha = np.full((height, width), 255, np.uint8)
    return still(with_alpha(rgb, alpha), "panel", "shape/panel")


def _passers(layout: ShotLayout, rng: Generator, frames: int, camera: Camera) -> list[PlacedObject]:
    """Occluders in front of the objects: poles, bars, blobs or passing objects."""
    kind = pick(rng, [0.45, 0.55])
    diagonal = math.hypot(layout.height, layout.width)
    placed = []
    slant = float(rng.normal(0, 0.12)) + (math.pi / 2 if chance(rng, 0.2) else 0.0)
    for _ in range(int(rng.integers(1, 4)) if kind == 0 else 1):
        if kind == 0:
            size = 1.5 * diagonal
            obj = _panel(layout, rng, log_uniform(rng, 0.012, 0.07))
        else:
            size = log_uniform(rng, 0.2, 0.7) * layout.side
            obj = draw_object(layout.assets, rng, 0.5, layout.solid)
        pace = layout.speed * (0.3 if kind == 0 else 2.0)
        track = draw_track(rng, frames, (layout.height, layout.width), size, pace)
        if kind == 0:
            across = uniform(rng, 0.1, 0.9)
            start = np.array([across * layout.width, 0.5 * layout.height])
            track.position[:] += start - track.position[0]
            track.angle[:], track.bends, track.tilt[:], track.shear[:] = slant, None, 0.0, 0.0
            track.stretch[:], track.size[:] = 1.0, size
        depth = uniform(rng, 1.0, 1.8)
        _apply_camera(track, camera, layout, depth)
        placed.append(
            PlacedObject(DrawableObject(_relit(rng, obj)), track, 0, soft=chance(rng, 0.6))
        )
    return placed


def _cover(layout: ShotLayout, rng: Generator, target: Track, invisible: range) -> PlacedObject:
    """An occluder that hides the target in the frames `invisible`."""
    frames = len(target.position)
    span = 1.35 * float(target.size[invisible.start : invisible.stop].max()) + 6
    upright = chance(rng, 0.6)
    if upright:
        long_side = 2.2 * math.hypot(layout.height, layout.width)
        obj = _panel(layout, rng, span / long_side)
        size = long_side
    else:
        cloth = shapes.any_cloth(layout.assets, rng)
        image = shapes.ellipse_image(cloth, 220, 220, uniform(rng, -1, 1))
        obj, size = still(image, "cover", "shape/cover"), 1.2 * span
    position = target.position.copy()
    step = np.array([uniform(rng, 0.5, 1.3) * span * (1 if chance(rng, 0.5) else -1), 0.0])
    if not upright:
        step = step[[0, 1]] * 0.9 + np.array([0.0, float(rng.normal(0, 0.3)) * span])
    for t in range(frames):
        early, late = min(0, t - invisible.start), max(0, t - (invisible.stop - 1))
        anchor = target.position[min(max(t, invisible.start), invisible.stop - 1)]
        position[t] = anchor + (early + late) * step
    ones = np.ones(frames)
    track = Track(
        position=position,
        size=size * ones,
        angle=(float(rng.normal(0, 0.05)) if upright else 0.0) * ones,
        mirror=False,
        stretch=ones,
        shear=0 * ones,
        tilt=np.zeros((frames, 2)),
        bends=None,
        phase=0 * ones,
    )
    return PlacedObject(DrawableObject(obj), track, 0, soft=chance(rng, 0.6))
