"""Lay out shots: backdrops, clutter, occluders, and the sizes and motions of objects."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator

from segment_concept.synthetic import shapes
from segment_concept.synthetic.articulated import Actor, ArticulatedObject, still
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
from segment_concept.synthetic.scene import Layer, Player, Shot, horizon

_MARGIN = 1.5  # size of a backdrop relative to the view; beyond that it is mirrored


@dataclass(frozen=True, slots=True)
class Role:
    """Role of an object in a shot."""

    puppet: ArticulatedObject
    label: int  # 0 for an extra without a label
    gone: range | None = None  # frames of the shot in which it is completely invisible
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
    stage: ShotLayout,
    rng: Generator,
    roles: list[Role],
    frames: int,
    place: list[Layer] | None = None,
) -> Shot:
    """A shot with the given roles, in a new place unless one is given."""
    camera = draw_camera(rng, frames, stage.side, stage.speed)
    players: list[Player] = []
    covers: list[Player] = []
    follow = uniform(rng, 0.5, 1.0) if chance(rng, 0.5) else 0.0
    for role in roles:
        player = _player(stage, rng, role, camera, follow if role.main else 0.0)
        players.append(player)
        if role.gone is None:
            if role.second is not None:
                players.append(_drifting(stage, rng, player, role.second))
            continue
        if role.covered:
            covers.append(_cover(stage, rng, player.track, role.gone))
        else:
            leave(rng, player.track, role.gone, (stage.height, stage.width))
    order = rng.permutation(len(players))
    behind = [players[i] for i in order]
    if chance(rng, 0.4):  # no occluder in front of the first object
        behind.sort(key=lambda p: p.label == 1)
    passers = _passers(stage, rng, frames, camera) if chance(rng, stage.occluders) else []
    return Shot(
        height=stage.height,
        width=stage.width,
        frames=frames,
        layers=place or draw_place(stage, rng),
        players=behind + passers + covers,
        front=_front(stage, rng) if chance(rng, 0.4 * stage.occluders) else None,
        camera=camera,
        optics=draw_optics(rng),
    )


def draw_size(rng: Generator, main: bool) -> float:
    """Longer side of an object as a share of the frame's shorter side."""
    if not main:
        return log_uniform(rng, 0.1, 0.65)
    band = pick(rng, [0.08, 0.8, 0.12])
    return log_uniform(rng, *((0.05, 0.18), (0.18, 0.85), (0.85, 1.2))[band])


def _player(stage: ShotLayout, rng: Generator, role: Role, camera: Camera, follow: float) -> Player:
    size = draw_size(rng, role.main) * stage.side
    frames = len(camera.zoom)
    track = draw_track(rng, frames, (stage.height, stage.width), size, stage.speed)
    if role.main and stage.growth and chance(rng, stage.growth):
        _grow(rng, track, stage.side)
    if role.main and stage.turning and role.puppet.solid and chance(rng, stage.turning):
        # Half a cycle shows every view once.
        track.phase[:] = track.phase[0] + uniform(rng, 0.3, 0.5) * np.linspace(0, 1, frames)
    held = replace(camera, offset=camera.offset * (1 - follow))
    _film(track, held, stage, 1.0)
    return Player(
        actor=Actor(_relit(rng, role.puppet)),
        track=track,
        label=role.label,
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
    stage: ShotLayout, rng: Generator, first: Player, puppet: ArticulatedObject
) -> Player:
    """A second part of an object, of similar size, which moves away from the first."""
    frames = len(first.track.place)
    size = first.track.size * log_uniform(rng, 0.6, 1.4)
    heading = uniform(rng, 0, 2 * math.pi)
    way = np.array([math.cos(heading), 0.6 * math.sin(heading)])
    apart = uniform(rng, 0.3, 0.6) + uniform(rng, 0.2, 1.5) * np.linspace(0, 1, frames)
    track = draw_track(rng, frames, (stage.height, stage.width), float(size[0]), stage.speed)
    place = first.track.place + apart[:, None] * float(first.track.size.mean()) * way
    edge = np.array([stage.width, stage.height], float)
    moved = replace(track, place=place.clip(0.05 * edge, 0.95 * edge), size=size)
    return replace(first, actor=Actor(_relit(rng, puppet)), track=moved)


def _film(track: Track, camera: Camera, stage: ShotLayout, depth: float) -> None:
    """Convert world to screen positions, in place."""
    track.place[:] = camera.seen(track.place, depth, stage.height, stage.width)
    track.size[:] *= camera.zoom**depth
    track.angle[:] += camera.roll


def _relit(rng: Generator, puppet: ArticulatedObject) -> ArticulatedObject:
    """The puppet in the light of a new shot."""
    if chance(rng, 0.25):
        return puppet
    table = grade_table(rng, 0.9)
    return puppet.repainted(lambda rgba: graded(rgba, table))


# ------------------------------------------------------------------------------------- backdrops


def draw_place(stage: ShotLayout, rng: Generator) -> list[Layer]:
    """A new backdrop, sometimes with a nearer ground in front of it."""
    height, width = int(stage.height * _MARGIN), int(stage.width * _MARGIN)
    far = shapes.photo_crop(stage.assets, rng, height, width, 0.75)
    if chance(rng, 0.3):
        far = as_image(cv2.LUT(far, grade_table(rng, 1.2)))
    if chance(rng, 0.25):
        bumps = 1 + 0.25 * smooth_noise(rng, height, width, int(rng.integers(4, 17)))
        gain = as_image((bumps * 100).clip(0, 255))
        far = as_image(cv2.multiply(far, cv2.cvtColor(gain, cv2.COLOR_GRAY2RGB), scale=1 / 100))
    _scatter(stage, rng, far, int(rng.choice([0, 0, 0, 1, 3, 6])))
    layers = [Layer(far, uniform(rng, 0.3, 1.0))]
    if chance(rng, 0.3):
        near = shapes.photo_crop(stage.assets, rng, height, width, 0.75)
        _scatter(stage, rng, near, int(rng.choice([0, 0, 2, 4])))
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


def _front(stage: ShotLayout, rng: Generator) -> Layer:
    """A hedge or wall at the lower border, in front of the objects."""
    height, width = int(stage.height * _MARGIN), int(stage.width * _MARGIN)
    rgb = shapes.photo_crop(stage.assets, rng, height, width)
    line, rough = uniform(rng, 0.68, 0.8), uniform(rng, 0.005, 0.04)
    return Layer(horizon(rgb, rng, line, rough), 1.3)


def _scatter(stage: ShotLayout, rng: Generator, rgb: Image, count: int) -> None:
    """Draw clutter without labels into a backdrop, in place."""
    for _ in range(count):
        puppet = draw_object(stage.assets, rng, 0.25)
        size = log_uniform(rng, 0.08, 0.5) * stage.side
        sprite = Actor(_relit(rng, puppet)).sprite(0.0, size)
        scale = size / max(sprite.shape[:2])
        box = (max(2, round(sprite.shape[1] * scale)), max(2, round(sprite.shape[0] * scale)))
        sprite = as_image(cv2.resize(sprite, box, interpolation=cv2.INTER_AREA))
        h, w = min(box[1], rgb.shape[0]), min(box[0], rgb.shape[1])
        y = int(rng.integers(0, rgb.shape[0] - h + 1))
        x = int(rng.integers(0, rgb.shape[1] - w + 1))
        lay(rgb[y : y + h, x : x + w], sprite[:h, :w])


# ------------------------------------------------------------------------------------- occluders


def _panel(stage: ShotLayout, rng: Generator, wide: float) -> ArticulatedObject:
    """A vertical strip longer than the diagonal of the frame, `wide` times as wide as long."""
    height, width = 480, max(6, round(480 * wide))
    cloth = shapes.any_cloth(stage.assets, rng)
    rgb = shapes.shade(cloth(height, width), uniform(rng, -1, 1), uniform(rng, 0, 0.6))
    alpha = np.full((height, width), 255, np.uint8)
    return still(with_alpha(rgb, alpha), "panel", "shape/panel")


def _passers(stage: ShotLayout, rng: Generator, frames: int, camera: Camera) -> list[Player]:
    """Occluders in front of the objects: poles, bars, blobs or passing objects."""
    kind = pick(rng, [0.45, 0.55])
    diagonal = math.hypot(stage.height, stage.width)
    players = []
    slant = float(rng.normal(0, 0.12)) + (math.pi / 2 if chance(rng, 0.2) else 0.0)
    for _ in range(int(rng.integers(1, 4)) if kind == 0 else 1):
        if kind == 0:
            size = 1.5 * diagonal
            puppet = _panel(stage, rng, log_uniform(rng, 0.012, 0.07))
        else:
            size = log_uniform(rng, 0.2, 0.7) * stage.side
            puppet = draw_object(stage.assets, rng, 0.5, stage.solid)
        pace = stage.speed * (0.3 if kind == 0 else 2.0)
        track = draw_track(rng, frames, (stage.height, stage.width), size, pace)
        if kind == 0:
            across = uniform(rng, 0.1, 0.9)
            start = np.array([across * stage.width, 0.5 * stage.height])
            track.place[:] += start - track.place[0]
            track.angle[:], track.bends, track.tilt[:], track.shear[:] = slant, None, 0.0, 0.0
            track.stretch[:], track.size[:] = 1.0, size
        depth = uniform(rng, 1.0, 1.8)
        _film(track, camera, stage, depth)
        players.append(Player(Actor(_relit(rng, puppet)), track, 0, soft=chance(rng, 0.6)))
    return players


def _cover(stage: ShotLayout, rng: Generator, target: Track, gone: range) -> Player:
    """An occluder that hides the target in the frames `gone`."""
    frames = len(target.place)
    span = 1.35 * float(target.size[gone.start : gone.stop].max()) + 6
    upright = chance(rng, 0.6)
    if upright:
        long_side = 2.2 * math.hypot(stage.height, stage.width)
        puppet = _panel(stage, rng, span / long_side)
        size = long_side
    else:
        cloth = shapes.any_cloth(stage.assets, rng)
        image = shapes.ellipse_image(cloth, 220, 220, uniform(rng, -1, 1))
        puppet, size = still(image, "cover", "shape/cover"), 1.2 * span
    place = target.place.copy()
    step = np.array([uniform(rng, 0.5, 1.3) * span * (1 if chance(rng, 0.5) else -1), 0.0])
    if not upright:
        step = step[[0, 1]] * 0.9 + np.array([0.0, float(rng.normal(0, 0.3)) * span])
    for t in range(frames):
        early, late = min(0, t - gone.start), max(0, t - (gone.stop - 1))
        anchor = target.place[min(max(t, gone.start), gone.stop - 1)]
        place[t] = anchor + (early + late) * step
    ones = np.ones(frames)
    track = Track(
        place=place,
        size=size * ones,
        angle=(float(rng.normal(0, 0.05)) if upright else 0.0) * ones,
        mirror=False,
        stretch=ones,
        shear=0 * ones,
        tilt=np.zeros((frames, 2)),
        bends=None,
        phase=0 * ones,
    )
    return Player(Actor(puppet), track, 0, soft=chance(rng, 0.6))
