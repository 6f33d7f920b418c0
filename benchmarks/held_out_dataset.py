"""Held-out synthetic clips as a dataset, for `segment-concept cuts` to cut.

    python benchmarks/held_out_dataset.py ASSETS OUT [--clips 24] [--frames 60] [--seed N]
    segment-concept cuts OUT CUTS --seed 1 --splits multi --shot-frames 10-18
    python benchmarks/effect.py --cuts CUTS --arms "memory of SeC,its own" [--margin 0]

What is made so has cuts and interludes of the kind of the clips that are reported on, and nothing
of their pictures: recipes may be chosen by it. ASSETS is the cache that `segment-concept train
assets` writes; of its held-out part single shots are rendered, object 1 is annotated (DAVIS's
layout).
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from held_out import SPEC, WHO

from segment_concept.ops.png import palette_png
from segment_concept.synthetic import Clip, load, render_clip
from segment_concept.types import Bitmap, Image

FIRST_SEED = 960_000_000  # not those of held_out.py
SOLID = 0.35  # share of objects that turn
QUALITY = 92  # of the JPEG files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("assets", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of the first clip")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    world = load(options.assets, "held_out")
    spec = replace(SPEC, frames=options.frames, solid=SOLID)
    seeds = range(options.seed, options.seed + options.clips)
    clips = (render_clip(world, spec, seed) for seed in seeds)
    named = ((f"clip{n:02d}", frames_of(clip)) for n, clip in enumerate(clips))
    write_dataset(options.out, named)


def frames_of(clip: Clip) -> Iterator[tuple[Image, Bitmap]]:
    """Every picture with its object's mask."""
    for rgb, labels in zip(clip.rgb, clip.labels, strict=True):
        yield rgb, labels == WHO


def write_dataset(
    out: Path, sequences: Iterable[tuple[str, Iterable[tuple[Image, Bitmap]]]]
) -> None:
    """Sequences of pictures (H, W, 3) with masks (H, W) of object 1 in DAVIS's layout."""
    names = []
    for name, frames in sequences:
        names.append(name)
        pictures = out / "JPEGImages" / "480p" / name
        masks = out / "Annotations" / "480p" / name
        pictures.mkdir(parents=True)
        masks.mkdir(parents=True)
        for t, (rgb, mask) in enumerate(frames):
            picture = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
            parameters = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
            cv2.imwrite(str(pictures / f"{t:05d}.jpg"), picture, parameters)
            (masks / f"{t:05d}.png").write_bytes(palette_png(mask.astype(np.uint8)))
    listing = out / "ImageSets" / "2016" / "val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("".join(f"{name}\n" for name in names))


if __name__ == "__main__":
    main()
