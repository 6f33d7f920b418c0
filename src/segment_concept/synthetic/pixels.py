"""Pixel operations of the synthetic world: colors, textures, premultiplied alpha."""

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Image = NDArray[np.uint8]  # (h, w, 3) RGB, (h, w, 4) RGBA or (h, w)
Field = NDArray[np.float32]


def as_image(values: ArrayLike) -> Image:
    """The same pixels as a uint8 array (copied only if the dtype differs)."""
    return np.asarray(values, dtype=np.uint8)


def alpha_of(rgba: Image) -> Image:
    """The alpha channel (h, w) of (h, w, 4)."""
    return as_image(cv2.extractChannel(rgba, 3))


def with_alpha(rgb: Image, alpha: Image) -> Image:
    """Join (h, w, 3) colors and (h, w) alpha to (h, w, 4)."""
    rgba = cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA)
    return as_image(cv2.insertChannel(alpha, rgba, 3))


def colors_of(rgba: Image) -> Image:
    """The colors (h, w, 3) of (h, w, 4)."""
    return as_image(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB))


def graded(rgba: Image, table: Image) -> Image:
    """`rgba` (h, w, 4, straight alpha) through a table of `grade_table`; alpha is unchanged."""
    wide = np.empty((1, 256, 4), np.uint8)
    wide[..., :3], wide[..., 3] = table, np.arange(256)
    return as_image(cv2.LUT(rgba, wide))


def chance(rng: Generator, probability: float) -> bool:
    """True with the given probability."""
    return float(rng.random()) < probability


def uniform(rng: Generator, low: float, high: float) -> float:
    """A uniform random number in [low, high)."""
    return low + (high - low) * float(rng.random())


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """A random number whose logarithm is uniform."""
    return math.exp(uniform(rng, math.log(low), math.log(high)))


def pick(rng: Generator, weights: ArrayLike) -> int:
    """A random index with probability proportional to `weights` (not negative, not all zero)."""
    steps = np.cumsum(np.asarray(weights, np.float64))
    return int(np.searchsorted(steps, float(rng.random()) * steps[-1], side="right"))


def bleed(rgba: Image) -> Image:
    """Continue the colors of opaque pixels under transparent ones, to avoid dark fringes."""
    solid = rgba[..., 3] > 200
    color = rgba[..., :3].astype(np.float32)
    spread = cv2.blur(color * solid[..., None].astype(np.float32), (15, 15))
    weight = cv2.blur(solid.astype(np.float32), (15, 15))[..., None]
    far = color[solid].mean(axis=0)
    fill = np.where(weight > 0.01, spread / np.maximum(weight, 0.01), far)
    out = rgba.copy()
    out[~solid, :3] = fill[~solid].clip(0, 255).astype(np.uint8)
    return out


def premultiply(rgba: Image) -> Image:
    """Convert straight to premultiplied alpha, so that filters and warps leave no fringes."""
    alpha = alpha_of(rgba)
    wide = cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGBA)  # its last channel is 255
    return as_image(cv2.multiply(rgba, wide, scale=1 / 255))


def lay(ground: Image, sprite: Image) -> None:
    """Composite a premultiplied sprite (h, w, 4) over `ground` (h, w, 3 or 4), in place."""
    if not ground.size:
        return
    rest = cv2.bitwise_not(alpha_of(sprite))
    if ground.shape[2] == 3:
        wide, over = cv2.cvtColor(rest, cv2.COLOR_GRAY2RGB), colors_of(sprite)
    else:
        wide, over = cv2.merge([rest, rest, rest, rest]), sprite
    ground[:] = cv2.add(cv2.multiply(ground, wide, scale=1 / 255), over)


def smooth_noise(rng: Generator, height: int, width: int, cells: int) -> Field:
    """Smooth noise (height, width), about unit variance, with `cells` bumps along a side."""
    coarse = rng.standard_normal((max(2, cells), max(2, cells)), dtype=np.float32)
    grown = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(grown, np.float32)


def grade_table(rng: Generator, strength: float) -> Image:
    """Look-up table (1, 256, 3) of a color grading: gain, gamma, offset and tint."""
    levels = np.linspace(0, 1, 256)[:, None]
    gain = np.exp(rng.normal(0, 0.16 * strength) + rng.normal(0, 0.07 * strength, 3))
    gamma = math.exp(float(rng.normal(0, 0.22 * strength)))
    offset = float(rng.normal(0, 0.05 * strength))
    table = (levels**gamma * gain + offset).clip(0, 1) * 255
    return as_image(table.round())[None]


def shift_hue(rgb: Image, degrees: float, saturation: float = 1.0) -> Image:
    """Turn the hue by `degrees` and scale the saturation of (h, w, 3)."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    table = np.empty((1, 256, 3), np.uint8)
    levels = np.arange(256)
    table[0, :, 0] = (levels + round(degrees / 2)) % 180
    table[0, :, 1] = (levels * saturation).clip(0, 255)
    table[0, :, 2] = levels
    return as_image(cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB))


def match_colors(rgba: Image, model: Image) -> Image:
    """`rgba` with mean and spread of its Lab colors taken from `model` (both straight RGBA)."""
    mean_from, spread_from = _lab_statistics(rgba)
    mean_to, spread_to = _lab_statistics(model)
    ratio = (spread_to / np.maximum(spread_from, 3)).clip(0.5, 1.8)
    levels = np.arange(256)[:, None]
    table = ((levels - mean_from) * ratio + mean_to).clip(0, 255).round()
    lab = cv2.cvtColor(colors_of(rgba), cv2.COLOR_RGB2LAB)
    rgb = cv2.cvtColor(cv2.LUT(lab, as_image(table)[None]), cv2.COLOR_LAB2RGB)
    return with_alpha(as_image(rgb), alpha_of(rgba))


def _lab_statistics(rgba: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lab = cv2.cvtColor(colors_of(rgba), cv2.COLOR_RGB2LAB)
    alpha = alpha_of(rgba)
    mean, spread = cv2.meanStdDev(lab, mask=alpha if alpha.max() > 127 else None)
    return mean[:, 0].astype(np.float64), spread[:, 0].astype(np.float64)
