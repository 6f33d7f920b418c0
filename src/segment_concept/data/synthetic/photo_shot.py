"""One shot in a photograph: the plate under its camera, and the sprites over it."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from segment_concept.data.synthetic.optics import Optics, draw_optics, smear
from segment_concept.data.synthetic.photo_path import (
    Path,
    Series,
    Start,
    after,
    away_during,
    cover_zoom,
    draw_camera,
    draw_path,
    draw_shares,
    following_camera,
    lens,
    scales,
    seen_at,
)
from segment_concept.data.synthetic.photo_scene import (
    Scene,
    draw_object,
    lift,
    make_plate,
    make_sprite,
    open_scene,
    recolored,
    relit,
)
from segment_concept.data.synthetic.photo_spec import PhotoClipSpec
from segment_concept.data.synthetic.photo_warp import Affine, Plate, Pose, Sprite
from segment_concept.data.synthetic.photos import Photo, Photos
from segment_concept.data.synthetic.pixels import Image, chance, log_uniform, pick, uniform


@dataclass(frozen=True, slots=True, eq=False)
class Actor:
    """A sprite on its way."""

    sprite: Sprite
    matrices: Series  # (T, 2, 3)
    label: int  # 0: it has none
    shadow: float  # strength in [0, 1]


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """What is to be seen between two cuts, frame by frame."""

    spec: PhotoClipSpec
    plate: Plate
    camera: Series  # (T, 2, 3)
    actors: tuple[Actor, ...]  # from back to front
    optics: Optics
    main: Series  # (T, 2): where the middle of object 1 is, or of the frame without it
    area: float  # pixels of object 1 on the first frame if nothing hid it

    def frame(self, t: int, rng: Generator) -> tuple[Image, Image]:
        """Frame `t` of the shot: (H, W, 3) and its labels (H, W)."""
        spec, shutter = self.spec, self.optics.shutter
        rgb, labels = self.plate.frame(self.camera[t], t, spec.height, spec.width)
        middle = _back(self.camera[t], (spec.width / 2, spec.height / 2))
        rgb = smear(rgb, *_movement(self.camera, middle, t, shutter))
        for actor in self.actors:
            blur = _movement(actor.matrices, actor.sprite.center, t, shutter)
            pose = Pose(actor.matrices[t], t, blur)
            actor.sprite.draw(rgb, labels, actor.label, pose, actor.shadow)
        at = t / max(1, len(self.camera) - 1)
        return self.optics.expose(rgb, at, t, rng), labels

    def seen_otherwise(self, rng: Generator) -> "Shot":
        """The same things at the same time, closer or from farther away, in another light."""
        size = (self.plate.rgb.shape[1], self.plate.rgb.shape[0])
        least = cover_zoom(self.spec, size) / float(scales(self.camera).min())
        middle = len(self.main) // 2
        matrix = lens(rng, self.spec, self.main[middle], least)
        matrix = _covering(self.spec, matrix, self.camera[middle], size)
        actors = tuple(replace(a, matrices=after(matrix, a.matrices)) for a in self.actors)
        return Shot(
            spec=self.spec,
            plate=self.plate,
            camera=after(matrix, self.camera),
            actors=actors,
            optics=draw_optics(rng) if chance(rng, 0.5) else self.optics,
            main=self.main @ matrix[:, :2].T + matrix[:, 2],
            area=self.area * float(abs(np.linalg.det(matrix[:, :2]))),
        )


@dataclass(frozen=True, slots=True, eq=False)
class MainObject:
    """Object 1 of a clip."""

    scene: Scene
    number: int  # in the scene's mask
    rgba: Image  # cut out
    whole: bool  # it can be pasted elsewhere
    swing: float  # how far it bends, as a share of its size


def draw_main(photos: Photos, spec: PhotoClipSpec, rng: Generator, pasted: bool) -> MainObject:
    """Object 1: of a scene, or one that can be pasted."""
    photo = photos.draw_cutout(rng) if pasted and chance(rng, 0.5) else None
    scene = open_scene(rng, photo or photos.draw_scene(rng))
    if photo is None or not photo.objects:
        for _ in range(8):
            number = draw_object(rng, scene)
            if not pasted or scene.can_be_loose(number):
                break
            scene = open_scene(rng, photos.draw_scene(rng))
    number = draw_object(rng, scene) if photo is not None else number
    whole = scene.photo.cutout or scene.can_be_loose(number)
    strong = 0.09 if scene.photo.cutout else 0.06
    swing = spec.deform * uniform(rng, 0.01, strong)
    return MainObject(scene, number, lift(scene, number), whole, swing)


class ShotMaker:
    """Draws shots of a clip, in which things keep their labels."""

    def __init__(self, photos: Photos, spec: PhotoClipSpec, main: MainObject) -> None:
        self._photos, self._spec, self._main = photos, spec, main

    def draw(
        self, rng: Generator, frames: int, ground: Scene, part: str, late: bool = False
    ) -> Shot:
        """A shot before the photograph `ground`.

        `part` of object 1: "attached" to its photograph, "loose" over its own photograph, "pasted"
        over another, or "absent". A pasted one may come in `late`.
        """
        spec, main = self._spec, self._main
        own = ground is main.scene
        ids = self._ids(ground) if own or part == "pasted" else {}
        loose = self._loose(rng, ground, part)
        swing = spec.deform if part != "absent" else 0.5 * spec.deform
        plate = make_plate(rng, ground, ids, loose, swing)
        size = (ground.rgb.shape[1], ground.rgb.shape[0])
        if part == "attached":
            thing = _thing(ground, main.number)
            camera = following_camera(rng, spec, frames, size, thing)
            track = seen_at(camera, thing[0])
            root = math.sqrt(thing[1]) * scales(camera)
        else:
            camera = draw_camera(rng, spec, frames, size)
            track = np.full((frames, 2), (spec.width / 2, spec.height / 2))
            root = np.full(frames, 0.3 * spec.height)
        actors = [self._neighbor(rng, ground, n, ids.get(n, 0), camera) for n in loose]
        actors = [a for a, n in zip(actors, loose, strict=True) if not own or n != main.number]
        star = None
        if part in ("loose", "pasted"):
            start = None
            if part == "loose" and chance(rng, 0.6):
                start = _start(spec, ground, main.number, camera)
            star, path = self._star(rng, ground, frames, start, late)
            track, root = path.place, path.root
        if part != "absent" and chance(rng, spec.lookalike):
            actors.append(self._lookalike(rng, ground, frames, len(ids) + 2))
        if star is not None:
            actors.insert(len(actors) if chance(rng, 0.75) else 0, star)
        actors += self._occluders(rng, frames, track, root, ground)
        area = float(root[0]) ** 2
        return Shot(spec, plate, camera, tuple(actors), draw_optics(rng), track, area)

    def _ids(self, ground: Scene) -> dict[int, int]:
        """Labels of the objects of a scene: 1 for object 1, then the largest others."""
        own = ground is self._main.scene
        others = [n for n in ground.photo.objects if not own or n != self._main.number]
        others.sort(key=lambda n: -ground.area(n))
        ids = {n: i for i, n in enumerate(others[: self._spec.most_objects - 1], start=2)}
        if own:
            ids[self._main.number] = 1
        return ids

    def _loose(self, rng: Generator, ground: Scene, part: str) -> tuple[int, ...]:
        """Objects of a scene that are lifted out of it."""
        own = ground is self._main.scene
        loose = [self._main.number] if own and part in ("loose", "absent") else []
        for number in ground.photo.objects:
            other = not own or number != self._main.number
            if other and len(loose) < 3 and chance(rng, 0.25) and ground.can_move(number):
                loose.append(number)
        return tuple(loose)

    def _star(
        self, rng: Generator, ground: Scene, frames: int, start: Start | None, late: bool
    ) -> tuple[Actor, Path]:
        spec, main = self._spec, self._main
        rgba = main.rgba if start is not None else relit(rng, main.rgba, ground.rgb)
        turns_in = frames if chance(rng, spec.turns) else 0
        sprite = make_sprite(rng, rgba, main.swing, turns_in)
        extent = _extent(sprite)
        shares = draw_shares(rng, spec, frames, (0.004, 0.65), start.share if start else 0)
        path = draw_path(rng, spec, frames, extent, shares, start)
        gone = None
        if late and frames > 1:
            gone = range(int(rng.integers(1, frames)))
        elif frames > 2 and chance(rng, spec.leaves):
            first = int(rng.integers(1, frames))
            gone = range(first, int(rng.integers(first + 1, frames + 1)))
        if gone is not None:
            path = away_during(rng, path, gone, extent[0], spec.width)
        shadow = uniform(rng, 0.15, 0.6) if chance(rng, 0.45) else 0.0
        return Actor(sprite, path.matrices(sprite.center, sprite.area), 1, shadow), path

    def _neighbor(
        self, rng: Generator, ground: Scene, number: int, label: int, camera: Series
    ) -> Actor:
        """Another object of the photograph that moves a little by itself from its place."""
        swing = self._spec.deform * uniform(rng, 0.01, 0.05)
        sprite = make_sprite(rng, lift(ground, number), swing)
        frames = len(camera)
        start = _start(self._spec, ground, number, camera)
        shares = start.share * np.exp(float(rng.normal(0, 0.03)) * np.arange(frames))
        calm = replace(self._spec, fast=0.0, partial=0.0)
        path = draw_path(rng, calm, frames, _extent(sprite), shares, start)
        return Actor(sprite, path.matrices(sprite.center, sprite.area), label, 0.0)

    def _lookalike(self, rng: Generator, ground: Scene, frames: int, label: int) -> Actor:
        """Something of the kind of object 1, or object 1 in other colors."""
        rgba = None
        if chance(rng, 0.7):
            rgba = _drawn_cutout(rng, self._photos.draw_kin(rng, self._main.scene.photo))
        if rgba is None:
            rgba = recolored(rng, self._main.rgba)
        labeled = label <= self._spec.most_objects and chance(rng, 0.5)
        return self._passer(rng, relit(rng, rgba, ground.rgb), frames, label if labeled else 0)

    def _passer(self, rng: Generator, rgba: Image, frames: int, label: int) -> Actor:
        swing = self._spec.deform * uniform(rng, 0.01, 0.07)
        sprite = make_sprite(rng, rgba, swing)
        share = log_uniform(rng, 0.008, 0.15)
        shares = share * np.exp(float(rng.normal(0, 0.04)) * np.arange(frames))
        path = draw_path(rng, self._spec, frames, _extent(sprite), shares)
        shadow = uniform(rng, 0.15, 0.6) if chance(rng, 0.4) else 0.0
        return Actor(sprite, path.matrices(sprite.center, sprite.area), label, shadow)

    def _occluders(
        self, rng: Generator, frames: int, track: Series, root: Series, ground: Scene
    ) -> list[Actor]:
        """Things that pass before object 1, or that hide a part of it on the first frame."""
        out = []
        for share, first in ((self._spec.covered, True), (self._spec.occluders, False)):
            if not chance(rng, share):
                continue
            rgba = None
            photo = self._photos.draw_cutout(rng) if chance(rng, 0.5) else None
            for source in (photo, self._photos.draw_scene(rng)):
                rgba = rgba if rgba is not None or source is None else _drawn_cutout(rng, source)
            if rgba is None:
                continue
            sprite = make_sprite(rng, relit(rng, rgba, ground.rgb), self._spec.deform * 0.03)
            at = 0 if first else int(rng.integers(0, frames))
            size = float(root[at]) * log_uniform(rng, 0.5, 1.3)
            toward = uniform(rng, 0, 2 * math.pi)
            heading = np.array([math.cos(toward), math.sin(toward)])
            offset = heading * float(root[at]) * (uniform(rng, 0.4, 0.8) if first else 0.1)
            pace = self._spec.speed * log_uniform(rng, 0.1, 0.8) * float(root[at])
            place = track + offset + np.outer(np.arange(frames) - at, heading * pace)
            turn = float(rng.normal(0, 0.4)) + float(rng.normal(0, 0.03)) * np.arange(frames)
            path = Path(place, np.full(frames, size), np.asarray(turn, np.float64))
            out.append(Actor(sprite, path.matrices(sprite.center, sprite.area), 0, 0.0))
        return out


def _drawn_cutout(rng: Generator, photo: Photo) -> Image | None:
    """An object of a photograph that can be pasted, if there is one among three draws."""
    if not photo.objects:
        return None
    scene = open_scene(rng, photo)
    for _ in range(3):
        number = draw_object(rng, scene)
        if photo.cutout or scene.can_be_loose(number):
            return lift(scene, number)
    return None


def _thing(scene: Scene, number: int) -> tuple[tuple[float, float], float, tuple[float, float]]:
    """Middle, area and half box by the root of the area, of an object in its photograph."""
    x0, y0, x1, y1 = scene.box(number)
    area = float(scene.area(number))
    half = ((x1 - x0) / 2 / math.sqrt(area), (y1 - y0) / 2 / math.sqrt(area))
    return ((x0 + x1) / 2, (y0 + y1) / 2), area, half


def _extent(sprite: Sprite) -> tuple[float, float]:
    h, w = sprite.levels[0].shape[:2]
    root = math.sqrt(max(sprite.area, 1.0))
    return w / 2 / root, h / 2 / root


def _start(spec: PhotoClipSpec, scene: Scene, number: int, camera: Series) -> Start:
    """Where an object of the photograph is on the first frame."""
    center, area, _ = _thing(scene, number)
    x, y = seen_at(camera, center)[0]
    share = area * float(scales(camera)[0]) ** 2 / (spec.height * spec.width)
    angle = math.atan2(camera[0, 1, 0], camera[0, 0, 0])
    return Start((float(x), float(y)), share, angle)


def _back(matrix: Affine, point: tuple[float, float]) -> tuple[float, float]:
    x, y = np.linalg.solve(matrix[:, :2], np.asarray(point) - matrix[:, 2])
    return float(x), float(y)


def _movement(
    matrices: Series, point: tuple[float, float], t: int, shutter: float
) -> tuple[float, float]:
    """How far a point of a picture moves while the shutter is open, pixels of the frame."""
    if shutter == 0 or len(matrices) < 2:
        return 0.0, 0.0
    first, last = max(0, t - 1), min(len(matrices) - 1, t + 1)
    ends = seen_at(matrices[[first, last]], point)
    dx, dy = (ends[1] - ends[0]) / (last - first) * shutter
    return float(dx), float(dy)


def _covering(spec: PhotoClipSpec, matrix: Affine, camera: Affine, size: tuple[int, int]) -> Affine:
    """The lens moved so that the photograph covers the frame where it can."""
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


def draw_part(main: MainObject, spec: PhotoClipSpec, rng: Generator, pasted: bool) -> str:
    """What object 1 does in the first shot."""
    if pasted and main.whole:
        return "pasted"
    movable = main.scene.can_move(main.number)
    return "loose" if movable and chance(rng, spec.loose) else "attached"


_KINDS = ("view", "part", "away", "other")


def draw_kind(rng: Generator, room: bool) -> str:
    """The kind of a cut (as in the training of TMA): to a close-up or distant view of the same,
    to another part of the same scene, away (which needs `room` for the way back), or to another
    scene."""
    return _KINDS[pick(rng, [0.3, 0.22, 0.23 if room else 0.0, 0.25])]
