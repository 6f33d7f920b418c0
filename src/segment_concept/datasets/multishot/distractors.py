"""Find sequences with distractors: objects that could be mistaken for a target."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.datasets.findings import listed
from segment_concept.datasets.multishot.footage import SourceSequence
from segment_concept.datasets.multishot.spec import shuffled
from segment_concept.runtime.json_files import read_json
from segment_concept.types import InputError

_NEAREST = 4  # number of nearest distractors that are shuffled, so that seeds differ
_BINS = (12, 6, 6)  # hue, saturation, value
_SHAPE_WEIGHT = (
    0.25  # weight of a factor of e in size or aspect, compared with a color distance from 0 to 1
)


class DistractorSampler(Protocol):
    """Contract: a pure function of its arguments; the target is not among the others."""

    def distractors(
        self, rng: Random, target: SourceSequence, others: Sequence[SourceSequence]
    ) -> Sequence[SourceSequence]:
        """The distractors among the others, in the order in which to use them."""
        ...


@dataclass(frozen=True)
class CategoryDistractors:
    """Sequences that share a category with the target's, in a random order."""

    categories: Mapping[str, frozenset[str]]  # categories of the objects, by sequence name

    def distractors(
        self, rng: Random, target: SourceSequence, others: Sequence[SourceSequence]
    ) -> Sequence[SourceSequence]:
        """Sequences that share a category; empty if the target has no category."""
        own = self.categories.get(target.name, frozenset())
        return shuffled(rng, [o for o in others if own & self.categories.get(o.name, frozenset())])


@dataclass(frozen=True)
class AppearanceDistractors:
    """Sequences whose main object is most similar in colors, size and aspect ratio.

    The nearest few are shuffled, the others follow by distance.
    """

    _cache: dict[str, "Appearance | None"] = field(default_factory=dict, repr=False, compare=False)

    def distractors(
        self, rng: Random, target: SourceSequence, others: Sequence[SourceSequence]
    ) -> Sequence[SourceSequence]:
        """All other sequences with an object."""
        own = self._appearance(target)
        if own is None:
            return []
        described = [(o, a) for o in others if (a := self._appearance(o)) is not None]
        ranked = [o for o, _ in sorted(described, key=lambda pair: own.distance(pair[1]))]
        return shuffled(rng, ranked[:_NEAREST]) + ranked[_NEAREST:]

    def _appearance(self, footage: SourceSequence) -> "Appearance | None":
        if footage.name not in self._cache:
            self._cache[footage.name] = appearance(footage)
        return self._cache[footage.name]


@dataclass(frozen=True)
class RandomDistractors:
    """All other sequences, in a random order."""

    def distractors(
        self, rng: Random, target: SourceSequence, others: Sequence[SourceSequence]
    ) -> Sequence[SourceSequence]:
        """All other sequences, shuffled."""
        return shuffled(rng, others)


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """A cheap descriptor of an object on one frame."""

    colors: NDArray[np.float32]  # (12, 6, 6) normalized histogram of hue, saturation and value
    size: float  # log of its share of the image
    aspect: float  # log of width / height of its box

    def distance(self, other: "Appearance") -> float:
        """Distance to another descriptor; 0 if equal."""
        colors = cv2.compareHist(self.colors, other.colors, cv2.HISTCMP_BHATTACHARYYA)
        shape = abs(self.size - other.size) + abs(self.aspect - other.aspect)
        return round(float(colors) + _SHAPE_WEIGHT * shape, 6)


def appearance(footage: SourceSequence) -> Appearance | None:
    """Descriptor of the main object on its largest frame; None without an object."""
    name = footage.main_object
    if name is None:
        return None
    index = int(np.argmax(footage.areas[name]))
    rgb, mask = footage.picture(index), footage.masks(index)[name]
    if mask.shape != footage.size:
        raise InputError(sizes_differ(footage, index, mask.shape, footage.size))
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    ranges = [0, 180, 0, 256, 0, 256]
    found = cv2.calcHist([hsv], [0, 1, 2], mask.view(np.uint8), list(_BINS), ranges)
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return Appearance(
        _smoothed(found / found.sum()),
        float(np.log(mask.mean())),
        float(np.log(width / height)),
    )


def _smoothed(shares: NDArray[Any]) -> NDArray[np.float32]:
    """Smooth a histogram, so that slightly different colors are similar."""
    for axis, mode in ((0, "wrap"), (1, "edge"), (2, "edge")):  # hue is an angle
        wide = np.pad(shares, [(1, 1) if i == axis else (0, 0) for i in range(3)], mode=mode)  # type: ignore[call-overload]
        low, middle, high = (
            np.take(wide, range(k, k + shares.shape[axis]), axis) for k in range(3)
        )
        shares = low / 4 + middle / 2 + high / 4
    return np.asarray(shares, np.float32)


def sizes_differ(
    footage: SourceSequence, index: int, mask: Sequence[int], picture: Sequence[int]
) -> str:
    """Message for a mask that does not fit its image."""
    layer = footage.video.layers[0]
    return (
        f"{layer.where(footage.frames[index])} is {mask[1]}x{mask[0]} and its image is "
        f"{picture[1]}x{picture[0]}: masks and images must have the same size"
    )


def read_categories(path: Path, footage: Sequence[SourceSequence]) -> CategoryDistractors:
    """Distractors from a file {"car": ["car-roundabout", "drift-straight"], ...}.

    Raises:
        InputError: the file has another form, or names a sequence that is not in the dataset.
    """
    content = read_json(path)
    valid = isinstance(content, dict) and all(
        isinstance(names, list) and all(isinstance(n, str) for n in names)
        for names in content.values()
    )
    if not valid:
        raise InputError(f'{path}: expected {{"car": ["VIDEO", "VIDEO"], "dog": [...]}}')
    named = [(name, category) for category, names in content.items() for name in names]
    unknown = sorted({name for name, _ in named} - {f.name for f in footage})
    if unknown:
        raise InputError(
            f"{path} lists sequences that the dataset does not have: {listed(unknown)}"
        )
    return CategoryDistractors(_gathered(named))


def sampler_of(footage: Sequence[SourceSequence]) -> DistractorSampler:
    """By the categories in the metadata of the dataset; by appearance if it has none."""
    named = [(f.name, o.category) for f in footage for o in f.video.objects if o.category]
    return CategoryDistractors(_gathered(named)) if named else AppearanceDistractors()


def _gathered(named: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    categories: dict[str, frozenset[str]] = {}
    for name, category in named:
        categories[name] = categories.get(name, frozenset()) | {category}
    return categories
