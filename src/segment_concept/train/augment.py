"""Augmentations of stage 1: of a clip's frames and masks, as in SAM 2's and SeC's training.

Everything is drawn once for a clip, except for the last change of colors, which is drawn for every
frame. PIL does what torchvision does with PIL images: the results are equal to the last bit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image as Picture
from PIL import ImageEnhance
from torch import Tensor

from segment_concept.ops.resize import mask_square
from segment_concept.types import Bitmap, Image

_ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
}


@dataclass(frozen=True, slots=True)
class JitterRange:
    """How far factors of the colors are from 1, at most."""

    brightness: float
    contrast: float
    saturation: float


@dataclass(frozen=True, slots=True)
class AugmentationConfig:
    """As SeC's release configures SAM 2's transforms.

    Attributes:
        flip: probability that a clip is mirrored.
        rotation: degrees, at most, to either side.
        shear: degrees of a shear along x, at most.
        clip_jitter: of the colors of all frames alike.
        gray: probability that a clip has no colors.
        frame_jitter: of the colors of every frame for itself.
        fill: RGB outside of a rotated frame.
    """

    flip: float = 0.5
    rotation: float = 25.0
    shear: float = 20.0
    clip_jitter: JitterRange = JitterRange(0.1, 0.03, 0.03)
    gray: float = 0.05
    frame_jitter: JitterRange = JitterRange(0.1, 0.05, 0.05)
    fill: tuple[int, int, int] = (123, 116, 103)

    @classmethod
    def none(cls) -> "AugmentationConfig":
        """Frames are only resized."""
        still = JitterRange(0.0, 0.0, 0.0)
        return cls(0.0, 0.0, 0.0, still, 0.0, still)


@dataclass(frozen=True, slots=True)
class Jitter:
    """Factors of the colors in the order in which they are applied, such as ("contrast", 0.98)."""

    factors: tuple[tuple[str, float], ...]

    @classmethod
    def draw(cls, most: JitterRange, rng: Generator) -> "Jitter":
        """Uniform factors in a random order."""
        names = [str(name) for name in rng.permutation(list(_ENHANCERS))]
        spans = [getattr(most, name) for name in names]
        return cls(
            tuple(
                (name, float(rng.uniform(1 - span, 1 + span)))
                for name, span in zip(names, spans, strict=True)
            )
        )

    def apply(self, picture: Picture.Image) -> Picture.Image:
        """The picture with other colors."""
        for name, factor in self.factors:
            picture = _ENHANCERS[name](picture).enhance(factor)
        return picture


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to one clip."""

    flip: bool
    angle: float  # degrees, counterclockwise
    shear: float  # degrees
    jitter: Jitter
    gray: bool
    frame_jitters: tuple[Jitter, ...]
    fill: tuple[int, int, int]

    @classmethod
    def draw(cls, config: AugmentationConfig, frames: int, rng: Generator) -> "Augmentation":
        """For a clip of so many frames."""
        return cls(
            flip=bool(rng.random() < config.flip),
            angle=float(rng.uniform(-config.rotation, config.rotation)),
            shear=float(rng.uniform(-config.shear, config.shear)),
            jitter=Jitter.draw(config.clip_jitter, rng),
            gray=bool(rng.random() < config.gray),
            frame_jitters=tuple(Jitter.draw(config.frame_jitter, rng) for _ in range(frames)),
            fill=config.fill,
        )

    def apply(
        self, frames: Sequence[Image], masks: Sequence[Sequence[Bitmap]], side: int
    ) -> tuple[Tensor, Tensor]:
        """Frames (T, 3, S, S) uint8 and masks (T, O, S, S) bool of a clip.

        Args:
            frames: T of one size.
            masks: of every frame, those of its O objects.
            side: S, in pixels; the aspect is not kept.
        """
        turned = self._turns(masks[0])
        pixels = [
            self._picture(rgb, turned, jitter, side)
            for rgb, jitter in zip(frames, self.frame_jitters, strict=True)
        ]
        squares = [
            torch.stack([mask_square(self._mask(mask, turned), side) for mask in own])
            for own in masks
        ]
        return torch.stack(pixels), torch.stack(squares) > 0

    def _turns(self, first: Sequence[Bitmap]) -> bool:
        """Whether the clip is rotated and sheared: not if an object would leave its first frame."""
        return all(self._mask(mask, True).any() for mask in first)

    def _picture(self, rgb: Image, turned: bool, own: Jitter, side: int) -> Tensor:
        picture = Picture.fromarray(np.ascontiguousarray(rgb[:, ::-1] if self.flip else rgb))
        if turned:
            picture = self._affine(picture, Picture.Resampling.BILINEAR, self.fill)
        picture = picture.resize((side, side), Picture.Resampling.BILINEAR)
        picture = self.jitter.apply(picture)
        if self.gray:
            picture = picture.convert("L").convert("RGB")
        return torch.from_numpy(np.array(own.apply(picture))).permute(2, 0, 1).contiguous()

    def _mask(self, mask: Bitmap, turned: bool) -> Bitmap:
        mask = np.ascontiguousarray(mask[:, ::-1] if self.flip else mask)
        if not turned:
            return mask
        picture = Picture.fromarray(mask.astype(np.uint8))
        moved: Bitmap = np.array(self._affine(picture, Picture.Resampling.NEAREST, 0)) > 0
        return moved

    def _affine(
        self, picture: Picture.Image, resampling: Picture.Resampling, fill: int | tuple[int, ...]
    ) -> Picture.Image:
        matrix = inverse_affine(picture.size, self.angle, self.shear)
        return picture.transform(
            picture.size, Picture.Transform.AFFINE, matrix, resampling, fillcolor=fill
        )


def inverse_affine(
    size: tuple[int, int], angle: float, shear: float
) -> tuple[float, float, float, float, float, float]:
    """Where pixels of a picture (width, height) come from, rotated and sheared about its center.

    The inverse of rotation times shear along x, in degrees, as torchvision composes them.
    """
    x, y = size[0] * 0.5, size[1] * 0.5
    turn, slant = math.radians(angle), math.tan(math.radians(shear))
    a, c = math.cos(turn), math.sin(turn)
    b, d = -math.cos(turn) * slant - math.sin(turn), -math.sin(turn) * slant + math.cos(turn)
    return (d, -b, x - d * x + b * y, -c, a, y + c * x - a * y)
