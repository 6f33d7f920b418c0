"""Photographs with object masks, from which training clips are made.

Reads a folder written by `tools/prepare_training_photos.py`. The files stay compressed in memory
(about 90 MB); a photograph is decoded when a clip needs it.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image as PillowImage

from segment_concept.synthetic.assets import is_held_out
from segment_concept.synthetic.pixels import Image, as_image, pick
from segment_concept.types import InputError

Part = Literal["train", "held_out"]

MANIFEST = "manifest.json"
HELD_OUT_PHOTOS = 8  # one of so many is held out
MOST_OF_ONE_SOURCE = 0.5  # share of draws that the largest source may have
LEAST_SHARE = 0.005  # of the image: smaller objects are not tracked


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """One photograph and its masks, both still compressed."""

    name: str  # source/file, without ending
    source: str
    cutout: bool  # one object to be pasted; otherwise a whole scene
    jpeg: NDArray[np.uint8]
    mask_png: NDArray[np.uint8]
    alpha_png: NDArray[np.uint8] | None
    objects: tuple[int, ...]  # ids of objects that are large enough to be tracked

    @property
    def kind(self) -> str:
        """The kind of its objects: the class before `__` in the name, or else the source."""
        return self.name.split("__")[0] if "__" in self.name else self.source

    def rgb(self) -> Image:
        """The image (h, w, 3)."""
        decoded = cv2.imdecode(self.jpeg, cv2.IMREAD_COLOR)
        assert decoded is not None  # load_photos has read its size
        return as_image(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))

    def labels(self) -> Image:
        """Object ids (h, w), 0 for background."""
        return _decode_gray(self.mask_png)

    def alpha(self) -> Image | None:
        """The alpha matte (h, w) of the only object, if there is one."""
        return None if self.alpha_png is None else _decode_gray(self.alpha_png)


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    """Scenes, and cut-outs, which may be empty."""

    scenes: tuple[Photo, ...]
    cutouts: tuple[Photo, ...] = ()
    _scene_weights: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        if not any(photo.objects for photo in self.scenes):
            raise InputError(
                f"{len(self.scenes)} photographs of scenes have no object of at least "
                f"{LEAST_SHARE:.1%} of the image: add scenes with masks and prepare them again"
            )
        object.__setattr__(self, "_scene_weights", balanced_weights(self.scenes))

    def draw_scene(self, rng: Generator) -> Photo:
        """A scene with at least one object, see `balanced_weights`."""
        return self.scenes[pick(rng, self._scene_weights)]

    def draw_cutout(self, rng: Generator) -> Photo | None:
        """A cut-out, drawn uniformly; None if there are none."""
        return self.cutouts[int(rng.integers(len(self.cutouts)))] if self.cutouts else None

    def draw_same_kind(self, rng: Generator, photo: Photo) -> Photo:
        """Another photograph of the same kind; the same one if it is the only one."""
        among = self.cutouts if photo.cutout else self.scenes
        same_kind = [p for p in among if p.kind == photo.kind and p is not photo and p.objects]
        return same_kind[int(rng.integers(len(same_kind)))] if same_kind else photo


def balanced_weights(photos: tuple[Photo, ...]) -> NDArray[np.float64]:
    """The probability of each photograph; 0 for those without objects.

    A source's share is proportional to the square root of its number of photographs, and at most
    `MOST_OF_ONE_SOURCE` if there are others.
    """
    counts = Counter(photo.source for photo in photos if photo.objects)
    roots = {source: count**0.5 for source, count in counts.items()}
    total = sum(roots.values())
    shares = {source: root / total for source, root in roots.items()}
    largest = max(shares, key=lambda source: shares[source])
    if len(shares) > 1 and shares[largest] > MOST_OF_ONE_SOURCE:
        rest = (1 - MOST_OF_ONE_SOURCE) / (1 - shares[largest])
        shares = {source: share * rest for source, share in shares.items()}
        shares[largest] = MOST_OF_ONE_SOURCE
    return np.array([shares[p.source] / counts[p.source] if p.objects else 0.0 for p in photos])


def load_photos(folder: Path, part: Part) -> Photos:
    """The training or held-out part of a prepared folder; a hash of each name decides.

    Raises:
        InputError: there is no prepared folder, a listed file is missing or cannot be read, a
            mask has another size than its image, or no scene has a large enough object.
    """
    listing = folder / MANIFEST
    if not listing.is_file():
        raise InputError(
            f"no prepared photographs in {folder}: make them with "
            "`python tools/prepare_training_photos.py SOURCE OUT`"
        )
    wanted = part == "held_out"
    scenes: list[Photo] = []
    cutouts: list[Photo] = []
    for source in json.loads(listing.read_text(encoding="utf-8"))["sources"]:
        for stem in source["photographs"]:
            name = f"{source['folder']}/{stem}"
            if is_held_out(name, HELD_OUT_PHOTOS) != wanted:
                continue
            photo = _read(folder, source["folder"], stem, source["use"] == "cut-outs")
            (cutouts if photo.cutout else scenes).append(photo)
    return Photos(tuple(scenes), tuple(cutouts))


def _read(folder: Path, source: str, stem: str, cutout: bool) -> Photo:
    image = folder / source / "images" / f"{stem}.jpg"
    mask = folder / source / "masks" / f"{stem}.png"
    matte = folder / source / "alpha" / f"{stem}.png"
    alpha = _bytes_of(matte) if matte.is_file() else None
    mask_png = _bytes_of(mask)
    try:
        with PillowImage.open(image) as opened:  # reads the header alone
            width, height = opened.size
        labels = _decode_gray(mask_png)
    except (OSError, cv2.error) as error:
        raise InputError(
            f"{image} or its mask cannot be read as an image: prepare it again"
        ) from error
    if labels.shape != (height, width):
        raise InputError(
            f"the mask {mask} has {labels.shape[1]} x {labels.shape[0]} pixels, its image "
            f"{width} x {height}: give both the same size and prepare the folder again"
        )
    areas = np.bincount(labels.ravel())
    least = LEAST_SHARE * labels.size
    objects = tuple(i for i in range(1, len(areas)) if areas[i] >= least)
    return Photo(f"{source}/{stem}", source, cutout, _bytes_of(image), mask_png, alpha, objects)


def _bytes_of(path: Path) -> NDArray[np.uint8]:
    if not path.is_file():
        raise InputError(f"{path} is listed in {MANIFEST} but missing: prepare the folder again")
    return np.frombuffer(path.read_bytes(), np.uint8)


def _decode_gray(png: NDArray[np.uint8]) -> Image:
    decoded = cv2.imdecode(png, cv2.IMREAD_GRAYSCALE)
    if decoded is None:
        raise OSError("not a PNG")
    return as_image(decoded)
