"""How much a truly masked object changes from frame to frame in synthetic clips.

    python benchmarks/calibrate_doubt.py --cache FILE [--clips 60]

Where the thresholds of the trigger `Uncertain` come from: percentiles of the two changes that it
measures, within shots and on first frames after a cut. The masks are the true ones.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from segment_concept.ops.color import color_distance, object_colors
from segment_concept.shots.content import small_hsv
from segment_concept.synthetic import ClipSpec, load, render_clip
from segment_concept.tracking.triggers.uncertainty import AppearanceModel

PERCENTILES = (10, 25, 50, 75, 90, 95, 98, 99)
LEAST_PIXELS = 40
FRAMES = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="file written by prepare()")
    parser.add_argument("--clips", type=int, default=60)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    assets = load(options.cache, "held_out")
    spec = ClipSpec(frames=FRAMES, height=192, width=336, cut=1, absent=0, speed=0.7)
    found: dict[tuple[str, bool], list[float]] = {}
    for seed in range(1000, 1000 + options.clips):
        clip = render_clip(assets, spec, seed)
        for target in clip.targets[:2]:
            for what, at_cut, value in changes(clip.rgb, clip.labels == target, clip.cuts):
                found.setdefault((what, at_cut), []).append(value)
    print("percentiles", *PERCENTILES)
    for (what, at_cut), values in sorted(found.items()):
        where = "after a cut" if at_cut else "in a shot"
        figures = np.percentile(values, PERCENTILES).round(2).tolist()
        print(f"{what}, {where} ({len(values)}):", *figures)


def changes(
    rgb: np.ndarray, masks: np.ndarray, cuts: tuple[int, ...]
) -> Iterator[tuple[str, bool, float]]:
    """What changed, whether by a cut, and by how much (a factor, or a distance)."""
    known = AppearanceModel()
    for t in range(FRAMES):
        if masks[t].sum() < LEAST_PIXELS:
            known = AppearanceModel()
            continue
        area, colors = float(masks[t].mean()), object_colors(small_hsv(rgb[t]), masks[t])
        if known.areas:
            usual = median(known.areas)
            yield "area", t in cuts, max(area / usual, usual / area)
        if known.colors is not None and colors is not None:
            yield "colors", t in cuts, color_distance(colors, known.colors)
        known = (AppearanceModel() if t in cuts else known).with_another(area, colors)


if __name__ == "__main__":
    main()
