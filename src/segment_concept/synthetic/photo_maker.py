"""Draw the shots of a clip made of photographs: their objects and how these move."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from segment_concept.synthetic.optics import draw_optics
from segment_concept.synthetic.photo_path import (
    Path,
    Series,
    Start,
    away_during,
    draw_camera,
    draw_path,
    draw_shares,
    following_camera,
    scales,
    seen_at,
)
from segment_concept.synthetic.photo_rider import Rider, draw_rider
from segment_concept.synthetic.photo_scene import (
    Scene,
    draw_bar,
    draw_object,
    lift,
    make_plate,
    make_sprite,
    open_scene,
    recolored,
    relit,
)
from segment_concept.synthetic.photo_shot import MovingSprite, Shot
from segment_concept.synthetic.photo_spec import PhotoClipSpec
from segment_concept.synthetic.photo_warp import Sprite
from segment_concept.synthetic.photos import Photo, Photos
from segment_concept.synthetic.pixels import Image, chance, log_uniform, pick, uniform


@dataclass(frozen=True, slots=True, eq=False)
class MainObject:
    """Object 1 of a clip."""

    scene: Scene
    number: int  # its id in the scene's mask
    rgba: Image  # cut out
    whole: bool  # it can be pasted elsewhere
    swing: float  # amplitude of its deformation, as a share of its size
    rider: Rider | None = None  # a second thing that belongs to it


def draw_main(photos: Photos, spec: PhotoClipSpec, rng: Generator, pasted: bool) -> MainObject:
    """Draw object 1: an object of a scene, or one that can be pasted."""
    photo = photos.draw_cutout(rng) if pasted and chance(rng, 0.5) else None
    if photo is not None and photo.objects:
        scene = open_scene(rng, photo)
        number = draw_object(rng, scene)
    else:
        scene, number = _object_of_a_scene(photos, rng, pasted)
    whole = scene.photo.cutout or scene.can_be_loose(number)
    strong = 0.09 if scene.photo.cutout else 0.06
    swing = spec.deform * uniform(rng, 0.01, strong)
    rider = _draw_rider(photos, spec, rng)
    return MainObject(scene, number, lift(scene, number), whole, swing, rider)


def _draw_rider(photos: Photos, spec: PhotoClipSpec, rng: Generator) -> Rider | None:
    """What else belongs to object 1, if anything: a cut-out or an object of a scene."""
    if not spec.rider or not chance(rng, spec.rider):
        return None
    rgba = _drawn_thing(photos, rng)
    return None if rgba is None else draw_rider(rng, rgba)


def _object_of_a_scene(photos: Photos, rng: Generator, whole: bool) -> tuple[Scene, int]:
    """A scene and one of its objects; with `whole` one away from the border, if possible."""
    for _ in range(8):
        scene = open_scene(rng, photos.draw_scene(rng))
        number = draw_object(rng, scene)
        if not whole or scene.can_be_loose(number):
            break
    return scene, number


class ShotMaker:
    """Draws the shots of a clip, in which objects keep their labels."""

    def __init__(self, photos: Photos, spec: PhotoClipSpec, main: MainObject) -> None:
        self._photos, self._spec, self._main = photos, spec, main

    def draw(
        self, rng: Generator, frames: int, ground: Scene, part: str, late: bool = False
    ) -> Shot:
        """A shot in the photograph `ground`.

        `part` of object 1: "attached" (part of its photograph), "loose" (moves over its own
        photograph), "pasted" (moves over another one) or "absent". A pasted object 1 may enter
        `late`.
        """
        spec, main = self._spec, self._main
        own = ground is main.scene
        ids = self._ids(ground) if own or part == "pasted" else {}
        loose = self._loose(rng, ground, part)
        swing = spec.deform if part != "absent" else 0.5 * spec.deform
        plate = make_plate(rng, ground, ids, loose, swing)
        camera, path = self._camera(rng, frames, ground, part)
        sprites = [
            self._neighbor(rng, ground, n, ids.get(n, 0), camera)
            for n in loose
            if not own or n != main.number
        ]
        main_sprite = None
        if part in ("loose", "pasted"):
            start = None
            if part == "loose" and chance(rng, 0.6):
                start = _start(spec, ground, main.number, camera)
            main_sprite, path = self._main_sprite(rng, ground, frames, start, late)
        if part != "absent" and chance(rng, spec.lookalike):
            sprites.append(self._lookalike(rng, ground, frames, len(ids) + 2))
        shown = [main_sprite] if main_sprite is not None else []
        if main.rider is not None and part != "absent":
            rider = self._rider(rng, main.rider, path, None if part == "attached" else ground)
            shown.insert(len(shown) if main.rider.front else 0, rider)
        if shown:
            at = len(sprites) if chance(rng, 0.75) else 0
            sprites[at:at] = shown
        sprites += self._occluders(rng, path, ground)
        area = float(path.root[0]) ** 2
        return Shot(spec, plate, camera, tuple(sprites), draw_optics(rng), path.position, area)

    def _camera(self, rng: Generator, frames: int, ground: Scene, part: str) -> tuple[Series, Path]:
        """The camera, and the path of object 1 if it is attached, or else of the frame center."""
        spec = self._spec
        size = (ground.rgb.shape[1], ground.rgb.shape[0])
        still = np.zeros(frames)
        if part == "attached":
            thing = _thing(ground, self._main.number)
            camera = following_camera(rng, spec, frames, size, thing)
            root = np.asarray(math.sqrt(thing[1]) * scales(camera), np.float64)
            return camera, Path(seen_at(camera, thing[0]), root, still)
        camera = draw_camera(rng, spec, frames, size)
        middle = np.full((frames, 2), (spec.width / 2, spec.height / 2))
        return camera, Path(middle, np.full(frames, 0.3 * spec.height), still)

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
        """Objects of a scene that move by themselves."""
        own = ground is self._main.scene
        loose = [self._main.number] if own and part in ("loose", "absent") else []
        for number in ground.photo.objects:
            other = not own or number != self._main.number
            if other and len(loose) < 3 and chance(rng, 0.25) and ground.can_move(number):
                loose.append(number)
        return tuple(loose)

    def _main_sprite(
        self, rng: Generator, ground: Scene, frames: int, start: Start | None, late: bool
    ) -> tuple[MovingSprite, Path]:
        spec, main = self._spec, self._main
        rgba = main.rgba if start is not None else relit(rng, main.rgba, ground.rgb)
        turns_in = frames if chance(rng, spec.turns) else 0
        sprite = make_sprite(rng, rgba, main.swing, turns_in)
        extent = _extent(sprite)
        shares = draw_shares(rng, spec, frames, (0.004, 0.65), start.share if start else 0)
        path = draw_path(rng, spec, frames, extent, shares, start)
        invisible = None
        if late and frames > 1:
            invisible = range(int(rng.integers(1, frames)))
        elif frames > 2 and chance(rng, spec.leaves):
            first = int(rng.integers(1, frames))
            invisible = range(first, int(rng.integers(first + 1, frames + 1)))
        if invisible is not None:
            path = away_during(rng, path, invisible, extent[0], spec.width)
        shadow = uniform(rng, 0.15, 0.6) if chance(rng, 0.45) else 0.0
        return MovingSprite(sprite, path.matrices(sprite.center, sprite.area), 1, shadow), path

    def _rider(
        self, rng: Generator, rider: Rider, carrier: Path, ground: Scene | None
    ) -> MovingSprite:
        """The second thing of object 1, in the light of `ground` if given."""
        rgba = rider.rgba if ground is None else relit(rng, rider.rgba, ground.rgb)
        sprite = make_sprite(rng, rgba, self._spec.deform * uniform(rng, 0.01, 0.06))
        matrices = rider.path(carrier).matrices(sprite.center, sprite.area)
        return MovingSprite(sprite, matrices, 1, 0.0)

    def _neighbor(
        self, rng: Generator, ground: Scene, number: int, label: int, camera: Series
    ) -> MovingSprite:
        """Another object of the photograph, which moves a little from its place."""
        swing = self._spec.deform * uniform(rng, 0.01, 0.05)
        sprite = make_sprite(rng, lift(ground, number), swing)
        frames = len(camera)
        start = _start(self._spec, ground, number, camera)
        shares = start.share * np.exp(float(rng.normal(0, 0.03)) * np.arange(frames))
        calm = replace(self._spec, fast=0.0, partial=0.0)
        path = draw_path(rng, calm, frames, _extent(sprite), shares, start)
        return MovingSprite(sprite, path.matrices(sprite.center, sprite.area), label, 0.0)

    def _lookalike(self, rng: Generator, ground: Scene, frames: int, label: int) -> MovingSprite:
        """An object of the kind of object 1, or object 1 in other colors."""
        rgba = None
        if chance(rng, 0.7):
            rgba = _drawn_cutout(rng, self._photos.draw_same_kind(rng, self._main.scene.photo))
        if rgba is None:
            rgba = recolored(rng, self._main.rgba)
        labeled = label <= self._spec.most_objects and chance(rng, 0.5)
        return self._passer(rng, relit(rng, rgba, ground.rgb), frames, label if labeled else 0)

    def _passer(self, rng: Generator, rgba: Image, frames: int, label: int) -> MovingSprite:
        swing = self._spec.deform * uniform(rng, 0.01, 0.07)
        sprite = make_sprite(rng, rgba, swing)
        share = log_uniform(rng, 0.008, 0.15)
        shares = share * np.exp(float(rng.normal(0, 0.04)) * np.arange(frames))
        path = draw_path(rng, self._spec, frames, _extent(sprite), shares)
        shadow = uniform(rng, 0.15, 0.6) if chance(rng, 0.4) else 0.0
        return MovingSprite(sprite, path.matrices(sprite.center, sprite.area), label, shadow)

    def _occluders(self, rng: Generator, path: Path, ground: Scene) -> list[MovingSprite]:
        """Occluders that pass in front of object 1 or hide a part of it on the first frame."""
        out = []
        for share, first in ((self._spec.covered, True), (self._spec.occluders, False)):
            rgba = self._occluder(rng, ground) if chance(rng, share) else None
            if rgba is None:
                continue
            sprite = make_sprite(rng, relit(rng, rgba, ground.rgb), self._spec.deform * 0.03)
            past = _passing(rng, self._spec.speed, path, first)
            out.append(MovingSprite(sprite, past.matrices(sprite.center, sprite.area), 0, 0.0))
        return out

    def _occluder(self, rng: Generator, ground: Scene) -> Image | None:
        """A bar, a cut-out or an object of a scene; None if the scene has none."""
        if self._spec.bars and chance(rng, self._spec.bars):
            return draw_bar(rng, ground.rgb)
        return _drawn_thing(self._photos, rng)


def _drawn_thing(photos: Photos, rng: Generator) -> Image | None:
    """A cut-out, or an object of a scene that can be pasted; None if the scene has none."""
    photo = photos.draw_cutout(rng) if chance(rng, 0.5) else None
    return _drawn_cutout(rng, photo or photos.draw_scene(rng))


def _passing(rng: Generator, speed: float, path: Path, first: bool) -> Path:
    """A path of an occluder across another path, or over a part of it on the first frame."""
    frames = len(path.root)
    at = 0 if first else int(rng.integers(0, frames))
    root = float(path.root[at])
    toward = uniform(rng, 0, 2 * math.pi)
    heading = np.array([math.cos(toward), math.sin(toward)])
    offset = heading * root * (uniform(rng, 0.4, 0.8) if first else 0.1)
    pace = speed * log_uniform(rng, 0.1, 0.8) * root
    position = path.position + offset + np.outer(np.arange(frames) - at, heading * pace)
    turn = float(rng.normal(0, 0.4)) + float(rng.normal(0, 0.03)) * np.arange(frames)
    size = root * log_uniform(rng, 0.5, 1.3)
    return Path(position, np.full(frames, size), np.asarray(turn, np.float64))


def _drawn_cutout(rng: Generator, photo: Photo) -> Image | None:
    """An object of a photograph that can be pasted, or None if three draws find none."""
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


def draw_part(main: MainObject, spec: PhotoClipSpec, rng: Generator, pasted: bool) -> str:
    """What object 1 does in the first shot."""
    if pasted and main.whole:
        return "pasted"
    movable = main.scene.can_move(main.number)
    return "loose" if movable and chance(rng, spec.loose) else "attached"


_KINDS = ("view", "part", "away", "other")


def draw_kind(rng: Generator, room: bool) -> str:
    """The kind of a cut.

    To another view of the same scene, to another part of it, away to another scene and back (needs
    `room` for one more shot), or to another scene with object 1. Kinds as in the training of TMA.
    """
    return _KINDS[pick(rng, [0.3, 0.22, 0.23 if room else 0.0, 0.25])]
