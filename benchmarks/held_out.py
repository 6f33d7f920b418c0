"""Variants of the compact recipes on held-out synthetic clips: what their defaults are chosen by.

    python benchmarks/held_out.py ASSETS [--weights FILE] [--clips 24] [--calm 24] [--seed N]
                                   [--reframed] [--solid SHARE] [--lines 448] [--only WORDS]
    python benchmarks/held_out.py ASSETS --kind grow,turn,fast,parts [--weights FILE] [--clips 12]
    python benchmarks/held_out.py ASSETS --kind photo_grow,photo_fast,photo_part --photos FOLDER
    python benchmarks/held_out.py ASSETS --kind photo_rider,photo_bars --photos FOLDER
    python benchmarks/held_out.py ASSETS --kind calm,grow --every 1,auto

ASSETS is the cache that `segment-concept train assets` writes; cut-outs and backgrounds of its
held-out part only, in pictures larger than the network's. Calm clips, of which J and F are told,
and clips with cuts, half of them with shots without the target. J counts an empty mask as
right where the target is absent, as J does in the real benchmarks.

In most shots without the target another of its kind has its part, and most shots are of new
places. With `--reframed` clips are nearer to those of `dataset make-multishot`: every later shot is
another view of an earlier place, and nothing has the target's part where it is absent. Unlike
there, shots without the target are such views too, and not of other places.

With `--kind` only the default recipe is measured, on clips without cuts in which object 1 grows to
3 to 10 times its area, turns all its sides to the camera, moves three times as fast, or has two
parts that drift apart; in `calm` ones nothing of that happens. Clips of `photo_` are made of
held-out photographs in FOLDER (`tools/prepare_training_photos.py`): the object grows, moves fast,
is only partly visible at first, consists of two things that move together, or has occluders, among
them bars; in `photo` none of it. `--every auto` tracks them as `segment-concept track --every auto`
does. `area` is the median, over frames, of the predicted area
divided by the true one; J is also given for other thresholds of the logits.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

import numpy as np
import torch
from numpy.typing import NDArray

from segment_concept import Frame, Mask, ObjectId
from segment_concept.checkpoints.load import load_tracker
from segment_concept.metrics import boundary_accuracy, region_similarity
from segment_concept.recipes import Recipe, find_recipe
from segment_concept.synthetic import Assets, Clip, ClipSpec, load, render_clip
from segment_concept.synthetic.photo_clip import PhotoClipSpec, render_photo_clip
from segment_concept.synthetic.photos import load_photos
from segment_concept.tracking.api import Every as WhichFrames
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import AnyOf, Every, LowQuality, Never
from segment_concept.tracking.triggers.scene_change import AdaptiveContent, fast_hsv
from segment_concept.tracking.triggers.uncertainty import uncertain
from segment_concept.types import Bitmap

FIRST_SEED = 950_000_000  # neither training nor its validation draws clips from here
WHO = ObjectId(1)
SPEC = ClipSpec(
    height=480,
    width=800,
    cut=0.0,
    absent=0.0,
    absent_by_cut=1.0,
    camouflage=0.4,
    least_area=470,
    speed=0.6,
)
REFRAMED = {"same_place": 1.0, "stand_in": 0.0}
KINDS: dict[str, ClipSpec] = {
    "calm": SPEC,
    "grow": replace(SPEC, growth=1.0),
    "turn": replace(SPEC, solid=1.0, turning=1.0),
    "fast": replace(SPEC, speed=3.0),
    "parts": replace(SPEC, pair=1.0),
}
_PHOTO = PhotoClipSpec(
    height=480,
    width=800,
    growth=0.0,
    partial=0.0,
    covered=0.0,
    leaves=0.0,
    fast=0.0,
    cut=0.0,
    speed=0.6,
    least_area=470,
)
PHOTO_KINDS: dict[str, PhotoClipSpec] = {
    "photo": _PHOTO,
    "photo_grow": replace(_PHOTO, growth=1.0, shrink=0.0, fills=0.3),
    "photo_fast": replace(_PHOTO, fast=1.0, speed=1.0),
    "photo_part": replace(_PHOTO, partial=1.0),
    "photo_rider": replace(_PHOTO, rider=1.0),
    "photo_bars": replace(_PHOTO, occluders=1.0, bars=1.0),
}
THRESHOLDS = (0.5, 0.0, -0.5, -1.0)  # beside the model's own


def variants(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """What is compared."""
    without = replace(recipe, trigger=Never())
    yield "memory of SAM 2", replace(without, policy=RecentMemory(slots=7, pointers=8))
    for side in (256, 320, 384, 416):
        for slots in (7, 12, 22):
            policy = ReliableMemory(slots=slots, pointers=min(16, slots + 1))
            named = f"{side} lines, memory of {slots}"
            yield named, replace(without, short_side=side, policy=policy)
    cuts = AnyOf((AdaptiveContent(), fast_hsv()))
    for margin in (-1.0, -0.5, 0.0, 0.5):
        yield f"concept, margin {margin}", replace(recipe, concept_margin=margin)
    for name, trigger in {
        "cuts": cuts,
        "cuts, doubt with rests": AnyOf((cuts, uncertain())),
        "cuts, any low score": AnyOf((cuts, LowQuality())),
        "every frame": Every(1),
    }.items():
        yield f"concept, {name}", replace(recipe, trigger=trigger)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("assets", type=Path)
    parser.add_argument("--weights", help="other weights for the recipes")
    parser.add_argument("--kind", help="clips on which masks shrink, see above")
    parser.add_argument("--photos", type=Path, help="prepared photographs")
    parser.add_argument("--clips", type=int, default=24, help="with cuts, or of each kind")
    parser.add_argument("--calm", type=int, default=24, help="clips without")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of the first clip")
    parser.add_argument("--reframed", action="store_true", help="see above")
    parser.add_argument("--solid", type=float, default=0.0, help="share of objects that turn")
    parser.add_argument("--lines", type=int, help="another size of the input")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--every", default="1", help="of clips of a kind: 1, auto or both")
    parser.add_argument("--only", default="", help="variants with these words in their name")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = find_recipe("sec_compact")
    if options.weights:
        recipe = replace(recipe, weights=options.weights)
    if options.lines:
        recipe = replace(recipe, short_side=options.lines)
    world = load(options.assets, "held_out")
    if options.kind:
        tracker = load_tracker(recipe)
        for kind in options.kind.split(","):
            clips = clips_of(kind, world, options)
            for every in options.every.split(","):
                how: WhichFrames = "auto" if every == "auto" else 1
                print(f"{kind:10s} {every:4s} {shrinkage(tracker, clips, how)}", flush=True)
        return
    spec = replace(SPEC, frames=options.frames, solid=options.solid)
    with_cuts = replace(spec, cut=1.0, **(REFRAMED if options.reframed else {}))
    cut = held_out_clips(world, range(options.seed, options.seed + options.clips), with_cuts)
    first = options.seed + options.calm
    calm = held_out_clips(world, range(first, first + options.calm), spec)
    has_concept = load_tracker(replace(recipe, trigger=Never())).concept is not None
    for name, variant in variants(recipe):
        answered = has_concept or isinstance(variant.trigger, Never)
        if answered and options.only in name:
            print(f"{name:30s} {measure(load_tracker(variant), calm, cut)}", flush=True)


def held_out_clips(world: Assets, seeds: Iterable[int], spec: ClipSpec) -> list[Clip]:
    """Of clips with cuts, every other one has shots without the target."""
    away = float(spec.cut > 0)
    return [
        render_clip(world, replace(spec, absent=away * (n % 2)), seed)
        for n, seed in enumerate(seeds)
    ]


def clips_of(kind: str, world: Assets, options: argparse.Namespace) -> list[Clip]:
    """The clips of one of the kinds, calm ones alone."""
    seeds = range(options.seed, options.seed + options.clips)
    if kind in KINDS:
        return held_out_clips(world, seeds, replace(KINDS[kind], frames=options.frames))
    photos = load_photos(options.photos, "held_out")
    spec = replace(PHOTO_KINDS[kind], frames=options.frames)
    return [render_photo_clip(photos, spec, seed) for seed in seeds]


@dataclass(frozen=True, slots=True)
class Sight:
    """One frame of a clip as it was tracked."""

    j: float
    f: float
    visible: bool
    after_cut: bool
    empty: bool
    asked: bool
    carried: bool


def measure(tracker: Tracker, calm: Sequence[Clip], cut: Sequence[Clip]) -> str:
    """One line of figures, in per cent."""
    still = [sight for clip in calm for sight in follow(tracker, clip)]
    jumping = [sight for clip in cut for sight in follow(tracker, clip)]
    after = [s for s in jumping if s.after_cut and s.visible]
    figures = {
        "calm J": fmean(s.j for s in still),
        "F": fmean(s.f for s in still),
        "empty": fmean(s.empty for s in still),
        "| cuts J": fmean(s.j for s in jumping),
        "before them": fmean(s.j for s in jumping if not s.after_cut),
        "visible after": fmean(s.j for s in after),
        "absent empty": fmean(s.empty for s in jumping if not s.visible),
        "visible empty": fmean(s.empty for s in jumping if s.visible),
        "asked": fmean(s.asked for s in jumping),
    }
    return "  ".join(f"{name} {100 * value:.1f}" for name, value in figures.items())


def shrinkage(tracker: Tracker, clips: Sequence[Clip], every: WhichFrames) -> str:
    """One line: J, F and relative area at the model's own threshold, then J at others."""
    own: list[Sight] = []
    areas: list[float] = []
    moved: dict[float, list[float]] = {threshold: [] for threshold in THRESHOLDS}
    for clip in clips:
        for sight, logits, truth in followed(tracker, clip, every):
            own.append(sight)
            if sight.visible:
                areas.append(float((logits > 0).sum()) / float(truth.sum()))
            for threshold, found in moved.items():
                found.append(region_similarity(logits > threshold, truth))
    figures = {
        "J": 100 * fmean(s.j for s in own),
        "F": 100 * fmean(s.f for s in own),
        "area": 100 * median(areas),
        "empty": 100 * fmean(s.empty for s in own if s.visible),
        "carried": 100 * fmean(s.carried for s in own),
    } | {f"J at {threshold}": 100 * fmean(found) for threshold, found in moved.items()}
    return "  ".join(f"{name} {value:.1f}" for name, value in figures.items())


def follow(tracker: Tracker, clip: Clip) -> Iterator[Sight]:
    """Object 1, shown by its mask on frame 0, on every later frame."""
    for sight, _, _ in followed(tracker, clip):
        yield sight


def followed(
    tracker: Tracker, clip: Clip, every: WhichFrames = 1
) -> Iterator[tuple[Sight, NDArray[np.float32], Bitmap]]:
    """The same with the logits (H, W) and the truth (H, W)."""
    session, frames = tracker.session(), map(Frame, range(len(clip.rgb)), clip.rgb)
    session.prompt(next(frames), {WHO: Mask(clip.labels[0] == 1)})
    for result in session.track(frames, every=every):
        t = result.frame_index
        mask, truth = result.mask(WHO), clip.labels[t] == 1
        sight = Sight(
            j=region_similarity(mask, truth),
            f=boundary_accuracy(mask, truth),
            visible=bool(truth.any()),
            after_cut=any(t >= first for first in clip.cuts),
            empty=not mask.any(),
            asked=result.concept_queried,
            carried=result.carried,
        )
        yield sight, result.logits[0].cpu().numpy(), truth


if __name__ == "__main__":
    main()
