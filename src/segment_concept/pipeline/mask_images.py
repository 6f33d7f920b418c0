"""Mask images: which pixels belong to which object, and what was understood.

What is ambiguous is refused, with the option that says what is meant. These are read:

    palette images      an id a pixel; 0 or what is transparent is the background
    gray images         white on black is one object, edges may be soft; few low values are ids
    black and one color one object
    transparency        the object is what is opaque, where what is opaque is one color or a photo

255 beside other ids is void where it forms a line, as in VOC and DAVIS.
"""

import logging
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageColor, ImageOps

from segment_concept.pipeline.mask_values import (
    Labels,
    check_areas,
    check_not_inverted,
    has_soft_edges,
    labels_of_gray,
    without_void,
)
from segment_concept.runtime.limits import check_pixels, check_regular_file
from segment_concept.types import Bitmap, InputError, Mask, ObjectId

log = logging.getLogger(__name__)

HIGHEST_ID = 255  # palette images hold 8 bits a pixel
RGB = tuple[int, int, int]
_LOSSY = frozenset({"JPEG", "MPO"})
_SAME_COLOR = 48  # a channel's difference to a named color: soft edges and JPEG change it
_DARK = 32  # a channel of what is black
_FEW_COLORS = 16  # a cut-out photo has more
_NEARLY_ALL = 0.9  # of the picture
_TINY, _MANY = 16, 5  # pixels; objects


@dataclass(frozen=True, slots=True)
class MaskChoice:
    """What a person says about a mask image whose meaning is not clear."""

    ids: tuple[int, ...] = ()  # these values are objects
    color: RGB | None = None  # this color is the object
    invert: bool = False  # the object is black on white

    def __post_init__(self) -> None:
        if sum((bool(self.ids), self.color is not None, self.invert)) > 1:
            raise InputError("--mask-id, --mask-color and --invert: give one of them for a mask")


@dataclass(frozen=True, slots=True, eq=False)
class MaskImage:
    """What a mask image shows."""

    name: str
    masks: Mapping[ObjectId, Mask]
    notes: tuple[str, ...] = ()

    def one(self, object_id: int) -> Mask:
        """Its only object, or of several that with this id.

        Raises:
            InputError: none of several objects has this id.
        """
        if len(self.masks) == 1:
            return next(iter(self.masks.values()))
        if object_id not in self.masks:
            raise InputError(
                f"{self.name} shows the objects {', '.join(map(str, self.masks))} and not "
                f"{object_id}: name one of them, or none to follow all"
            )
        return self.masks[ObjectId(object_id)]

    @property
    def understood(self) -> str:
        """In a sentence: `mask.png: 2 objects (1, 2), 4 % and 6 % of the picture`."""
        shares = [_percent(mask.bitmap.mean()) for mask in self.masks.values()]
        ids = ", ".join(map(str, self.masks))
        text = f"{self.name}: {len(self.masks)} objects ({ids}), "
        if len(shares) == 1:
            text = f"{self.name}: 1 object ({ids}), "
        some = shares if len(shares) <= 6 else [*shares[:5], "..."]
        joined = " and ".join([", ".join(some[:-1]), some[-1]] if len(some) > 1 else some)
        return "; ".join((f"{text}{joined} of the picture", *self.notes))

    @property
    def warnings(self) -> list[str]:
        """What makes it likely that something else was meant."""
        found = [
            f"{self.name}: object {i} covers {_percent(mask.bitmap.mean())} of the picture: is "
            "the mask inverted? Then give --invert"
            for i, mask in self.masks.items()
            if mask.bitmap.mean() > _NEARLY_ALL
        ]
        tiny = [i for i, mask in self.masks.items() if np.count_nonzero(mask.bitmap) < _TINY]
        if len(self.masks) >= _MANY and 2 * len(tiny) >= len(self.masks):
            found.append(
                f"{self.name}: {len(tiny)} of {len(self.masks)} objects have fewer than {_TINY} "
                "pixels: are they soft edges? --mask-id names the objects"
            )
        return found


def read_mask_image(path: Path, choice: MaskChoice = MaskChoice()) -> MaskImage:
    """What a mask image shows. It is logged, and so are warnings where it is doubtful.

    Raises:
        InputError: the file is missing, no image or too large, all background, or its meaning is
            not clear and `choice` does not say it.
    """
    picture = _opened(path)
    try:
        labels = _chosen(picture, choice)
        found = MaskImage(path.name, _masks(labels.ids, choice), labels.notes)
    except InputError as error:
        raise InputError(f"the mask {path} {error}") from error
    log.info("%s", found.understood)
    for warning in found.warnings:
        log.warning("%s", warning)
    return found


def read_masks(path: Path, choice: MaskChoice = MaskChoice()) -> dict[ObjectId, Mask]:
    """The objects of a mask image, by id. Raises InputError as `read_mask_image`."""
    return dict(read_mask_image(path, choice).masks)


def read_mask(path: Path, object_id: int, choice: MaskChoice = MaskChoice()) -> Mask:
    """One object of a mask image. Raises InputError as `read_mask_image` and `MaskImage.one`."""
    return read_mask_image(path, choice).one(object_id)


def parse_color(text: str) -> RGB:
    """`red`, `#ff0000` or `255,0,0`. Raises InputError."""
    numbers = re.fullmatch(r"\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*", text, re.ASCII)
    try:
        if numbers:
            text = f"rgb({','.join(numbers.groups())})"
        red, green, blue = ImageColor.getrgb(text.strip())[:3]
    except ValueError:
        raise InputError(f"{text!r} is no color: expected red, #ff0000 or 255,0,0") from None
    return red, green, blue


def parse_ids(text: str) -> tuple[int, ...]:
    """`1,2` as ids of a mask image. Raises InputError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d{1,9}", part, re.ASCII) for part in parts):
        raise InputError(f"{text!r} is no list of ids: expected numbers between commas, as in 1,2")
    return tuple(int(part) for part in parts)


def _opened(path: Path) -> Picture.Image:
    """The picture, upright. Raises InputError."""
    if check_regular_file(path, "mask") == 0:
        raise InputError(f"the mask {path} is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about damaged metadata
            picture = Picture.open(path)
        with picture:
            check_pixels(*picture.size, f"the mask {path}")
            if picture.format not in _LOSSY and getattr(picture, "n_frames", 1) > 1:
                raise InputError(f"the mask {path} holds several pictures: save one of them alone")
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            upright.format = picture.format
            return upright
    except InputError:
        raise
    except Picture.DecompressionBombError:
        raise InputError(f"the mask {path} has too many pixels: make it smaller") from None
    except Exception as error:  # readers of formats raise nearly anything where a file is damaged
        raise InputError(
            f"{path} cannot be read as a mask image: it is damaged, or no image"
        ) from error


def _chosen(picture: Picture.Image, choice: MaskChoice) -> Labels:
    if choice.color is not None:
        return _of_color(picture, choice.color)
    if choice.ids:
        return Labels(_values(picture))
    if choice.invert:
        gray = _gray_or_none(picture.convert("RGB"))
        if gray is None:
            raise InputError("is in color, and --invert is for black on white: use --mask-color")
        return Labels((gray < (int(gray.min()) + int(gray.max())) / 2).astype(np.int64))
    if picture.mode == "P":
        return _of_palette(picture)
    if _has_alpha(picture):
        return _of_layers(picture)
    return _of_pixels(picture)


def _masks(ids: NDArray[np.int64], choice: MaskChoice) -> dict[ObjectId, Mask]:
    found = [int(i) for i in np.unique(ids)]
    wanted = list(choice.ids) or [i for i in found if i]
    missing = [i for i in wanted if i not in found]
    if missing:
        some = ", ".join(map(str, found[:8]))
        raise InputError(f"holds no pixel of the value {missing[0]}: it holds {some}")
    if not wanted:
        raise InputError("has no foreground pixel (all is 0): paint the object into it")
    if max(wanted) > HIGHEST_ID and not choice.ids:
        raise InputError(
            f"holds the id {max(wanted)}, and ids go up to {HIGHEST_ID}: --mask-id names up to "
            f"{HIGHEST_ID} of them, which are then numbered from 1"
        )
    fits = all(1 <= i <= HIGHEST_ID for i in wanted)
    numbers = wanted if fits else range(1, len(wanted) + 1)
    return {ObjectId(n): Mask(ids == i) for n, i in zip(numbers, wanted, strict=True)}


def _of_palette(picture: Picture.Image) -> Labels:
    indices = np.asarray(picture, np.int64)
    colors = np.asarray(picture.convert("RGBA"))
    clear = colors[..., 3] < 128
    if clear.all():
        raise InputError("is transparent everywhere: paint the object into it")
    rgb = colors[..., :3]
    black: Bitmap = np.all(rgb < _DARK, axis=2)
    if clear.any():
        if (indices[~clear] == 0).any() and not black[indices == 0].all():
            raise InputError("has a transparent background and an object of index 0: save it anew")
        check_areas(np.where(clear, 0, indices))
        return without_void(np.where(clear, 0, indices))
    gray = _gray_or_none(picture.convert("RGB"))
    zero: Bitmap = indices == 0
    from_black = bool(zero.any() and black[zero].all())
    if gray is not None and (not from_black or has_soft_edges(gray)):
        return labels_of_gray(gray)
    if not zero.any() or (not from_black and (black & ~zero).any()):
        raise InputError(
            "does not say which color is the background, since index 0 is not: name the objects "
            "with --mask-id, as in --mask-id 1,2, or --mask-color"
        )
    check_areas(indices)
    return without_void(indices)


def _of_layers(picture: Picture.Image) -> Labels:
    """A picture with transparency."""
    pixels = np.asarray(picture.convert("RGBA"))
    alpha = pixels[..., 3].astype(np.int64)
    lowest, highest = int(alpha.min()), int(alpha.max())
    if highest == 0:
        raise InputError("is transparent everywhere: paint the object into it")
    if lowest == highest:
        return _of_pixels(Picture.fromarray(np.ascontiguousarray(pixels[..., :3])))
    opaque = alpha > (lowest + highest) / 2
    colors = np.unique(pixels[opaque][:, :3] // 64, axis=0)  # coarsely: soft edges are one color
    if 1 < len(colors) <= _FEW_COLORS and not _is_cut_out(pixels[opaque][:, :3]):
        raise InputError(
            "shows shapes by its transparency and other shapes by its colors: save it without "
            "transparency, as white on black, or name the object's color with --mask-color"
        )
    check_not_inverted(opaque)
    return Labels(opaque.astype(np.int64)).noting("the object is what is opaque")


def _is_cut_out(rgb: NDArray[np.uint8]) -> bool:
    """Is this a photo, with more colors than anybody paints a mask in?"""
    return len(np.unique(rgb, axis=0)) > 4 * _FEW_COLORS


def _of_pixels(picture: Picture.Image) -> Labels:
    lossy = picture.format in _LOSSY
    if picture.mode.startswith("I") or picture.mode == "F":
        return labels_of_gray(_values(picture))
    rgb = picture.convert("RGB")
    gray = _gray_or_none(rgb)
    if gray is not None:
        return labels_of_gray(gray, lossy=lossy)
    pixels = np.asarray(rgb)
    colors, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    dark = (colors < _DARK).all(axis=1)
    if len(colors) == 2 and dark.sum() == 1:
        color = colors[~dark][0]
        return Labels((pixels == color).all(axis=2).astype(np.int64))
    order = np.argsort(-counts)[:4]
    some = ", ".join(
        f"#{r:02x}{g:02x}{b:02x} ({_percent(n / counts.sum())})"
        for (r, g, b), n in zip(colors[order].tolist(), counts[order].tolist(), strict=True)
    )
    raise InputError(
        f"is a color picture, and which color is which object cannot be known ({some}): name the "
        "object's with --mask-color, or save a palette PNG or white on black"
    )


def _of_color(picture: Picture.Image, color: RGB) -> Labels:
    pixels = np.asarray(picture.convert("RGBA")).astype(np.int64)
    near = (np.abs(pixels[..., :3] - np.asarray(color)) <= _SAME_COLOR).all(axis=2)
    mask: Bitmap = near & (pixels[..., 3] >= 128)
    if not mask.any():
        raise InputError(f"holds no pixel of the color {color[0]},{color[1]},{color[2]}")
    return Labels(mask.astype(np.int64))


def _values(picture: Picture.Image) -> NDArray[np.int64]:
    """Palette indices or gray values as they are stored."""
    if picture.mode in ("P", "L", "1") or picture.mode.startswith("I"):
        return np.asarray(picture, np.int64)
    if picture.mode == "F":
        values = np.asarray(picture)
        if not np.isfinite(values).all() or (values < 0).any() or values.max() > 65535:
            raise InputError("holds numbers that are no gray values: expected 0 to 255")
        scale = 255 if values.max() <= 1 else 1
        return np.asarray(np.rint(values * scale), np.int64)
    gray = _gray_or_none(picture.convert("RGB"))
    if gray is None:
        raise InputError("is in color and holds no ids: use --mask-color")
    return gray


def _gray_or_none(picture: Picture.Image) -> NDArray[np.int64] | None:
    """(H, W), or None for a picture in color."""
    pixels = np.asarray(picture)
    if (pixels != pixels[..., :1]).any():
        return None
    return np.asarray(pixels[..., 0], np.int64)


def _has_alpha(picture: Picture.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info


def _percent(share: float) -> str:
    percent = 100 * float(share)
    return f"{percent:.0f} %" if percent >= 1 else f"{percent:.2g} %"
