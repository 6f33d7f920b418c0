"""Cut-outs, backgrounds and 3D objects of the synthetic world, prepared in one cache file.

The images come from free Debian packages (`tools/fetch_training_assets.sh`): Tux Paint stamps for
the cut-outs, desktop wallpapers for the backgrounds, MegaGlest's models for the 3D objects.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.synthetic.mesh import draw_views
from segment_concept.synthetic.pixels import Image, as_image, bleed, uniform

Split = Literal["train", "held_out"]

CUTOUT_SIDE = (
    320  # maximum longer side in pixels: the largest target in a 256-line clip has about 240
)
BACKGROUND_SIDE = 600  # minimum shorter side in pixels
HELD_OUT_CUTOUTS = 6  # one in this many is held out
HELD_OUT_BACKGROUNDS = 7
HELD_OUT_SOLIDS = 6  # unit types, such as "archer"
MOST_OF_A_SOLID = 3  # number of movements that are kept per object

_PICTURES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True, slots=True)
class Cutout:
    """An object on a transparent background."""

    name: str  # path relative to the folder of stamps
    category: str  # folder of the stamp, for example "animals/birds"
    rgba: Image  # (h, w, 4), straight alpha, with colors continued under transparent pixels


@dataclass(frozen=True, slots=True)
class Solid:
    """A 3D object in a few views (`mesh.draw_views`)."""

    name: str  # path of the model
    category: str  # its folder: equal for the movements of one object
    views: NDArray[np.uint8]  # (N, h, w, 4), straight alpha


@dataclass(frozen=True, slots=True)
class Background:
    """An image behind the objects."""

    name: str
    rgb: Image  # (h, w, 3)
    weight: float  # sampling weight: larger for photographs than for flat drawings


@dataclass(frozen=True, slots=True)
class Assets:
    """The images that clips are made of. Use `load`; tests may build a small one by hand."""

    cutouts: tuple[Cutout, ...]
    backgrounds: tuple[Background, ...]
    solids: tuple[Solid, ...] = ()

    def __post_init__(self) -> None:
        if not self.cutouts or not self.backgrounds:
            raise ValueError(
                f"assets need cut-outs and backgrounds, got {len(self.cutouts)} and "
                f"{len(self.backgrounds)}: unpack the asset packages and run prepare() again"
            )

    def same_kind(self, index: int) -> tuple[int, ...]:
        """Other cut-outs of the category of number `index`; may be empty."""
        category = self.cutouts[index].category
        return tuple(i for i, c in enumerate(self.cutouts) if i != index and c.category == category)


def is_held_out(name: str, one_in: int) -> bool:
    """Whether a file is held out of training; depends only on its name."""
    return int(hashlib.md5(name.encode()).hexdigest(), 16) % one_in == 0


def texture_weight(rgb: Image) -> float:
    """How photographic an image (h, w, 3) looks: mean gradient times number of colors."""
    small = as_image(cv2.resize(rgb, (320, 200), interpolation=cv2.INTER_AREA))
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gradient = float(np.abs(np.diff(gray, axis=1)).mean() + np.abs(np.diff(gray, axis=0)).mean())
    bits = (small >> 3).astype(np.int32)
    colors = np.unique(bits[..., 0] << 10 | bits[..., 1] << 5 | bits[..., 2]).size
    return 0.05 + min(gradient, 16.0) / 16.0 * min(1.0, colors / 1500.0)


def prepare(folder: Path, cache: Path) -> None:
    """Read the unpacked packages in `folder` and write one cache file (`.npz`, without pickle).

    Raises:
        FileNotFoundError: there are no usable stamps or no wallpapers in `folder`.
    """
    cutouts = list(_read_cutouts(folder))
    backgrounds = list(_read_backgrounds(folder))
    if not cutouts or not backgrounds:
        raise FileNotFoundError(
            f"found {len(cutouts)} cut-outs and {len(backgrounds)} backgrounds below {folder}: "
            "run tools/fetch_training_assets.sh on that folder first"
        )
    solids = list(_read_solids(folder))
    arrays: dict[str, NDArray[np.uint8]] = {
        **{f"cutout{i}": c.rgba for i, c in enumerate(cutouts)},
        **{f"background{i}": b.rgb for i, b in enumerate(backgrounds)},
        **{f"solid{i}": s.views for i, s in enumerate(solids)},
    }
    listing = {
        "cutouts": [[c.name, c.category] for c in cutouts],
        "backgrounds": [[b.name, b.weight] for b in backgrounds],
        "solids": [[s.name, s.category] for s in solids],
    }
    arrays["listing"] = np.frombuffer(json.dumps(listing).encode(), np.uint8)
    cache.parent.mkdir(parents=True, exist_ok=True)
    # Written beside the target and then renamed, so that no reader sees half a file.
    partial = cache.with_name(cache.name + ".partial")
    with partial.open("wb") as out:
        # mypy also takes **arrays for the argument allow_pickle
        np.savez(out, **arrays)  # type: ignore[arg-type]
    partial.replace(cache)


def load(cache: Path, split: Split = "train") -> Assets:
    """Load the training or the held-out part of a cache file written by `prepare`.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not cache.is_file():
        raise FileNotFoundError(
            f"no asset cache at {cache}: create it with `segment-concept train assets`"
        )
    wanted = split == "held_out"
    with np.load(cache, allow_pickle=False) as stored:
        listing = json.loads(stored["listing"].tobytes().decode())
        cutouts = tuple(
            Cutout(name, category, stored[f"cutout{i}"])
            for i, (name, category) in enumerate(listing["cutouts"])
            if is_held_out(name, HELD_OUT_CUTOUTS) == wanted
        )
        backgrounds = tuple(
            Background(name, stored[f"background{i}"], float(weight))
            for i, (name, weight) in enumerate(listing["backgrounds"])
            if is_held_out(_wallpaper_key(name), HELD_OUT_BACKGROUNDS) == wanted
        )
        solids = tuple(
            Solid(name, category, stored[f"solid{i}"])
            for i, (name, category) in enumerate(
                listing.get("solids", ())
            )  # older caches have none
            if is_held_out(Path(category).name, HELD_OUT_SOLIDS) == wanted
        )
    return Assets(cutouts, backgrounds, solids)


def _read_cutouts(folder: Path) -> Iterator[Cutout]:
    for path in sorted(folder.glob("**/stamps/**/*.png")):
        name = path.as_posix().split("/stamps/")[-1]
        drop = name.startswith("symbols/") or "flag" in name
        if drop or path.stem.endswith(("_mirror", "_flip")):
            continue
        raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if raw is None or raw.ndim != 3 or raw.shape[2] != 4 or raw.dtype != np.uint8:
            continue
        rgba = _crop_cutout(as_image(cv2.cvtColor(raw, cv2.COLOR_BGRA2RGBA)))
        if rgba is not None:
            yield Cutout(name, name.rpartition("/")[0] or "stamps", rgba)


def _read_solids(folder: Path) -> Iterator[Solid]:
    """Views of the units of every faction, in some of their movements and one team's colors."""
    for models in sorted(folder.glob("**/factions/*/units/*/models")):
        category = "/".join(models.parts[-4:-1:2])  # faction and unit
        rng = np.random.default_rng(int(hashlib.md5(category.encode()).hexdigest()[:8], 16))
        team = (uniform(rng, 20, 235), uniform(rng, 20, 235), uniform(rng, 20, 235))
        files = sorted(models.glob("*.g3d"))
        kept = 0
        for i in rng.permutation(len(files)):
            views = draw_views(files[i], team, rng) if kept < MOST_OF_A_SOLID else None
            if views is not None:
                kept += 1
                yield Solid(files[i].relative_to(folder).as_posix(), category, views)


def _crop_cutout(rgba: Image) -> Image | None:
    """The cropped object, at most CUTOUT_SIDE long; None if it is too small, thin or empty."""
    rows, columns = np.where(rgba[..., 3] > 32)
    if rows.size < 300:
        return None
    rgba = rgba[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = rgba.shape[:2]
    long_side, short_side = max(height, width), min(height, width)
    if long_side < 72 or short_side < 20 or long_side > 8 * short_side:
        return None
    solid = rgba[..., 3] > 200
    if solid.mean() < 0.06 or solid.sum() < 150:
        return None
    rgba = bleed(rgba)
    scale = CUTOUT_SIDE / long_side
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        rgba = as_image(cv2.resize(rgba, size, interpolation=cv2.INTER_AREA))
    return np.ascontiguousarray(rgba)


def _wallpaper_key(name: str) -> str:
    """Name shared by the light, dark and portrait versions of a wallpaper."""
    return name.split("/contents/")[0].replace("-d.webp", "").replace("-l.webp", "")


def _read_backgrounds(folder: Path) -> Iterator[Background]:
    thumbnails: list[NDArray[np.float32]] = []
    for path in _picture_files(folder):
        raw = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if raw is None or min(raw.shape[:2]) < 300:
            continue
        rgb = as_image(cv2.cvtColor(raw, cv2.COLOR_BGR2RGB))
        thumbnail = cv2.resize(rgb, (12, 8), interpolation=cv2.INTER_AREA).astype(np.float32)
        if any(float(np.abs(thumbnail - other).mean()) < 4 for other in thumbnails):
            continue  # the same image in another size
        thumbnails.append(thumbnail)
        scale = BACKGROUND_SIDE / min(rgb.shape[:2])
        if scale < 1:
            size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
            rgb = as_image(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
        name = path.relative_to(folder).as_posix()
        yield Background(name, np.ascontiguousarray(rgb), texture_weight(rgb))


def _picture_files(folder: Path) -> Sequence[Path]:
    roots = [p for p in sorted(folder.glob("**/*")) if p.name in ("backgrounds", "wallpapers")]
    found = {p for root in roots for p in root.glob("**/*") if p.suffix.lower() in _PICTURES}
    return sorted(p for p in found if "screenshot" not in p.name)
