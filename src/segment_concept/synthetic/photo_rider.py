"""Objects of two things that move together, as a horse and its rider.

Real targets often consist of things that look nothing alike. A network that has only seen whole
animals drops the rider and keeps the horse.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from segment_concept.synthetic.photo_path import Path
from segment_concept.synthetic.pixels import Image, log_uniform, uniform

_SWAY_FRAMES = (3.0, 12.0)  # period of the rider's own movement


@dataclass(frozen=True, slots=True, eq=False)
class Rider:
    """A second thing that belongs to object 1.

    Lengths are in square roots of the area of object 1.
    """

    rgba: Image  # cut out
    offset: tuple[float, float]  # of its center from that of object 1
    size: float  # square root of its area
    angle: float  # against object 1, radians
    sway: float  # amplitude of its own movement
    tilt: float  # amplitude of its own rotation, radians
    period: float  # of both, frames
    phase: float  # of both, radians
    front: bool  # in front of object 1

    def path(self, carrier: Path) -> Path:
        """Where it is while object 1 moves along `carrier`."""
        wave = np.sin(self.phase + 2 * math.pi * np.arange(len(carrier.root)) / self.period)
        x = self.offset[0] + self.sway * wave
        y = self.offset[1] + 0.5 * self.sway * wave
        cos, sin = np.cos(carrier.angle), np.sin(carrier.angle)
        moved = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)
        return Path(
            carrier.position + moved * carrier.root[:, None],
            carrier.root * self.size,
            carrier.angle + self.angle + self.tilt * wave,
        )


def draw_rider(rng: Generator, rgba: Image) -> Rider:
    """A rider with the look `rgba` on a random side of object 1, which it touches or overlaps."""
    size = log_uniform(rng, 0.35, 1.1)
    toward = uniform(rng, 0, 2 * math.pi)
    away = uniform(rng, 0.25, 0.55) * (1 + size)
    return Rider(
        rgba=rgba,
        offset=(away * math.cos(toward), away * math.sin(toward)),
        size=size,
        angle=float(rng.normal(0, 0.4)),
        sway=uniform(rng, 0, 0.12) * size,
        tilt=uniform(rng, 0, 0.25),
        period=uniform(rng, *_SWAY_FRAMES),
        phase=uniform(rng, 0, 2 * math.pi),
        front=bool(rng.random() < 0.6),
    )
