"""Settings of multi-shot clips, and random numbers that are equal in every version of Python.

Python guarantees stable results only for seeding `random.Random` by a string and for `random()`;
everything else is computed from these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TypeVar

from segment_concept.types import InputError

T = TypeVar("T")


def seeded_rng(seed: int, *names: str) -> Random:
    """A random generator for the given names."""
    return Random("/".join((str(seed), *names)))


def randint(rng: Random, least: int, most: int) -> int:
    """A random integer from `least` to `most`, inclusive."""
    return least + int(rng.random() * (most - least + 1))


def between(rng: Random, least: float, most: float) -> float:
    """A random number from `least` to `most`."""
    return least + (most - least) * rng.random()


def shuffled(rng: Random, items: Sequence[T]) -> list[T]:
    """The items in a random order."""
    return sorted(items, key=lambda _: rng.random())


LARGEST_SHORT_SIDE = 4320  # of 8K video


class Split(str, Enum):
    """Number of cuts of a clip."""

    NONE = "none"
    SINGLE = "single"
    MULTI = "multi"


class Followed(str, Enum):
    """Which objects of a sequence are annotated in a clip."""

    ONE = "one"  # the one that is visible longest
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Span:
    """Range of a uniformly drawn integer, inclusive."""

    least: int
    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise InputError(
                f"{self.least}-{self.most}: expected LEAST-MOST with 1 <= LEAST <= MOST"
            )

    @classmethod
    def parse(cls, text: str) -> "Span":
        """Parse `12-30`, or `12` for a single value. Raises InputError."""
        least, dash, most = text.partition("-")
        try:
            return cls(int(least), int(most if dash else least))
        except ValueError as error:  # InputError among them
            raise InputError(f"{text!r}: expected LEAST-MOST, such as 12-30") from error


@dataclass(frozen=True, slots=True)
class MultishotSpec:
    """Settings of the clips; equal settings give equal files.

    Attributes:
        seed: every clip depends on the seed and on its own name only, not on other clips;
            interludes also depend on the set of sequences.
        splits: which splits to make of every target.
        copies: clips per split and target.
        objects: one object of a sequence, or all.
        shots: shots of the target in a `multi` clip.
        shot_frames: frames of such a shot in `single` and `multi`.
        uncut_frames: frames of a `none` clip.
        interludes: share of the gaps between two shots of a `multi` clip that are filled with
            another sequence, without the target.
        interlude_frames: frames of an interlude.
        distractors: share of interludes with distractors; the rest is drawn from all sequences.
        reframed: share of later shots with a simulated new camera: cropped and re-graded.
        mirrored: share of the reframed shots that are mirrored.
        zoom: crop size of a new camera, as a fraction of each side; larger if the object needs
            it.
        short_side: shorter side of the clips in pixels; smaller sequences keep their size.
        jpeg_quality: 1 to 100.
    """

    seed: int = 0
    splits: tuple[Split, ...] = tuple(Split)
    copies: int = 1
    objects: Followed = Followed.ONE
    shots: Span = Span(3, 3)
    shot_frames: Span = Span(12, 30)
    uncut_frames: Span = Span(20, 60)
    interludes: float = 1.0
    interlude_frames: Span = Span(8, 14)
    distractors: float = 1.0
    reframed: float = 1.0
    mirrored: float = 0.6
    zoom: tuple[float, float] = (0.55, 0.8)
    short_side: int = 360
    jpeg_quality: int = 88

    def __post_init__(self) -> None:
        if not self.splits:
            raise InputError("there is no split: give one or more of none, single, multi")
        if self.copies < 1:
            raise InputError(
                f"copies is {self.copies}: expected at least 1 clip per split and target"
            )
        if self.shots.least < 2:
            raise InputError("a clip with several cuts has at least 2 shots of its target")
        if Split.MULTI in self.splits and self.shots.least < 3 and self.interludes < 1:
            raise InputError(
                "a multi clip has at least 2 cuts: give at least 3 shots, or fill all gaps "
                "between shots with interludes"
            )
        for name in ("interludes", "distractors", "reframed", "mirrored"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is a share from 0 to 1, got {getattr(self, name):g}")
        if not 0 < self.zoom[0] <= self.zoom[1] <= 1:
            raise InputError(f"zoom {self.zoom}: expected two shares of a side, 0 < LEAST <= MOST")
        if not 16 <= self.short_side <= LARGEST_SHORT_SIDE:
            raise InputError(
                f"a short side of {self.short_side} pixels: expected 16 to {LARGEST_SHORT_SIDE}"
            )
        if not 1 <= self.jpeg_quality <= 100:
            raise InputError(f"JPEG quality {self.jpeg_quality}: expected 1 to 100")

    @property
    def most_interludes(self) -> int:
        """Maximum number of interludes in a clip."""
        has_interludes = Split.MULTI in self.splits and self.interludes > 0
        return self.shots.most - 1 if has_interludes else 0
