"""Clips made of photographs of the same subject in several places.

The verifier is fitted to these: real objects that return elsewhere, in another pose and light, with
shots of other subjects in between. Reads a folder written by `tools/prepare_subject_photos.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from segment_concept.synthetic.clip import Clip
from segment_concept.synthetic.photos import Part
from segment_concept.synthetic.pixels import Image, as_image, chance, uniform
from segment_concept.types import InputError

HELD_OUT = frozenset({"cat2", "dog6", "duck_toy", "shiny_sneaker", "wolf_plushie"})
_PLACES = 3  # photographs of the subject in a clip
_SHOT = 3  # frames
_LEAST_AREA = 0.002  # of the first frame
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Subject:
    """The photographs of one subject; each is square and shows the subject once."""

    name: str
    kind: str
    photos: tuple[tuple[Path, Path], ...]  # image and mask


def load_subjects(folder: Path, part: Part) -> tuple[Subject, ...]:
    """The training or held-out subjects, for clips. Files are named KIND__SUBJECT__NUMBER.

    Raises:
        InputError: fewer than two subjects have enough photographs.
    """
    found: dict[tuple[str, str], list[tuple[Path, Path]]] = {}
    for image in sorted(folder.glob("*__*__*.jpg")):
        kind, name, _ = image.stem.split("__")
        if (name in HELD_OUT) == (part == "held_out"):
            found.setdefault((kind, name), []).append((image, image.with_suffix(".png")))
    subjects = tuple(
        Subject(name, kind, tuple(photos))
        for (kind, name), photos in found.items()
        if len(photos) >= _PLACES
    )
    if len(subjects) < 2:
        raise InputError(
            f"{folder} has photographs of {len(subjects)} subjects, at least 2 are needed: write "
            "it with tools/prepare_subject_photos.py"
        )
    return subjects


def subject_clip(subjects: Sequence[Subject], seed: int) -> Clip:
    """A clip of five shots: object 1 in three places, and two shots of other subjects.

    Object 1 is each subject in turn as the seed increases. The first of the other subjects is of
    the same kind if there is one.
    """
    rng = np.random.default_rng([seed, 0])
    main = subjects[seed % len(subjects)]
    others = [subject for subject in subjects if subject is not main]
    alike = [subject for subject in others if subject.kind == main.kind] or others
    places = [main.photos[int(i)] for i in rng.permutation(len(main.photos))[:_PLACES]]
    first = _first_shot(places[0], rng)
    between = (_any_photo(alike, rng), _any_photo(others, rng))
    shots = [first]
    for other, place in zip(between, places[1:], strict=True):
        shots.append([(rgb, np.zeros_like(mask)) for rgb, mask in _shot(other, rng)])
        shots.append(list(_shot(place, rng)))
    frames = [frame for shot in shots for frame in shot]
    return Clip(
        np.stack([rgb for rgb, _ in frames]),
        np.stack([mask for _, mask in frames]),
        targets=(1,),
        cuts=tuple(_SHOT * n for n in range(1, len(shots))),
    )


def _any_photo(subjects: Sequence[Subject], rng: Generator) -> tuple[Path, Path]:
    photos = subjects[int(rng.integers(len(subjects)))].photos
    return photos[int(rng.integers(len(photos)))]


def _first_shot(photo: tuple[Path, Path], rng: Generator) -> list[tuple[Image, Image]]:
    """A shot in which the object is visible from the first frame on.

    Raises:
        InputError: the mask is too small.
    """
    for _ in range(_TRIES):
        frames = list(_shot(photo, rng))
        if frames[0][1].mean() >= _LEAST_AREA:
            return frames
    raise InputError(f"{photo[1]} marks hardly anything: leave the photograph out")


def _shot(photo: tuple[Path, Path], rng: Generator) -> Iterator[tuple[Image, Image]]:
    """Frames and masks (1: the object) of a camera that moves over the photograph."""
    rgb, mask = _read(photo)
    whole = len(rgb)
    scales = uniform(rng, 0.72, 1.0), uniform(rng, 0.72, 1.0)
    corners = rng.uniform(0, 1, (2, 2))  # where in the room that the scale leaves
    mirrored, gamma = chance(rng, 0.5), uniform(rng, 0.75, 1.3)
    lit = as_image(255 * (rgb / 255.0) ** gamma)
    for share in np.linspace(0, 1, _SHOT):
        side = round(whole * (scales[0] + share * (scales[1] - scales[0])))
        corner = corners[0] + share * (corners[1] - corners[0])
        y, x = (int(c) for c in corner * (whole - side))
        window = slice(y, y + side), slice(x, x + side)
        seen = cv2.resize(lit[window], (whole, whole))
        marked = cv2.resize(mask[window], (whole, whole), interpolation=cv2.INTER_NEAREST)
        turn = slice(None, None, -1 if mirrored else 1)
        yield as_image(seen[:, turn]), as_image(marked[:, turn])


def _read(photo: tuple[Path, Path]) -> tuple[Image, Image]:
    """Image (h, h, 3) and mask (h, h) of 0 and 1."""
    image, mask = photo
    rgb = cv2.imread(str(image), cv2.IMREAD_COLOR)
    marked = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    if rgb is None or marked is None or rgb.shape[:2] != marked.shape:
        raise InputError(f"{image} and {mask} must be an image and a mask of its size")
    return as_image(cv2.cvtColor(rgb, cv2.COLOR_BGR2RGB)), as_image(marked > 0)
