"""Builders of procedural objects: limbs, people, animals, bicycles, ropes, wires, blobs."""

import math
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.random import Generator

from segment_concept.synthetic.articulated import ArticulatedObject, Part, still
from segment_concept.synthetic.assets import Assets
from segment_concept.synthetic.pixels import (
    Image,
    alpha_of,
    as_image,
    chance,
    colors_of,
    log_uniform,
    pick,
    shift_hue,
    smooth_noise,
    uniform,
    with_alpha,
)

DENSITY = 300.0  # pixels per unit of everything drawn here

Cloth = Callable[[int, int], Image]  # (height, width) -> RGB


# ------------------------------------------------------------------------------ materials


def photo_crop(
    assets: Assets, rng: Generator, height: int, width: int, finest: float = 0.4
) -> Image:
    """A piece (height, width, 3) of some background, at a random scale, perhaps mirrored.

    One of its pixels covers at least `finest` pixels of the background, if that is large enough.
    """
    rgb = assets.backgrounds[pick(rng, [b.weight for b in assets.backgrounds])].rgb
    limit = min(rgb.shape[0] / height, rgb.shape[1] / width)
    scale = log_uniform(rng, min(finest, 0.7 * limit), min(2.5, 0.98 * limit))
    h, w = max(2, int(height * scale)), max(2, int(width * scale))
    y = int(rng.integers(0, rgb.shape[0] - h + 1))
    x = int(rng.integers(0, rgb.shape[1] - w + 1))
    kind = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    piece = as_image(cv2.resize(rgb[y : y + h, x : x + w], (width, height), interpolation=kind))
    return np.ascontiguousarray(piece[:, ::-1]) if chance(rng, 0.5) else piece


def random_color(rng: Generator) -> tuple[float, float, float]:
    """A clothing-like color: any hue, mostly muted, sometimes black, gray or white."""
    saturation = uniform(rng, 0, 60) if chance(rng, 0.35) else uniform(rng, 60, 210)
    pixel = np.array([[[rng.integers(180), saturation, uniform(rng, 30, 245)]]], np.uint8)
    r, g, b = cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0]
    return float(r), float(g), float(b)


def skin_color(rng: Generator) -> tuple[float, float, float]:
    """A skin tone between dark brown and pale."""
    light = float(rng.random())
    dark, pale = np.array([72.0, 46, 34]), np.array([238.0, 200, 176])
    r, g, b = dark + (pale - dark) * light + rng.normal(0, 5, 3)
    return float(r), float(g), float(b)


def plain_cloth(rng: Generator, color: tuple[float, float, float]) -> Cloth:
    """One color with soft folds."""
    folds, seed = uniform(rng, 3, 16), int(rng.integers(1 << 31))

    def cloth(height: int, width: int) -> Image:
        noise = smooth_noise(np.random.default_rng(seed), height, width, 5)[..., None]
        return as_image((np.asarray(color) + folds * noise).clip(0, 255))

    return cloth


def any_cloth(assets: Assets, rng: Generator) -> Cloth:
    """A photo texture, a plain color, or stripes."""
    kind = pick(rng, [0.45, 0.4, 0.15])
    plain = plain_cloth(rng, random_color(rng))
    if kind == 1:
        return plain
    if kind == 0:
        seed = int(rng.integers(1 << 31))
        return lambda h, w: photo_crop(assets, np.random.default_rng(seed), h, w)
    other = np.array(random_color(rng))
    period, along = int(rng.integers(8, 30)), chance(rng, 0.5)

    def stripes(height: int, width: int) -> Image:
        rgb = plain(height, width)
        place = np.arange(width)[None, :] if along else np.arange(height)[:, None]
        rgb[np.broadcast_to(place // period % 2 == 0, (height, width))] = other
        return rgb

    return stripes


# -------------------------------------------------------------------------------- single images


def shade(rgb: Image, light: float, roundness: float) -> Image:
    """Shade (h, w, 3) like a vertical cylinder with the highlight at `light` in [-1, 1]."""
    across = np.linspace(-1, 1, rgb.shape[1], dtype=np.float32)
    gain = (1.1 - roundness * (across - 0.6 * light) ** 2).clip(0, 1.9) * 128
    wide = np.broadcast_to(as_image(gain)[None, :, None], rgb.shape)
    return as_image(cv2.multiply(rgb, np.ascontiguousarray(wide), scale=1 / 128))


def limb_image(cloth: Cloth, length: float, top: float, bottom: float, light: float) -> Image:
    """A tapered capsule hanging down, RGBA: radii `top` and `bottom`, all in pixels."""
    radius = max(top, bottom)
    height, width = math.ceil(length + top + bottom) + 2, math.ceil(2 * radius) + 3
    middle = width / 2
    alpha = np.zeros((height, width), np.uint8)
    y0, y1 = 1 + top, 1 + top + length
    outline = [(middle - top, y0), (middle + top, y0), (middle + bottom, y1), (middle - bottom, y1)]
    sixteenth = 16  # cv2 draws with four fractional bits here
    points = np.array([[round(x * sixteenth), round(y * sixteenth)] for x, y in outline], np.int32)
    cv2.fillPoly(alpha, [points], 255, cv2.LINE_AA, 4)
    for y, r in ((y0, top), (y1, bottom)):
        centre = (round(middle * sixteenth), round(y * sixteenth))
        cv2.circle(alpha, centre, round(r * sixteenth), 255, -1, cv2.LINE_AA, 4)
    return with_alpha(shade(cloth(height, width), light, 0.45), alpha)


def ellipse_image(cloth: Cloth, height: float, width: float, light: float) -> Image:
    """A shaded ellipse, RGBA, sides in pixels."""
    h, w = math.ceil(height) + 2, math.ceil(width) + 2
    alpha = np.zeros((h, w), np.uint8)
    box = ((w / 2, h / 2), (w - 2.0, h - 2.0), 0.0)
    cv2.ellipse(alpha, box, 255, -1, cv2.LINE_AA)
    return with_alpha(shade(cloth(h, w), light, 0.45), alpha)


def blob_image(rng: Generator, cloth: Cloth, holes: float = 0.0) -> Image:
    """A random smooth outline, RGBA (224, 224); with `holes` > 0 also openings inside."""
    side = 224
    line = np.linspace(-1, 1, side, dtype=np.float32)
    ratio = uniform(rng, 0.7, 1.4)
    radius = np.sqrt(line[None, :] ** 2 * ratio + line[:, None] ** 2 / ratio)
    level = 0.45 * smooth_noise(rng, side, side, int(rng.integers(3, 7))) + 1.0 - 1.6 * radius
    alpha = as_image((level * 30 + 128).clip(0, 255))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(as_image(alpha > 127))
    if count > 1:
        largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
        near = cv2.dilate(as_image(parts == largest), np.ones((3, 3), np.uint8))
        alpha = alpha * as_image(near > 0)
    if holes > 0:
        open_level = smooth_noise(rng, side, side, int(rng.integers(5, 10))) - 2.2 + 2 * holes
        alpha = np.minimum(alpha, as_image((128 - open_level * 60).clip(0, 255)))
    rgb = shade(cloth(side, side), uniform(rng, -1, 1), uniform(rng, 0, 0.4))
    return _trim(with_alpha(rgb, alpha))


def wheel_image(rng: Generator, radius: int, color: tuple[float, float, float]) -> Image:
    """A tire, a rim and thin spokes, RGBA; transparent between the spokes."""
    side, middle = 2 * radius + 4, radius + 2
    alpha = np.zeros((side, side), np.uint8)
    rgb = np.full((side, side, 3), (35, 35, 38), np.uint8)
    tyre = int(rng.integers(4, 11))
    cv2.circle(alpha, (middle, middle), radius - tyre // 2, 255, tyre, cv2.LINE_AA)
    rim = (middle, middle), max(2, radius - tyre - 1)
    cv2.circle(alpha, *rim, 255, 2, cv2.LINE_AA)
    cv2.circle(rgb, *rim, color, 3, cv2.LINE_AA)
    spokes, start = int(rng.integers(5, 15)), uniform(rng, 0, 1)
    for i in range(spokes):
        angle = 2 * math.pi * (i + start) / spokes
        end = (
            round(middle + (radius - tyre) * math.cos(angle)),
            round(middle + (radius - tyre) * math.sin(angle)),
        )
        cv2.line(alpha, (middle, middle), end, 255, 2, cv2.LINE_AA)
        cv2.line(rgb, (middle, middle), end, (165, 165, 170), 2, cv2.LINE_AA)
    cv2.circle(alpha, (middle, middle), 6, 255, -1, cv2.LINE_AA)
    return with_alpha(rgb, alpha)


def wire_image(rng: Generator, cloth: Cloth) -> Image:
    """A skeleton of thin bars between random points (stands, ladders, cranes), RGBA."""
    side = 260
    alpha = np.zeros((side, side), np.uint8)
    count = int(rng.integers(4, 8))
    points = rng.integers(14, side - 14, (count, 2))
    for i in range(1, count):
        nearest = int(np.argmin(np.abs(points[:i] - points[i]).sum(axis=1)))
        ends = {nearest, int(rng.integers(0, i))}
        for j in ends:
            cv2.line(
                alpha,
                (int(points[i][0]), int(points[i][1])),
                (int(points[j][0]), int(points[j][1])),
                255,
                int(rng.integers(4, 13)),
                cv2.LINE_AA,
            )
    return _trim(with_alpha(cloth(side, side), alpha))


def _trim(rgba: Image) -> Image:
    rows, columns = np.where(rgba[..., 3] > 20)
    if not rows.size:
        return rgba
    box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    return np.ascontiguousarray(rgba[box])


# ---------------------------------------------------------------------------------------- objects


def limb(cloth: Cloth, length: float, top: float, bottom: float, light: float = 0.3) -> Part:
    """A part of `length` units that hangs from its upper end; radii in units."""
    pixels = (length * DENSITY, max(1.2, top * DENSITY), max(1.2, bottom * DENSITY))
    image = limb_image(cloth, *pixels, light)
    return Part(image, DENSITY, (image.shape[1] / 2, 1 + pixels[1]))


def _chain(parts: list[Part], root: int, links: list[Part], reach: float) -> None:
    """Attach `links` one below the other to part `root`; the first keeps its own anchor."""
    parent = root
    for i, link in enumerate(links):
        below = replace(link, parent=parent, anchor=(0.0, reach)) if i else link
        parts.append(replace(below, parent=parent))
        parent = len(parts) - 1


def person_parts(assets: Assets, rng: Generator) -> list[Part]:
    """Torso (first), head, two arms and two legs of two links each; about one unit high."""
    shirt, trousers = any_cloth(assets, rng), any_cloth(assets, rng)
    skin = plain_cloth(rng, skin_color(rng))
    hair = plain_cloth(rng, tuple(np.array(random_color(rng)) * 0.5))
    light, broad = uniform(rng, -1, 1), uniform(rng, 0.2, 1.0)
    heavy = uniform(rng, 0.8, 1.35)
    torso = limb(shirt, 0.2, 0.085 * heavy * (0.7 + 0.3 * broad), 0.065 * heavy, light)
    torso = replace(torso, pivot=(torso.pivot[0], torso.image.shape[0] - 14.0), swing=0.06)
    parts = [torso]
    face = ellipse_image(skin, 46, 36 + 6 * broad, light)
    crown = cv2.resize(hair(8, 8), (face.shape[1], face.shape[0]))
    line = int(uniform(rng, 0.25, 0.5) * face.shape[0])
    face[:line, :, :3] = crown[:line]
    head = Part(face, DENSITY, (face.shape[1] / 2, 40), 0, (0, -0.27), 0.0, 0.12, 0.2, depth=0.5)
    parts.append(head)
    stride, bent = uniform(rng, 0.25, 0.8), uniform(rng, 0.2, 1.0)
    bare = chance(rng, 0.4)
    for side in (-1.0, 1.0):
        beat = 0.25 * (1 + side)  # both sides swing in opposite directions
        arm = [
            limb(shirt, 0.16, 0.034 * heavy, 0.028 * heavy, light),
            limb(skin if bare else shirt, 0.16, 0.026 * heavy, 0.02 * heavy, light),
        ]
        arm[0] = replace(arm[0], anchor=(0.075 * broad * side, -0.23), depth=0.8 * side)
        arm[0] = replace(arm[0], swing=stride, offset=beat + 0.5, angle=0.15 * broad * side)
        arm[1] = replace(arm[1], angle=-bent, swing=0.3, offset=beat, depth=0.81 * side)
        _chain(parts, 0, arm, 0.16)
        leg = [
            limb(trousers, 0.23, 0.05 * heavy, 0.036 * heavy, light),
            limb(trousers, 0.23, 0.034 * heavy, 0.024 * heavy, light),
        ]
        leg[0] = replace(leg[0], anchor=(0.035 * broad * side, -0.01), depth=0.3 * side - 0.4)
        leg[0] = replace(leg[0], swing=stride, offset=beat)
        leg[1] = replace(leg[1], angle=0.35, swing=0.35, offset=beat + 0.25)
        leg[1] = replace(leg[1], depth=0.3 * side - 0.41)
        _chain(parts, 0, leg, 0.23)
    return parts


def person(assets: Assets, rng: Generator) -> ArticulatedObject:
    """A walking, waving or dancing figure; sometimes with an object in its hand."""
    parts = person_parts(assets, rng)
    if chance(rng, 0.25):
        parts[2:] = [replace(p, swing=p.swing * 1.8, angle=p.angle * 1.5) for p in parts[2:]]
    if chance(rng, 0.3):
        cutout = assets.cutouts[int(rng.integers(len(assets.cutouts)))].rgba
        density = max(cutout.shape[:2]) / uniform(rng, 0.15, 0.45)
        grip = (cutout.shape[1] / 2, cutout.shape[0] * 0.8)
        parts.append(Part(cutout, density, grip, 3, (0, 0.16), swing=0.2, depth=0.9))
    return ArticulatedObject("person", "shape/person", tuple(parts))


def animal(assets: Assets, rng: Generator) -> ArticulatedObject:
    """A four-legged or many-legged creature with neck, head and tail."""
    coat = any_cloth(assets, rng)
    light, slim = uniform(rng, -1, 1), uniform(rng, 0.7, 1.3)
    trunk = limb(coat, 0.42, 0.11 * slim, 0.1 * slim, light)
    middle = (trunk.image.shape[1] / 2, trunk.image.shape[0] / 2)
    # The trunk is horizontal: its "down" is the world's right, with the neck at the far end.
    parts = [replace(trunk, pivot=middle, angle=-math.pi / 2, swing=0.03)]
    legs = int(rng.choice([4, 4, 4, 6, 8]))
    length, thick = uniform(rng, 0.1, 0.26), uniform(rng, 0.018, 0.04)
    far = 0.75
    for i in range(legs):
        near = i % 2 == 0
        cloth = coat if near else (lambda h, w: as_image(coat(h, w) * far))
        along = -0.19 + 0.38 * (i // 2) / max(1, legs // 2 - 1)
        beat = 0.5 * (i % 2) + 0.5 * (i // 2 % 2) + 0.05 * i
        links = [
            limb(cloth, length, thick * 1.3, thick, light),
            limb(cloth, length * 0.9, thick, thick * 0.6, light),
        ]
        depth = 0.5 if near else -0.5
        hip = replace(links[0], anchor=(-0.05 * slim, along), angle=math.pi / 2, depth=depth)
        links[0] = replace(hip, swing=uniform(rng, 0.2, 0.6), offset=beat)
        knee = replace(links[1], angle=uniform(rng, -0.4, 0.4), swing=0.3, offset=beat + 0.2)
        links[1] = replace(knee, depth=depth)
        _chain(parts, 0, links, length)
    neck = limb(coat, uniform(rng, 0.08, 0.3), 0.06 * slim, 0.05 * slim, light)
    lift = uniform(rng, 0.3, 1.4)
    parts.append(replace(neck, parent=0, anchor=(0.03, 0.2), angle=-lift, swing=0.12, depth=0.2))
    face = ellipse_image(coat, uniform(rng, 55, 90), uniform(rng, 34, 56), light)
    reach = (neck.image.shape[0] - neck.pivot[1] - 12) / DENSITY
    head = Part(face, DENSITY, (face.shape[1] / 2, 12), len(parts) - 1, (0, reach))
    parts.append(replace(head, angle=lift * uniform(rng, 0.2, 0.9), swing=0.15, depth=0.3))
    tail = [limb(coat, 0.1, 0.02, 0.016, light), limb(coat, 0.1, 0.016, 0.01, light)]
    tail[0] = replace(tail[0], anchor=(0.05, -0.22), angle=uniform(rng, 1.8, 3.6), swing=0.4)
    tail[1] = replace(tail[1], swing=0.5, offset=0.15)
    _chain(parts, 0, tail, 0.1)
    return ArticulatedObject("animal", "shape/animal", tuple(parts))


def bike(assets: Assets, rng: Generator) -> ArticulatedObject:
    """A bicycle with a rider: thin frame, spoked turning wheels and a pedaling figure."""
    color = random_color(rng)
    radius = int(rng.integers(42, 66))
    span = 2 * radius + int(rng.integers(16, 46))
    frame = _bike_frame(rng, radius, span, color)
    parts = [Part(frame, DENSITY, (frame.shape[1] / 2, frame.shape[0] - 8.0), swing=0.05)]
    wheel = wheel_image(rng, radius, random_color(rng))
    centre = (wheel.shape[1] / 2, wheel.shape[0] / 2)
    for side in (-1, 1):
        hub = (side * span / 2 / DENSITY, 0.0)
        parts.append(Part(wheel, DENSITY, centre, 0, hub, turns=1, depth=-0.2))
    if chance(rng, 0.85):
        seat = (-0.22 * span / DENSITY, -(radius * 1.35) / DENSITY)
        lean = uniform(rng, 0.25, 1.0)
        base = len(parts)
        for part in person_parts(assets, rng):
            rider = replace(part, parent=part.parent + base, depth=part.depth + 1)
            parts.append(rider)
        parts[base] = replace(parts[base], parent=0, anchor=seat, angle=lean)
        for i in (base + 2, base + 6):  # arms reach to the handlebar, thighs and shins pedal
            parts[i] = replace(parts[i], angle=-lean - 0.55, swing=0.08)
            parts[i + 1] = replace(parts[i + 1], angle=-0.25, swing=0.06)
            parts[i + 2] = replace(parts[i + 2], angle=-lean - 0.75, swing=0.4)
            parts[i + 3] = replace(parts[i + 3], angle=0.9, swing=0.35)
    return ArticulatedObject("bike", "shape/bike", tuple(parts))


def _bike_frame(rng: Generator, radius: int, span: int, color: tuple[float, float, float]) -> Image:
    height, width = int(radius * 1.75) + 10, span + 40
    base, left = height - 8, 20
    rear, front, crank = (left, base), (left + span, base), (left + int(0.47 * span), base)
    seat = (left + int(0.3 * span), base - int(1.3 * radius))
    head = (left + int(0.86 * span), base - int(1.35 * radius))
    bar = (left + int(0.76 * span), base - int(1.65 * radius))
    alpha = np.zeros((height, width), np.uint8)
    thick = int(rng.integers(4, 10))
    bars = [(rear, seat), (rear, crank), (crank, seat), (crank, head), (seat, head)]
    bars += [(head, front), (head, bar)]
    for a, b in bars:
        cv2.line(alpha, a, b, 255, thick, cv2.LINE_AA)
    cv2.circle(alpha, crank, 12, 255, 4, cv2.LINE_AA)
    cv2.line(alpha, (seat[0] - 14, seat[1]), (seat[0] + 16, seat[1]), 255, 9, cv2.LINE_AA)
    return with_alpha(plain_cloth(rng, color)(height, width), alpha)


def rope(assets: Assets, rng: Generator) -> ArticulatedObject:
    """A thin rope, snake or stick of several links; sometimes with an object at its end."""
    cloth = any_cloth(assets, rng)
    links = int(rng.integers(1, 11))
    length, radius = 0.9 / links, uniform(rng, 0.008, 0.035)
    curl = float(rng.normal(0, 1.2)) / links
    light = uniform(rng, -1, 1)
    chain = [
        replace(
            limb(cloth, length, radius, radius, light),
            angle=curl,
            swing=uniform(rng, 0.05, 0.35) if links > 1 else 0.1,
            offset=-0.12 * i,
        )
        for i in range(links)
    ]
    chain[0] = replace(chain[0], angle=uniform(rng, -3, 3))
    parts: list[Part] = []
    _chain(parts, -1, chain, length)
    if chance(rng, 0.4):
        cutout = assets.cutouts[int(rng.integers(len(assets.cutouts)))].rgba
        density = max(cutout.shape[:2]) / uniform(rng, 0.2, 0.6)
        hook = (cutout.shape[1] / 2, cutout.shape[0] * 0.15)
        last = len(parts) - 1
        parts.append(Part(cutout, density, hook, last, (0, length), swing=0.2, depth=0.5))
    return ArticulatedObject("rope", "shape/rope", tuple(parts))


def cluster(assets: Assets, rng: Generator) -> ArticulatedObject:
    """Two or three cut-outs joined, rigidly or loosely, that move as one object."""
    parts: list[Part] = []
    loose = uniform(rng, 0.1, 0.6) if chance(rng, 0.7) else 0.0
    for i in range(int(rng.integers(2, 4))):
        rgba = assets.cutouts[int(rng.integers(len(assets.cutouts)))].rgba
        height, width = rgba.shape[:2]
        share = 1.0 if i == 0 else uniform(rng, 0.35, 0.9)
        density = max(height, width) / (0.6 * share)
        if i == 0:
            parts.append(Part(rgba, density, (width / 2, height / 2)))
            continue
        around, side = uniform(rng, 0, 2 * math.pi), uniform(rng, 0.3, 0.5)
        root = parts[0].image.shape
        anchor = (
            side * math.cos(around) * root[1] / parts[0].density,
            side * math.sin(around) * root[0] / parts[0].density,
        )
        pivot = (width * uniform(rng, 0.3, 0.7), height * uniform(rng, 0.1, 0.9))
        angle = float(rng.normal(0, 0.4))
        depth = uniform(rng, -1, 1)
        parts.append(
            Part(rgba, density, pivot, 0, anchor, angle, loose, uniform(rng, 0, 1), depth=depth)
        )
    return ArticulatedObject("cluster", "shape/cluster", tuple(parts))


def blob(assets: Assets, rng: Generator) -> ArticulatedObject:
    """A textured blob, often with holes."""
    holes = uniform(rng, 0.4, 0.8) if chance(rng, 0.6) else 0.0
    return still(blob_image(rng, any_cloth(assets, rng), holes), "blob", "shape/blob")


def wire(assets: Assets, rng: Generator) -> ArticulatedObject:
    """An object of thin bars."""
    return still(wire_image(rng, any_cloth(assets, rng)), "wire", "shape/wire")


def recolored(obj: ArticulatedObject, degrees: float, saturation: float) -> ArticulatedObject:
    """The same object in other colors."""

    def paint(rgba: Image) -> Image:
        return with_alpha(shift_hue(colors_of(rgba), degrees, saturation), alpha_of(rgba))

    return obj.repainted(paint)
