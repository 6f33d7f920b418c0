"""Random objects and look-alikes of them."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.random import Generator

from segment_concept.synthetic import shapes
from segment_concept.synthetic.articulated import ArticulatedObject, Part, solid, still
from segment_concept.synthetic.assets import Assets
from segment_concept.synthetic.pixels import (
    Image,
    alpha_of,
    as_image,
    chance,
    grade_table,
    graded,
    match_colors,
    pick,
    smooth_noise,
    uniform,
    with_alpha,
)

Builder = Callable[[Assets, Generator], ArticulatedObject]

# sampling weight and builder of each composite object
COMPOSITES: dict[str, tuple[float, Builder]] = {
    "person": (0.30, shapes.person),
    "animal": (0.20, shapes.animal),
    "bike": (0.15, shapes.bike),
    "cluster": (0.15, shapes.cluster),
    "rope": (0.08, shapes.rope),
    "blob": (0.07, shapes.blob),
    "wire": (0.05, shapes.wire),
}


def draw_object(
    assets: Assets, rng: Generator, composite: float, share_solid: float = 0.0
) -> ArticulatedObject:
    """A random object; with probability `composite` articulated, thin or with holes.

    With probability `share_solid` a 3D object, if the assets have any.
    """
    if share_solid and assets.solids and chance(rng, share_solid):
        return _solid(assets, int(rng.integers(len(assets.solids))))
    if chance(rng, composite):
        weights = [weight for weight, _ in COMPOSITES.values()]
        kind = list(COMPOSITES)[pick(rng, weights)]
        return COMPOSITES[kind][1](assets, rng)
    index = int(rng.integers(len(assets.cutouts)))
    return _cutout(assets, rng, index)


def _cutout(assets: Assets, rng: Generator, index: int) -> ArticulatedObject:
    cutout = assets.cutouts[index]
    rgba = cutout.rgba
    if chance(rng, 0.12):  # the silhouette of one thing in the texture of another
        height, width = rgba.shape[:2]
        rgb = shapes.photo_crop(assets, rng, height, width)
        rgba = with_alpha(shapes.shade(rgb, uniform(rng, -1, 1), 0.3), alpha_of(rgba))
    obj = still(rgba, "cutout", cutout.category, index)
    if chance(rng, 0.25):
        return shapes.recolored(obj, uniform(rng, 40, 320), uniform(rng, 0.7, 1.3))
    return obj


def _solid(assets: Assets, index: int) -> ArticulatedObject:
    """The 3D object of that index, with its other movements."""
    chosen = assets.solids[index]
    others = [s.views for s in assets.solids if s.category == chosen.category and s is not chosen]
    return solid([chosen.views, *others], chosen.category)


def with_other_movement(rng: Generator, obj: ArticulatedObject) -> ArticulatedObject:
    """The same object in a random one of its movements, for another shot."""
    if not obj.other_movements:
        return obj
    movements = [obj.parts, *obj.other_movements]
    first, *rest = [movements[i] for i in rng.permutation(len(movements))]
    return replace(obj, parts=first, other_movements=tuple(rest))


def draw_lookalike(assets: Assets, rng: Generator, model: ArticulatedObject) -> ArticulatedObject:
    """A look-alike of `model`: of the same category, but another object.

    It is the same object in another color or with small differences, or another individual of the
    same kind in the model's colors.
    """
    way = pick(rng, [0.25, 0.3, 0.45])
    if way == 2:
        sibling = draw_sibling(assets, rng, model)
        if sibling is not None:
            return sibling
    if way == 0 or model.solid:  # a mark would be on a single view
        return shapes.recolored(model, uniform(rng, 50, 310), uniform(rng, 0.7, 1.4))
    return _marked(assets, rng, model)


def draw_sibling(
    assets: Assets, rng: Generator, model: ArticulatedObject
) -> ArticulatedObject | None:
    """Another individual of the model's kind in its colors; None if there is none."""
    other = draw_same_kind(assets, rng, model)
    if other is None:
        return None
    if model.kind == "cutout" or model.solid:
        return other.repainted(lambda rgba: match_colors(rgba, model.parts[0].image))
    largest = max(model.parts, key=lambda p: p.image.size).image
    models = model.parts if len(model.parts) == len(other.parts) else ()
    parts = [
        replace(part, image=match_colors(part.image, models[i].image if models else largest))
        for i, part in enumerate(other.parts)
    ]
    return replace(other, parts=tuple(parts))


def draw_same_kind(
    assets: Assets, rng: Generator, model: ArticulatedObject
) -> ArticulatedObject | None:
    """Another individual of the model's kind; None if there is none."""
    if model.kind == "cutout":
        same_kind = assets.same_kind(model.source)
        if not same_kind:
            return None
        index = same_kind[int(rng.integers(len(same_kind)))]
        cutout = assets.cutouts[index]
        return still(cutout.rgba, "cutout", cutout.category, index)
    if model.solid:
        others = [i for i, s in enumerate(assets.solids) if s.category != model.category]
        return _solid(assets, others[int(rng.integers(len(others)))]) if others else None
    return COMPOSITES[model.kind][1](assets, rng)


def disguised(obj: ArticulatedObject, ground: Image, strength: float) -> ArticulatedObject:
    """The object with its colors shifted towards those of `ground` (h, w, 3) by `strength`."""
    model = with_alpha(ground, np.full(ground.shape[:2], 255, np.uint8))

    def paint(rgba: Image) -> Image:
        worn = match_colors(rgba, model)
        return as_image(cv2.addWeighted(worn, strength, rgba, 1 - strength, 0))

    return obj.repainted(paint)


def _marked(assets: Assets, rng: Generator, model: ArticulatedObject) -> ArticulatedObject:
    """The model slightly bent, in slightly different light, with a mark on one or two parts."""
    chosen = rng.permutation(len(model.parts))[: 2 if len(model.parts) > 4 else 1]
    table = grade_table(rng, 0.6)

    def change(index: int, part: Part) -> Part:
        image = graded(part.image, table)
        if len(model.parts) == 1:
            image = _bent(rng, image)
        if index in chosen:
            image = _with_mark(assets, rng, image)
        return replace(part, image=image)

    return replace(model, parts=tuple(change(i, p) for i, p in enumerate(model.parts)))


def _bent(rng: Generator, image: Image) -> Image:
    height, width = image.shape[:2]
    strength = 0.05 * max(height, width)
    x = np.arange(width, dtype=np.float32)[None] + strength * smooth_noise(rng, height, width, 3)
    y = np.arange(height, dtype=np.float32)[:, None] + strength * smooth_noise(
        rng, height, width, 3
    )
    bent = as_image(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    # transparent outside the image, although its colors continue
    outside = (x < 0) | (y < 0) | (x > width - 1) | (y > height - 1)
    bent[outside, 3] = 0
    return bent


def _with_mark(assets: Assets, rng: Generator, image: Image) -> Image:
    height, width = image.shape[:2]
    noise = smooth_noise(rng, height, width, int(rng.integers(2, 5)))[..., None]
    cloth = shapes.any_cloth(assets, rng)(height, width).astype(np.float32)
    mix = (noise * 4 - uniform(rng, 0.5, 3)).clip(0, 1)
    out = image.copy()
    out[..., :3] = as_image(image[..., :3] * (1 - mix) + cloth * mix)
    return out
