"""Variants of the compact recipes on held-out synthetic clips: what their defaults are chosen by.

    python benchmarks/held_out.py ASSETS [--weights FILE] [--clips 24] [--frames 24]

ASSETS is the cache that `segment-concept train assets` writes; cut-outs and backgrounds of its
held-out part only. Long clips with cuts, half of them with shots without the target. J counts an
empty mask as right where the target is absent, as J does in the real benchmarks.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from segment_concept import Frame, Mask, ObjectId
from segment_concept.checkpoints.build import load_tracker
from segment_concept.data.synthetic import Clip, ClipSpec, load, render_clip
from segment_concept.recipes import Recipe, find_recipe
from segment_concept.tracking.policies import RecentMemory, ReliableMemory
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers import Adaptive, AnyOf, Every, LowQuality, Never, fast_hsv
from segment_concept.tracking.uncertainty import uncertain

FIRST_SEED = 950_000_000  # neither training nor its validation draws clips from here
WHO = ObjectId(1)


def variants(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """What is compared."""
    recent, reliable = RecentMemory(slots=7, pointers=8), ReliableMemory(slots=7, pointers=8)
    without = replace(recipe, trigger=Never())
    yield "memory of SAM 2, 7", replace(without, policy=recent)
    yield "memory of SeC, 7", replace(without, policy=reliable)
    yield "memory of SeC, 22", replace(without, policy=ReliableMemory(slots=22, pointers=16))
    asking = replace(recipe, policy=reliable)
    cuts = AnyOf((Adaptive(), fast_hsv()))
    for name, trigger in {
        "cuts": cuts,
        "cuts, doubt with rests": AnyOf((cuts, uncertain())),
        "cuts, any low score": AnyOf((cuts, LowQuality())),
        "every frame": Every(1),
    }.items():
        yield f"concept, {name}", replace(asking, trigger=trigger)
    long = ReliableMemory(slots=22, pointers=16)
    yield "concept, its own trigger, memory of 22", replace(recipe, policy=long)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("assets", type=Path)
    parser.add_argument("--weights", help="other weights for the recipes")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--only", default="", help="variants with this word in their name")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = find_recipe("sec_compact")
    if options.weights:
        recipe = replace(recipe, weights=options.weights)
    clips = list(held_out_clips(options.assets, options.clips, options.frames))
    has_concept = load_tracker(replace(recipe, trigger=Never())).concept is not None
    for name, variant in variants(recipe):
        answered = has_concept or isinstance(variant.trigger, Never)
        if answered and options.only in name:
            print(f"{name:32s} {measure(load_tracker(variant), clips)}", flush=True)


def held_out_clips(assets: Path, count: int, frames: int) -> Iterator[Clip]:
    world = load(assets, "held_out")
    spec = ClipSpec(frames=frames, height=256, width=448, cut=1.0, absent_by_cut=1.0, speed=0.6)
    for n in range(count):
        yield render_clip(world, replace(spec, absent=float(n % 2)), FIRST_SEED + n)


def measure(tracker: Tracker, clips: Sequence[Clip]) -> str:
    """One line of figures, in per cent."""
    rows: list[tuple[float, bool, bool, bool]] = []  # J, visible, after a cut, empty
    asked = 0
    for clip in clips:
        session = tracker.session()
        session.prompt(Frame(0, clip.rgb[0]), {WHO: Mask(clip.labels[0] == 1)})
        for t in range(1, len(clip.rgb)):
            result = session.step(Frame(t, clip.rgb[t]))
            asked += result.used_concept
            mask, truth = result.mask(WHO), clip.labels[t] == 1
            either = int((mask | truth).sum())
            j = float((mask & truth).sum()) / either if either else 1.0
            rows.append((j, bool(truth.any()), t >= clip.cuts[0], not mask.any()))
    j, visible, after, empty = (np.array(column) for column in zip(*rows, strict=True))
    visible, after = visible.astype(bool), after.astype(bool)
    figures = {
        "J": j.mean(),
        "before the cut": j[~after].mean(),
        "visible after it": j[after & visible].mean(),
        "absent empty": empty[~visible].mean(),
        "visible empty": empty[visible].mean(),
        "asked": asked / len(rows),
    }
    return "  ".join(f"{name} {100 * value:.1f}" for name, value in figures.items())


if __name__ == "__main__":
    main()
