"""Camera effects: blur, light, color grading, noise and compression."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from segment_concept.synthetic.pixels import (
    Field,
    Image,
    as_image,
    chance,
    grade_table,
    pick,
    smooth_noise,
    uniform,
)

_LONGEST_SMEAR = 14  # pixels
_NOISE_TILE = 640  # side in pixels; frames take a random crop


def _make_noise() -> NDArray[np.int16]:
    noise = np.random.default_rng(0).standard_normal((_NOISE_TILE, _NOISE_TILE, 3)) * 16
    return np.asarray(noise.round(), np.int16)


_noise_tile: list[NDArray[np.int16]] = []


def noise_tile() -> NDArray[np.int16]:
    """Fixed white noise with standard deviation 16, created on first use."""
    if not _noise_tile:
        _noise_tile.append(_make_noise())
    return _noise_tile[0]


def smear(image: Image, dx: float, dy: float) -> Image:
    """Motion blur of (h, w, c) along (dx, dy) pixels: the mean of shifted copies."""
    length = min(math.hypot(dx, dy), _LONGEST_SMEAR)
    count = round(length) + 1
    if count < 2:
        return image
    dx, dy = dx * length / math.hypot(dx, dy), dy * length / math.hypot(dx, dy)
    height, width = image.shape[:2]
    rim = math.ceil(length / 2)
    wide = cv2.copyMakeBorder(image, rim, rim, rim, rim, cv2.BORDER_REPLICATE)
    total = np.zeros(image.shape, np.uint16)
    for i in range(count):
        along = i / (count - 1) - 0.5
        x, y = rim + round(along * dx), rim + round(along * dy)
        cv2.add(total, wide[y : y + height, x : x + width], total, dtype=cv2.CV_16U)
    return as_image(cv2.convertScaleAbs(total, alpha=1 / count))


@dataclass(frozen=True, slots=True)
class Optics:
    """Camera effects of a shot, equal for all frames except for a drift."""

    table: Image  # (1, 256, 3)
    drift: float  # brightness change per frame
    light: tuple[Field, Field] | None  # shadows and vignette at start and end, (h, w)
    defocus: float  # sigma, pixels
    noise: float  # standard deviation, levels
    coarse_noise: bool
    shrink: float  # downsampling factor before the frame is enlarged again
    quality: int  # JPEG quality; 0: none
    gray: bool
    shutter: float  # share of the motion of a frame that is blurred

    def expose(self, rgb: Image, at: float, frame: int, rng: Generator) -> Image:
        """Apply the effects; `at` in [0, 1] is the position in the shot."""
        if self.light is not None:
            rgb = self._lit(rgb, at)
        if self.shrink > 1:
            rgb = _shrunk(rgb, self.shrink)
        if self.defocus > 0:
            rgb = as_image(cv2.GaussianBlur(rgb, (0, 0), self.defocus))
        if self.gray:
            rgb = as_image(cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))
        gain = 1 + self.drift * frame
        table = self.table if gain == 1 else as_image((self.table * gain).clip(0, 255))
        rgb = as_image(cv2.LUT(rgb, table))
        if self.noise > 0:
            rgb = self._noisy(rgb, rng)
        if self.quality:
            _, code = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
            assert decoded is not None
            rgb = as_image(decoded)
        return rgb

    def _lit(self, rgb: Image, at: float) -> Image:
        assert self.light is not None
        coarse = (1 - at) * self.light[0] + at * self.light[1]
        size = (rgb.shape[1], rgb.shape[0])
        gain = cv2.resize(as_image(coarse * 128), size, interpolation=cv2.INTER_LINEAR)
        return as_image(cv2.multiply(rgb, cv2.cvtColor(gain, cv2.COLOR_GRAY2RGB), scale=1 / 128))

    def _noisy(self, rgb: Image, rng: Generator) -> Image:
        height, width = rgb.shape[:2]
        h, w = (height // 2 + 1, width // 2 + 1) if self.coarse_noise else (height, width)
        tile = noise_tile()
        if max(h, w) > _NOISE_TILE:
            tile = np.tile(tile, (h // _NOISE_TILE + 1, w // _NOISE_TILE + 1, 1))
        y, x = (int(rng.integers(0, tile.shape[i] - s + 1)) for i, s in enumerate((h, w)))
        noise = tile[y : y + h, x : x + w]
        if self.coarse_noise:
            noise = np.asarray(cv2.resize(noise, (width, height)), np.int16)
        gain = self.noise / 16
        return as_image(cv2.addWeighted(rgb, 1, noise, gain, 0, dtype=cv2.CV_8U))


def _shrunk(rgb: Image, factor: float) -> Image:
    height, width = rgb.shape[:2]
    small = cv2.resize(
        rgb, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA
    )
    return as_image(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def draw_optics(rng: Generator) -> Optics:
    """Random camera effects."""
    return Optics(
        table=grade_table(rng, 1.0 if chance(rng, 0.7) else 0.3),
        drift=float(rng.normal(0, 0.012)) if chance(rng, 0.4) else 0.0,
        light=_draw_light(rng) if chance(rng, 0.5) else None,
        defocus=uniform(rng, 0.4, 1.5) if chance(rng, 0.25) else 0.0,
        noise=uniform(rng, 2, 12) if chance(rng, 0.4) else 0.0,
        coarse_noise=chance(rng, 0.5),
        shrink=uniform(rng, 1.2, 2.2) if chance(rng, 0.15) else 1.0,
        quality=int(rng.integers(22, 85)) if chance(rng, 0.35) else 0,
        gray=chance(rng, 0.03),
        shutter=(0.0, uniform(rng, 0.2, 0.8))[pick(rng, [0.45, 0.55])],
    )


def _draw_light(rng: Generator) -> tuple[Field, Field]:
    """Gain maps (40, 64), about 1: a vignette, soft light patches or a hard-edged shadow."""
    y, x = np.mgrid[-1:1:40j, -1:1:64j].astype(np.float32)
    kind = pick(rng, [0.3, 0.4, 0.3])
    if kind == 0:
        vignette = np.asarray(1.05 - uniform(rng, 0.1, 0.45) * (x**2 + y**2) / 2, np.float32)
        return vignette, vignette
    if kind == 1:
        cells, depth = int(rng.integers(2, 6)), uniform(rng, 0.05, 0.25)
        first, second = (
            (1 + depth * smooth_noise(rng, 40, 64, cells)).clip(0.35, 1.7) for _ in range(2)
        )
        mix = uniform(rng, 0.1, 0.6)
        return np.asarray(first), np.asarray((1 - mix) * first + mix * second, np.float32)
    angle, dark = uniform(rng, 0, 2 * math.pi), uniform(rng, 0.2, 0.55)
    across = x * math.cos(angle) + y * math.sin(angle) + 0.15 * smooth_noise(rng, 40, 64, 5)
    start, stop = uniform(rng, -0.6, 0.6), uniform(rng, -0.3, 0.3)
    hard = uniform(rng, 3, 12)
    first, second = (
        1 - dark * ((across - edge) * hard + 0.5).clip(0, 1) for edge in (start, start + stop)
    )
    return np.asarray(first, np.float32), np.asarray(second, np.float32)
