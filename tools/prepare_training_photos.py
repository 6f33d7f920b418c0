"""Prepare photographs with object masks for training.

    python tools/prepare_training_photos.py SOURCE OUT

SOURCE has one folder per source, with images/NAME.jpg and masks/NAME.png of the same size (palette
or gray: 0 for background, then one id per object), and optionally alpha/NAME.png and
attribution.json. The table below names repository, commit and license of each source, so that the
images can be downloaded again. OUT gets the same folders with images of at most 768 pixels a side,
masks as gray PNG files, and a manifest.json that lists every source and photograph.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LONGEST = 768  # pixels of the longer side; larger images are resized

# Not used: coco_by_sa (share-alike), dreambooth and the clips without masks (no masks), and
# pumavos (its clip with exact masks is kept for validation).
SOURCES: tuple[dict[str, str], ...] = (
    {
        "folder": "feral_cats",
        "use": "scenes",
        "repository": "github.com/pcashman21/feral-cat-segmentation-dataset-and-model",
        "commit": "c7cdfa43c095a1f9d1892754bcc201e971e375f1",
        "license": "MIT, (c) 2024 Paul Cashman; the data set's own page says public domain",
        "note": "the polygons of feral-cat-segmentation.v1i.yolov8 drawn as masks; photographs "
        "were stretched to squares by the exporter",
    },
    {
        "folder": "coco_by",
        "use": "scenes",
        "repository": "github.com/Obmutescence/COCO-MINI",
        "commit": "644f29e7c1d2eefd9c4412d39bc5b0ee6fd0afd4",
        "license": "photographs CC BY 2.0 (each link in attribution.json), masks CC BY 4.0 (COCO)",
        "note": "the photographs with license id 4; polygons drawn as masks",
    },
    {
        "folder": "open_images",
        "use": "scenes",
        "repository": "github.com/Efoks/OpenImages-Semantic-Segmentation",
        "commit": "a7113e098e47e215d551d61168b5b6070fe75843",
        "license": "photographs CC BY 2.0, masks CC BY 4.0 (terms of Open Images)",
        "note": "a file's name is its Open Images id",
    },
    {
        "folder": "am2k_samples",
        "use": "scenes",
        "repository": "github.com/JizhiziLi/GFM",
        "commit": "4b15ee01a02e2520547cefdf75c0d4f20900d7f5",
        "license": "MIT",
        "note": "the samples; masks are alpha above 127",
    },
    {
        "folder": "clothing_cc0",
        "use": "cut-outs",
        "repository": "github.com/alexeygrigorev/clothing-dataset-small",
        "commit": "11961516512414bf9f6c150a832cfd21b54a6b54",
        "license": "CC0 1.0",
        "note": "cropped around the garment; masks by GrabCut from two starts that agree",
    },
)


def prepare(source: Path, out: Path) -> list[dict[str, Any]]:
    """Write OUT. Returns the sources of the manifest.

    Raises:
        SystemExit: a mask or all images of a source are missing, or sizes differ.
    """
    sources = []
    for entry in SOURCES:
        pictures = sorted((source / entry["folder"] / "images").glob("*.jpg"))
        if not pictures:
            sys.exit(
                f"no images in {source / entry['folder'] / 'images'}: fetch them from "
                f"{entry['repository']} at commit {entry['commit']}"
            )
        for picture in pictures:
            copy_photo(picture, out / entry["folder"])
        attribution = source / entry["folder"] / "attribution.json"
        if attribution.is_file():
            shutil.copyfile(attribution, out / entry["folder"] / "attribution.json")
        sources.append({**entry, "photographs": [picture.stem for picture in pictures]})
    text = json.dumps({"sources": sources}, indent=1)
    (out / "manifest.json").write_text(text + "\n", encoding="utf-8")
    return sources


def copy_photo(picture: Path, target: Path) -> None:
    """Copy one image, its mask and its alpha matte, resized if they are too large."""
    name = picture.stem
    mask = picture.parent.parent / "masks" / f"{name}.png"
    alpha = picture.parent.parent / "alpha" / f"{name}.png"
    if not mask.is_file():
        sys.exit(f"{picture} has no mask: {mask} is missing")
    with Image.open(picture) as opened, Image.open(mask) as labels:
        if opened.size != labels.size:
            sys.exit(f"{picture} has {opened.size} pixels, its mask {labels.size}: they must agree")
        scale = min(1.0, LONGEST / max(opened.size))
        size = (round(opened.width * scale), round(opened.height * scale))
        folders = ("images", "masks", "alpha") if alpha.is_file() else ("images", "masks")
        for folder in folders:
            (target / folder).mkdir(parents=True, exist_ok=True)
        if scale == 1:
            shutil.copyfile(picture, target / "images" / f"{name}.jpg")
        else:
            small = opened.convert("RGB").resize(size, Image.Resampling.LANCZOS)
            small.save(target / "images" / f"{name}.jpg", quality=95)
        ids = Image.fromarray(np.asarray(labels).astype(np.uint8)).resize(
            size, Image.Resampling.NEAREST
        )
        ids.save(target / "masks" / f"{name}.png")
    if alpha.is_file():
        with Image.open(alpha) as matte:
            matte.convert("L").resize(size, Image.Resampling.BOX).save(
                target / "alpha" / f"{name}.png"
            )


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: python tools/prepare_training_photos.py SOURCE OUT")
    for entry in prepare(Path(sys.argv[1]), Path(sys.argv[2])):
        print(f"{entry['folder']}: {len(entry['photographs'])} photographs as {entry['use']}")
        print(f"  from {entry['repository']} at {entry['commit']}")
        print(f"  license: {entry['license']}")


if __name__ == "__main__":
    main()
