"""Read mask images and interpret their pixel values.

An ambiguous image is refused, and the message names the option that resolves it. Supported are:

    palette images      one id per pixel; 0 or transparent pixels are the background
    gray images         white on black is one object, soft edges are allowed; few low values are ids
    black and one color one object
    transparency        the opaque pixels are the object, if they have one color or are a photo

The value 255 next to other ids is void if it forms a line, as in VOC and DAVIS.
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

HIGHEST_ID = 255  # palette images have 8 bits per pixel
RGB = tuple[int, int, int]
_LOSSY = frozenset({"JPEG", "MPO"})
_SAME_COLOR = 48  # maximum difference per channel to a named color, for soft edges and JPEG
_DARK = 32  # channels of black are below this
_FEW_COLORS = 16  # a photo has more
_NEARLY_ALL = 0.9  # share of the image
_TINY, _MANY = 16, 5  # pixels; objects


@dataclass(frozen=True, slots=True)
class MaskChoice:
    """Selects the object of an ambiguous mask image."""

    ids: tuple[int, ...] = ()  # these values are objects
    color: RGB | None = None  # this color is the object
    invert: bool = False  # the object is black on white

    def __post_init__(self) -> None:
        if sum((bool(self.ids), self.color is not None, self.invert)) > 1:
            raise InputError("use only one of --mask-id, --mask-color and --invert for a mask")


@dataclass(frozen=True, slots=True, eq=False)
class MaskImage:
    """The masks of an image, by object id."""

    name: str
    masks: Mapping[ObjectId, Mask]
    notes: tuple[str, ...] = ()

    def one(self, object_id: int) -> Mask:
        """The mask of its only object, or of the object with this id.

        Raises:
            InputError: there are several objects, and none has this id.
        """
        if len(self.masks) == 1:
            return next(iter(self.masks.values()))
        if object_id not in self.masks:
            raise InputError(
                f"{self.name} has the objects {', '.join(map(str, self.masks))} but not "
                f"{object_id}: choose one of them, or none to track all"
            )
        return self.masks[ObjectId(object_id)]

    @property
    def interpretation(self) -> str:
        """Summary: `mask.png: 2 objects (1, 2), 4 % and 6 % of the image`."""
        shares = [_percent(mask.bitmap.mean()) for mask in self.masks.values()]
        ids = ", ".join(map(str, self.masks))
        text = f"{self.name}: {len(self.masks)} objects ({ids}), "
        if len(shares) == 1:
            text = f"{self.name}: 1 object ({ids}), "
        some = shares if len(shares) <= 6 else [*shares[:5], "..."]
        joined = " and ".join([", ".join(some[:-1]), some[-1]] if len(some) > 1 else some)
        return "; ".join((f"{text}{joined} of the image", *self.notes))

    @property
    def warnings(self) -> list[str]:
        """Signs that the interpretation may be wrong."""
        found = [
            f"{self.name}: object {i} covers {_percent(mask.bitmap.mean())} of the image: if "
            "the mask is inverted, use --invert"
            for i, mask in self.masks.items()
            if mask.bitmap.mean() > _NEARLY_ALL
        ]
        tiny = [i for i, mask in self.masks.items() if np.count_nonzero(mask.bitmap) < _TINY]
        if len(self.masks) >= _MANY and 2 * len(tiny) >= len(self.masks):
            found.append(
                f"{self.name}: {len(tiny)} of {len(self.masks)} objects have fewer than {_TINY} "
                "pixels: if they are soft edges, select the objects with --mask-id"
            )
        return found


def read_mask_image(path: Path, choice: MaskChoice = MaskChoice()) -> MaskImage:
    """Read the masks of an image. The interpretation and warnings are logged.

    Raises:
        InputError: the file is missing, not an image, too large or all background, or it is
            ambiguous and `choice` does not resolve it.
    """
    picture = _opened(path)
    try:
        labels = _chosen(picture, choice)
        found = MaskImage(path.name, _masks(labels.ids, choice), labels.notes)
    except InputError as error:
        raise InputError(f"the mask {path} {error}") from error
    log.info("%s", found.interpretation)
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
        raise InputError(f"{text!r} is not a color: expected red, #ff0000 or 255,0,0") from None
    return red, green, blue


def parse_ids(text: str) -> tuple[int, ...]:
    """`1,2` as ids of a mask image. Raises InputError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d{1,9}", part, re.ASCII) for part in parts):
        raise InputError(
            f"{text!r} is not a list of ids: expected comma-separated numbers such as 1,2"
        )
    return tuple(int(part) for part in parts)


def _opened(path: Path) -> Picture.Image:
    """The image, upright. Raises InputError."""
    if check_regular_file(path, "mask") == 0:
        raise InputError(f"the mask {path} is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about damaged metadata
            picture = Picture.open(path)
        with picture:
            check_pixels(*picture.size, f"the mask {path}")
            if picture.format not in _LOSSY and getattr(picture, "n_frames", 1) > 1:
                raise InputError(f"the mask {path} has several images: save one of them as a file")
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            upright.format = picture.format
            return upright
    except InputError:
        raise
    except Picture.DecompressionBombError:
        raise InputError(f"the mask {path} has too many pixels: use a smaller image") from None
    except Exception as error:  # decoders raise many types of errors for damaged files
        raise InputError(
            f"{path} cannot be read as a mask image: it is damaged or not an image"
        ) from error


def _chosen(picture: Picture.Image, choice: MaskChoice) -> Labels:
    if choice.color is not None:
        return _of_color(picture, choice.color)
    if choice.ids:
        return Labels(_values(picture))
    if choice.invert:
        gray = _gray_or_none(picture.convert("RGB"))
        if gray is None:
            raise InputError("is in color, but --invert needs black on white: use --mask-color")
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
        raise InputError(f"has no pixel with the value {missing[0]}; its values are {some}")
    if not wanted:
        raise InputError("has no foreground pixel (all is 0): paint the object into it")
    if max(wanted) > HIGHEST_ID and not choice.ids:
        raise InputError(
            f"has the id {max(wanted)}, but ids go up to {HIGHEST_ID}: select up to {HIGHEST_ID} "
            "objects with --mask-id, which are then numbered from 1"
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
            raise InputError(
                "has a transparent background and an object with index 0: use index 0 only for the "
                "background"
            )
        check_areas(np.where(clear, 0, indices))
        return without_void(np.where(clear, 0, indices))
    gray = _gray_or_none(picture.convert("RGB"))
    zero: Bitmap = indices == 0
    from_black = bool(zero.any() and black[zero].all())
    if gray is not None and (not from_black or has_soft_edges(gray)):
        return labels_of_gray(gray)
    if not zero.any() or (not from_black and (black & ~zero).any()):
        raise InputError(
            "has no clear background, because index 0 is not black: select the objects "
            "with --mask-id, such as --mask-id 1,2, or --mask-color"
        )
    check_areas(indices)
    return without_void(indices)


def _of_layers(picture: Picture.Image) -> Labels:
    """Labels of an image with transparency."""
    pixels = np.asarray(picture.convert("RGBA"))
    alpha = pixels[..., 3].astype(np.int64)
    lowest, highest = int(alpha.min()), int(alpha.max())
    if highest == 0:
        raise InputError("is transparent everywhere: paint the object into it")
    if lowest == highest:
        return _of_pixels(Picture.fromarray(np.ascontiguousarray(pixels[..., :3])))
    opaque = alpha > (lowest + highest) / 2
    colors = np.unique(
        pixels[opaque][:, :3] // 64, axis=0
    )  # coarse, so that soft edges have one color
    if 1 < len(colors) <= _FEW_COLORS and not _is_cut_out(pixels[opaque][:, :3]):
        raise InputError(
            "has different shapes in its transparency and in its colors: save it without "
            "transparency, as white on black, or select the object with --mask-color"
        )
    check_not_inverted(opaque)
    return Labels(opaque.astype(np.int64)).noting("the opaque pixels are the object")


def _is_cut_out(rgb: NDArray[np.uint8]) -> bool:
    """Whether these are the colors of a photo: more than a painted mask has."""
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
        f"is a color image, and it is unknown which color is which object ({some}): select one "
        "with --mask-color, or save a palette PNG or white on black"
    )


def _of_color(picture: Picture.Image, color: RGB) -> Labels:
    pixels = np.asarray(picture.convert("RGBA")).astype(np.int64)
    near = (np.abs(pixels[..., :3] - np.asarray(color)) <= _SAME_COLOR).all(axis=2)
    mask: Bitmap = near & (pixels[..., 3] >= 128)
    if not mask.any():
        raise InputError(f"has no pixel of the color {color[0]},{color[1]},{color[2]}")
    return Labels(mask.astype(np.int64))


def _values(picture: Picture.Image) -> NDArray[np.int64]:
    """The stored palette indices or gray values, (H, W)."""
    if picture.mode in ("P", "L", "1") or picture.mode.startswith("I"):
        return np.asarray(picture, np.int64)
    if picture.mode == "F":
        values = np.asarray(picture)
        if not np.isfinite(values).all() or (values < 0).any() or values.max() > 65535:
            raise InputError("has numbers that are not gray values: expected 0 to 255")
        scale = 255 if values.max() <= 1 else 1
        return np.asarray(np.rint(values * scale), np.int64)
    gray = _gray_or_none(picture.convert("RGB"))
    if gray is None:
        raise InputError("is in color and has no ids: use --mask-color")
    return gray


def _gray_or_none(picture: Picture.Image) -> NDArray[np.int64] | None:
    """(H, W) gray values, or None for an image in color."""
    pixels = np.asarray(picture)
    if (pixels != pixels[..., :1]).any():
        return None
    return np.asarray(pixels[..., 0], np.int64)


def _has_alpha(picture: Picture.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info


def _percent(share: float) -> str:
    percent = 100 * float(share)
    return f"{percent:.0f} %" if percent >= 1 else f"{percent:.2g} %"
