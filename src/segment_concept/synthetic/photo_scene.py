"""Scenes and cut-outs of photographs: background plates and objects cut out of them."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from segment_concept.synthetic.photo_turn import draw_turn
from segment_concept.synthetic.photo_warp import FINE, Plate, Sprite, draw_deformation, draw_rate
from segment_concept.synthetic.photos import Photo
from segment_concept.synthetic.pixels import (
    Image,
    alpha_of,
    as_image,
    bleed,
    chance,
    colors_of,
    grade_table,
    graded,
    log_uniform,
    match_colors,
    pick,
    premultiply,
    shift_hue,
    uniform,
    with_alpha,
)
from segment_concept.types import Bitmap

_LEAST_LOOSE = 0.01  # share of the image: smaller objects are too coarse to be cut out
_MOST_LEVELS = 4
_MOST_LOOSE = 0.2  # share of the image: there is too much to inpaint behind larger objects
_FILL_STEP = 4  # the background of an object is inpainted at 1 / _FILL_STEP of the size
_FILL_BLUR = 2.5  # pixels of the smaller image; finer structure is texture
_FILL_TRIES = 14


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A decoded photograph, possibly mirrored, with its aspect ratio changed if it was a square."""

    photo: Photo
    rgb: Image  # (h, w, 3)
    labels: Image  # (h, w), ids of the photograph's mask
    alpha: Image | None

    def box(self, number: int) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 of an object."""
        x, y, w, h = cv2.boundingRect((self.labels == number).view(np.uint8))
        return x, y, x + w, y + h

    def area(self, number: int) -> int:
        """Pixels of an object."""
        return int(np.count_nonzero(self.labels == number))

    def can_be_loose(self, number: int) -> bool:
        """Whether an object is whole (away from the border) and large enough to be cut out."""
        x0, y0, x1, y1 = self.box(number)
        height, width = self.labels.shape
        whole = x0 > 1 and y0 > 1 and x1 < width - 1 and y1 < height - 1
        return whole and self.area(number) >= _LEAST_LOOSE * self.labels.size

    def can_move(self, number: int) -> bool:
        """Whether an object can be cut out and the background behind it be inpainted."""
        return self.can_be_loose(number) and self.area(number) <= _MOST_LOOSE * self.labels.size


def open_scene(rng: Generator, photo: Photo) -> Scene:
    """Decode; mirror half of them; change the aspect of squares, most of which were stretched."""
    rgb, labels, alpha = photo.rgb(), photo.labels(), photo.alpha()
    mirrored = chance(rng, 0.5)
    height, width = labels.shape
    if height == width and not photo.cutout:
        shape = pick(rng, [0.6, 0.15, 0.25])
        size = ((round(width * 4 / 3), height), (width, round(height * 4 / 3)), (width, height))
        rgb = as_image(cv2.resize(rgb, size[shape], interpolation=cv2.INTER_LINEAR))
        labels = as_image(cv2.resize(labels, size[shape], interpolation=cv2.INTER_NEAREST))
        if alpha is not None:
            alpha = as_image(cv2.resize(alpha, size[shape], interpolation=cv2.INTER_LINEAR))
    if mirrored:
        rgb, labels = as_image(cv2.flip(rgb, 1)), as_image(cv2.flip(labels, 1))
        alpha = None if alpha is None else as_image(cv2.flip(alpha, 1))
    return Scene(photo, rgb, labels, alpha)


def draw_object(rng: Generator, scene: Scene) -> int:
    """One of the objects that can be tracked; larger ones are more likely."""
    numbers = scene.photo.objects
    return numbers[pick(rng, [math.sqrt(scene.area(n)) for n in numbers])]


# ---------------------------------------------------------------------------------------- plates


def make_plate(
    rng: Generator, scene: Scene, ids: dict[int, int], loose: tuple[int, ...], swing: float
) -> Plate:
    """The scene without its loose objects; `ids` maps numbers of the mask to labels of the clip.

    Labeled objects that stay in the plate are deformed by about `swing` of their size.
    """
    rgb = scene.rgb
    if loose:
        rgb = without(rng, rgb, as_image(np.isin(scene.labels, loose)), scene.labels > 0)
    kept = {number: label for number, label in ids.items() if number not in loose}
    size = (rgb.shape[1], rgb.shape[0])
    amplitude, where = 0.006 * max(size), None
    if kept and chance(rng, 0.75):
        main = min(kept, key=lambda number: kept[number])
        inside = cv2.dilate(as_image(scene.labels == main), np.ones((9, 9), np.uint8))
        soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.02 * max(size))
        extent = math.sqrt(scene.area(main))
        own = swing * uniform(rng, 0.02, 0.06) * extent
        where = np.asarray(soft + 0.1, np.float32)
        amplitude = own
    deformation = draw_deformation(rng, size, amplitude, draw_rate(rng, 1.0), where)
    return Plate(rgb, _fine_labels(scene.labels, kept) if kept else None, deformation)


def _fine_labels(labels: Image, ids: dict[int, int]) -> Image:
    """The labels at FINE times the size, with smooth instead of stepped contours."""
    height, width = labels.shape
    fine = np.zeros((height * FINE, width * FINE), np.uint8)
    for number, label in ids.items():
        mask = (labels == number).view(np.uint8)
        x, y, w, h = cv2.boundingRect(mask)
        x0, y0, x1, y1 = max(0, x - 3), max(0, y - 3), min(width, x + w + 3), min(height, y + h + 3)
        if x1 <= x0 or y1 <= y0:
            continue
        soft = cv2.GaussianBlur(as_image(mask[y0:y1, x0:x1] * 255), (0, 0), 0.9)
        grown = cv2.resize(soft, None, fx=FINE, fy=FINE, interpolation=cv2.INTER_LINEAR)
        fine[y0 * FINE : y1 * FINE, x0 * FINE : x1 * FINE][grown > 127] = label
    return fine


def without(rng: Generator, rgb: Image, hole: Image, taken: Bitmap) -> Image:
    """`rgb` with the pixels of `hole` filled: inpainted coarse colors, and texture from elsewhere.

    No texture is copied from `taken`, where objects are.
    """
    height, width = hole.shape
    grow = max(5, round(0.012 * max(height, width)) | 1)
    hole = as_image(cv2.dilate(hole, np.ones((grow, grow), np.uint8)))
    small_size = (max(8, width // _FILL_STEP), max(8, height // _FILL_STEP))
    small_hole = as_image(cv2.resize(hole * 255, small_size, interpolation=cv2.INTER_AREA) > 0)
    small = cv2.resize(rgb, small_size, interpolation=cv2.INTER_AREA)
    filled = cv2.GaussianBlur(
        cv2.inpaint(small, small_hole, 4, cv2.INPAINT_TELEA), (0, 0), _FILL_BLUR
    )
    low = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
    blurred = cv2.resize(
        cv2.GaussianBlur(small, (0, 0), _FILL_BLUR), (width, height), interpolation=cv2.INTER_LINEAR
    )
    texture = np.asarray(cv2.subtract(rgb, blurred, dtype=cv2.CV_16S), np.int16)
    beside = _texture_for(rng, texture, hole > 0, taken | (hole > 0))
    edge = as_image(cv2.GaussianBlur(as_image(hole * 255), (0, 0), 1.5))
    return _blend(rgb, as_image(cv2.add(low, beside, dtype=cv2.CV_8U)), edge)


def _texture_for(
    rng: Generator, texture: NDArray[np.int16], hole: Bitmap, taken: Bitmap
) -> NDArray[np.int16]:
    """Texture (h, w, 3) for a hole, from free places of the same image at a similar height."""
    out = np.zeros_like(texture)
    x, y, w, h = cv2.boundingRect(hole.view(np.uint8))
    height, width = hole.shape
    missing = hole[y : y + h, x : x + w].copy()
    wanted = 0.03 * np.count_nonzero(missing)
    for _ in range(_FILL_TRIES):
        if np.count_nonzero(missing) <= wanted:
            break
        to_x = int(rng.integers(0, width - w + 1))
        to_y = min(max(0, y + round(float(rng.normal(0, 0.4)) * h)), height - h)
        free = missing & ~taken[to_y : to_y + h, to_x : to_x + w]
        part = texture[to_y : to_y + h, to_x : to_x + w]
        np.copyto(out[y : y + h, x : x + w], part, where=free[..., None])
        missing &= ~free
    return out


def _blend(first: Image, second: Image, weight: Image) -> Image:
    """`second` where the weight (h, w) is 255, `first` where it is 0."""
    wide = cv2.cvtColor(weight, cv2.COLOR_GRAY2RGB)
    one = cv2.multiply(second, wide, scale=1 / 255)
    return as_image(cv2.add(one, cv2.multiply(first, cv2.bitwise_not(wide), scale=1 / 255)))


# --------------------------------------------------------------------------------------- sprites


def lift(scene: Scene, number: int) -> Image:
    """An object as straight RGBA (h, w, 4), its mask eroded by a pixel and feathered."""
    height, width = scene.labels.shape
    x0, y0, x1, y1 = scene.box(number)
    x0, y0, x1, y1 = max(0, x0 - 4), max(0, y0 - 4), min(width, x1 + 4), min(height, y1 + 4)
    if scene.alpha is not None:
        alpha = scene.alpha[y0:y1, x0:x1]
    else:
        mask = as_image((scene.labels[y0:y1, x0:x1] == number) * 255)
        eroded = cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=0)
        alpha = as_image(cv2.GaussianBlur(eroded, (0, 0), 0.9))
    rgba = with_alpha(np.ascontiguousarray(scene.rgb[y0:y1, x0:x1]), np.ascontiguousarray(alpha))
    return bleed(rgba) if (alpha > 200).any() else rgba


def make_sprite(rng: Generator, rgba: Image, swing: float, turns_in: int = 0) -> Sprite:
    """A sprite deformed by about `swing` of its size, with a transparent border.

    If `turns_in` is above 0, it also turns, by up to half a turn in that many frames.
    """
    wide = as_image(cv2.copyMakeBorder(premultiply(rgba), 3, 3, 3, 3, cv2.BORDER_CONSTANT))
    turn = None
    if turns_in:
        edge = as_image(cv2.copyMakeBorder(rgba, 3, 3, 3, 3, cv2.BORDER_REPLICATE))
        turn = draw_turn(rng, with_alpha(colors_of(edge), alpha_of(wide)), turns_in)
    levels = [wide]
    while len(levels) < _MOST_LEVELS and min(levels[-1].shape[:2]) >= 16:
        h, w = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (w // 2, h // 2), interpolation=cv2.INTER_AREA)
        levels.append(as_image(half))
    alpha = wide[..., 3]
    x, y, w, h = cv2.boundingRect(as_image(alpha > 127))
    area = float(np.count_nonzero(alpha > 127))
    deformation = None
    if swing > 0:
        size = (wide.shape[1], wide.shape[0])
        deformation = draw_deformation(
            rng, size, swing * math.sqrt(max(area, 1.0)), draw_rate(rng, 1.0)
        )
    return Sprite(tuple(levels), (x + w / 2, y + h / 2), area, deformation, turn)


def relit(rng: Generator, rgba: Image, ground: Image) -> Image:
    """A cut-out with colors closer to those of another image `ground` (h, w, 3)."""
    if chance(rng, 0.4):
        model = cv2.resize(ground, (64, 48), interpolation=cv2.INTER_AREA)
        opaque = np.full(model.shape[:2], 255, np.uint8)
        matched = match_colors(rgba, with_alpha(as_image(model), opaque))
        share = uniform(rng, 0.2, 0.7)
        rgba = as_image(cv2.addWeighted(rgba, 1 - share, matched, share, 0))
    return graded(rgba, grade_table(rng, uniform(rng, 0.2, 0.9)))


def draw_bar(rng: Generator, ground: Image) -> Image:
    """A narrow bar (h, w, 4), as a pole or a rail, in the colors of a part of `ground`.

    It splits what is behind it in two. Its place and angle are those of an occluder.
    """
    height, width = ground.shape[:2]
    length = min(height, width) // 2
    thick = max(4, round(length * log_uniform(rng, 0.03, 0.15)))
    size = (length, thick) if chance(rng, 0.75) else (thick, length)
    y, x = int(rng.integers(0, height - size[0] + 1)), int(rng.integers(0, width - size[1] + 1))
    rgb = np.ascontiguousarray(ground[y : y + size[0], x : x + size[1]])
    worn = graded(with_alpha(rgb, np.full(size, 255, np.uint8)), grade_table(rng, 1.5))
    return worn


def recolored(rng: Generator, rgba: Image) -> Image:
    """A look-alike of a cut-out: other hue and lightness, the same texture."""
    turned = shift_hue(as_image(rgba[..., :3]), uniform(rng, -40, 40), uniform(rng, 0.5, 1.3))
    return graded(with_alpha(turned, as_image(rgba[..., 3])), grade_table(rng, 1.2))
