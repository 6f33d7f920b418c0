"""Plan and render clips of the synthetic world, shot by shot."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from segment_concept.synthetic.articulated import ArticulatedObject
from segment_concept.synthetic.assets import Assets
from segment_concept.synthetic.objects import (
    disguised,
    draw_lookalike,
    draw_object,
    draw_same_kind,
    draw_sibling,
    with_other_movement,
)
from segment_concept.synthetic.pixels import chance, log_uniform, pick, uniform
from segment_concept.synthetic.scene import Layer
from segment_concept.synthetic.shot_layout import (
    ShotLayout,
    ShotObject,
    draw_place,
    draw_shot,
    seen_again,
)

_TRIES = 40


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """What to render. Probabilities are per clip unless noted."""

    frames: int = 5
    height: int = 256
    width: int = 256
    cut: float = 0.35  # at least one hard cut
    absent: float = 0.33  # object 1 is completely invisible in some later frames
    absent_by_cut: float = 0.5  # share of these with the absence in a shot of its own
    stand_in: float = 0.6  # share of shots without it that show a look-alike
    interlude: float = 0.0  # share of shots without it in another place with other objects
    same_place: float = 0.4  # share of later shots in an earlier place with another camera
    lookalike: float = 0.5  # the clip has a look-alike of object 1
    composite: float = 0.4  # per object: articulated, thin or with holes instead of a cut-out
    solid: float = 0.0  # per object: 3D
    camouflage: float = 0.0  # objects take the colors of the place of their first shot
    growth: float = 0.0  # object 1 changes its area 3 to 10 times in a shot, mostly growing
    turning: float = 0.0  # a 3D object 1 turns fast enough to show all its sides
    pair: float = 0.0  # object 1 has two parts that drift apart
    occluders: float = 0.35  # per shot: occluders pass in front
    most_objects: int = 4
    least_area: int = 150  # minimum pixels of every target on frame 0
    speed: float = 1.0  # factor of all movement

    def __post_init__(self) -> None:
        if self.frames < 1 or min(self.height, self.width) < 64:
            raise ValueError(
                f"a clip needs at least 1 frame of 64 pixels a side, got {self.frames} of "
                f"{self.height} x {self.width}"
            )
        shares = (self.cut, self.absent, self.absent_by_cut, self.stand_in, self.same_place)
        looks = (self.lookalike, self.composite, self.solid, self.camouflage, self.pair)
        others = (self.interlude, self.occluders, self.growth, self.turning)
        if not all(0 <= p <= 1 for p in (*shares, *looks, *others)):
            raise ValueError(f"probabilities must be in [0, 1]: {self}")
        if self.frames < 2 and (self.cut > 0 or self.absent > 0):
            raise ValueError("a clip of one frame has no cut and no absence: set both to 0")
        if not 1 <= self.most_objects <= 254 or self.speed < 0:
            raise ValueError(f"most_objects must be in 1..254 and speed not negative: {self}")


@dataclass(frozen=True, slots=True)
class Clip:
    """A rendered clip with its ground truth."""

    rgb: NDArray[np.uint8]  # (T, H, W, 3)
    labels: NDArray[np.uint8]  # (T, H, W) object ids from 1; 0 is background
    targets: tuple[int, ...]  # ids with at least `least_area` pixels on frame 0; includes 1
    cuts: tuple[int, ...]  # first frames of all shots after the first
    composed: tuple[int, ...] = ()  # ids of objects of two things, which only a mask can show


@dataclass(frozen=True, slots=True)
class _Plan:
    """Shots and absences of object 1."""

    frames: int
    starts: tuple[int, ...]  # first frame of every shot
    without: frozenset[int]  # shots without object 1
    invisible: range | None = None  # frames of the first shot in which it is invisible

    def length(self, shot: int) -> int:
        """Number of frames of a shot."""
        return (*self.starts, self.frames)[shot + 1] - self.starts[shot]


def render_clip(assets: Assets, spec: ClipSpec, seed: int) -> Clip:
    """Render a clip. Equal arguments give bit-identical clips.

    Raises:
        RuntimeError: no suitable clip in many tries (`least_area` is too large for the frame, or
            the assets are almost transparent).
    """
    plan = _draw_plan(np.random.default_rng([seed, 0]), spec)
    for attempt in range(1, _TRIES + 1):
        clip = _try_clip(assets, spec, plan, np.random.default_rng([seed, attempt]))
        if clip is not None:
            return clip
    raise RuntimeError(
        f"no clip with object 1 on {spec.least_area} pixels of frame 0 in {_TRIES} tries "
        f"(seed {seed}): lower least_area or make the frames larger"
    )


def _draw_plan(rng: Generator, spec: ClipSpec) -> _Plan:
    """Draw the cuts and absences; failed tries do not change them."""
    absent = chance(rng, spec.absent)
    # Cuts to shots without object 1 count as cuts.
    away = absent and spec.cut > 0 and chance(rng, spec.absent_by_cut)
    away_share = spec.absent * spec.absent_by_cut if spec.cut > 0 else 0.0
    rest = (spec.cut - away_share) / max(1e-9, 1 - away_share)
    if not away and not chance(rng, max(rest, 0.0)):
        starts: tuple[int, ...] = (0,)
    else:
        starts = _draw_starts(rng, spec.frames, at_least_two=away and chance(rng, 0.5))
    if away:
        first = int(rng.integers(1, len(starts)))
        more = {s for s in range(1, len(starts) - 1) if chance(rng, 0.25)}
        return _Plan(spec.frames, starts, frozenset({first} | more))
    end = starts[1] if len(starts) > 1 else spec.frames
    if not absent:
        return _Plan(spec.frames, starts, frozenset())
    if end < 2:  # no room before the cut: be absent after it instead
        return _Plan(spec.frames, starts, frozenset({1}))
    begin = int(rng.integers(1, end))
    length = end - begin if chance(rng, 0.5) else int(rng.integers(1, end - begin + 1))
    return _Plan(spec.frames, starts, frozenset(), range(begin, begin + length))


def _draw_starts(rng: Generator, frames: int, at_least_two: bool) -> tuple[int, ...]:
    """First frames of the shots: one cut, more in long clips."""
    count = 1 + int(at_least_two)
    if frames > 8:
        count += int(rng.integers(0, max(1, frames // 8)))
    count = min(count, frames - 1)
    cuts = 1 + rng.permutation(frames - 1)[:count]
    return 0, *sorted(int(c) for c in cuts)


def _try_clip(assets: Assets, spec: ClipSpec, plan: _Plan, rng: Generator) -> Clip | None:
    speed = spec.speed * log_uniform(rng, 0.3, 2.8)
    layout = ShotLayout(
        assets=assets,
        height=spec.height,
        width=spec.width,
        speed=speed,
        composite=spec.composite,
        solid=spec.solid,
        occluders=spec.occluders,
        growth=spec.growth,
        turning=spec.turning,
    )
    objects, extras = _draw_objects(assets, rng, spec)
    first_place, objects = _draw_disguise(layout, rng, objects, spec.camouflage)
    second = _draw_second(assets, rng, spec)
    places: list[list[Layer]] = []
    rgb = np.empty((spec.frames, spec.height, spec.width, 3), np.uint8)
    labels = np.empty((spec.frames, spec.height, spec.width), np.uint8)
    for index, start in enumerate(plan.starts):
        length = plan.length(index)
        if index > 0:
            objects = [with_other_movement(rng, each) for each in objects]
        place = first_place if index == 0 else None
        elsewhere = index in plan.without and spec.interlude > 0 and chance(rng, spec.interlude)
        if elsewhere:
            shot_objects = _others(layout, rng, objects[0], spec.stand_in)
        else:
            shot_objects = _draw_shot_objects(
                layout, rng, plan, index, (objects, extras), spec.stand_in
            )
            shot_objects[0] = replace(
                shot_objects[0], second=second if shot_objects[0].label == 1 else None
            )
            if places and chance(rng, spec.same_place):
                place = seen_again(rng, places[int(rng.integers(len(places)))])
        shot = draw_shot(layout, rng, shot_objects, length, place)
        if not elsewhere:
            places.append(shot.layers)
        for t in range(start, start + length):
            rgb[t], labels[t] = shot.frame(t - start, rng)
            if t == 0 and int((labels[0] == 1).sum()) < spec.least_area:
                return None
    if (
        plan.invisible is not None
        and (labels[plan.invisible.start : plan.invisible.stop] == 1).any()
    ):
        return None
    areas = np.bincount(labels[0].ravel(), minlength=len(objects) + 1)
    targets = tuple(i for i in range(1, len(objects) + 1) if areas[i] >= spec.least_area)
    return Clip(rgb, labels, targets, plan.starts[1:], () if second is None else (1,))


def _draw_objects(
    assets: Assets, rng: Generator, spec: ClipSpec
) -> tuple[list[ArticulatedObject], list[ArticulatedObject]]:
    """The objects of the clip (object 1 first) and extras without a label."""
    weights = [0.22, 0.33, 0.27, 0.18, *([0.1] * 250)][: spec.most_objects]
    count = 1 + pick(rng, weights)
    objects = [draw_object(assets, rng, spec.composite, spec.solid)]
    extras = []
    similar = chance(rng, spec.lookalike)
    for i in range(1, count):
        alike = similar and (i == 1 or chance(rng, 0.5))
        objects.append(
            draw_lookalike(assets, rng, objects[0])
            if alike
            else draw_object(assets, rng, spec.composite, spec.solid)
        )
    if similar and (count == 1 or chance(rng, 0.25)):
        extras.append(draw_lookalike(assets, rng, objects[0]))
    if chance(rng, 0.2):
        extras.append(draw_object(assets, rng, spec.composite, spec.solid))
    return objects, extras


def _draw_second(assets: Assets, rng: Generator, spec: ClipSpec) -> ArticulatedObject | None:
    """The second part of object 1, if it has two."""
    if not spec.pair or not chance(rng, spec.pair):
        return None
    return draw_object(assets, rng, spec.composite, spec.solid)


def _draw_disguise(
    layout: ShotLayout, rng: Generator, objects: list[ArticulatedObject], share: float
) -> tuple[list[Layer] | None, list[ArticulatedObject]]:
    """The first place with the objects in its colors, or no place and unchanged objects.

    A pasted cut-out differs from its background more than real objects do.
    """
    if share == 0 or not chance(rng, share):
        return None, objects
    place = draw_place(layout, rng)
    ground = place[0].image  # the farthest layer, because nearer ones have transparent parts
    h, w = (side // 2 for side in ground.shape[:2])
    top, left = int(rng.integers(0, h + 1)), int(rng.integers(0, w + 1))
    patch = ground[top : top + h, left : left + w]
    return place, [disguised(each, patch, uniform(rng, 0.3, 0.9)) for each in objects]


def _draw_shot_objects(
    layout: ShotLayout,
    rng: Generator,
    plan: _Plan,
    shot: int,
    drawn: tuple[list[ArticulatedObject], list[ArticulatedObject]],
    stand_in: float,
) -> list[ShotObject]:
    """The objects of a shot: object 1 by plan, others at random."""
    objects, extras = drawn
    away = shot in plan.without
    length = plan.length(shot)
    shot_objects = [] if away else [_main_object(rng, plan, shot, objects[0])]
    for label, obj in enumerate(objects[1:], start=2):
        if shot > 0 and not chance(rng, 0.65):
            continue
        shot_objects.append(ShotObject(obj, label, _comes_or_goes(rng, length)))
    shot_objects += [ShotObject(obj, 0) for obj in extras if shot == 0 or chance(rng, 0.6)]
    if away:
        sibling = draw_sibling(layout.assets, rng, objects[0]) if chance(rng, stand_in) else None
        other = sibling or draw_object(layout.assets, rng, layout.composite, layout.solid)
        shot_objects.append(ShotObject(other, 0, main=True))
    return shot_objects


def _others(
    layout: ShotLayout, rng: Generator, absent: ArticulatedObject, stand_in: float
) -> list[ShotObject]:
    """The objects of an interlude; some may be of the same kind as those in `absent`."""
    same_kind = draw_same_kind(layout.assets, rng, absent) if chance(rng, stand_in) else None
    count = 1 + pick(rng, [0.5, 0.3, 0.2])
    others = [draw_object(layout.assets, rng, layout.composite, layout.solid) for _ in range(count)]
    first, *rest = others if same_kind is None else [same_kind, *others[1:]]
    return [ShotObject(first, 0, main=True), *(ShotObject(other, 0) for other in rest)]


def _comes_or_goes(rng: Generator, length: int) -> range | None:
    """Frames of a shot of `length` before an object enters, or after it has left."""
    if length < 2 or not chance(rng, 0.25):
        return None
    turn = int(rng.integers(1, length))
    return range(turn) if chance(rng, 0.5) else range(turn, length)


def _main_object(rng: Generator, plan: _Plan, shot: int, obj: ArticulatedObject) -> ShotObject:
    invisible = plan.invisible if shot == 0 else None
    return ShotObject(obj, 1, invisible, covered=chance(rng, 0.45), main=True)
