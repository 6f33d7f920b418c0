"""How well a recipe tracks real annotated video, from a mask, a box or one click.

    python benchmarks/quality.py DATA [--recipe NAME] [--prompts mask,box,click] [--weights FILE]

DATA has JPEGImages/ and Annotations/ (or their 480p/ below), as DAVIS, with one object each. J is
averaged over frames except first and last at original resolution, then over sequences. Where
DATA holds clips.json (clips made by cutting real video), J&F is reported by split, and how often
the mask is empty where the object is absent and where it is visible.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from segment_concept import Box, Mask, ObjectId, Points
from segment_concept.checkpoints.load import load_tracker
from segment_concept.metrics import boundary_accuracy, region_similarity
from segment_concept.pipeline.offline import track_offline
from segment_concept.recipes import find_recipe
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Bitmap, Prompt
from segment_concept.video import VideoSource, open_video

WHO = ObjectId(1)
RATES = {"frames_per_second"}  # all else is in [0, 1] and printed as percent

# For every frame a mask, and whether it was carried by optical flow.
Follow = Callable[[Tracker, VideoSource, Prompt], Iterator[tuple[Bitmap, bool]]]


@dataclass
class Tally:
    """One sequence."""

    j: list[float] = field(default_factory=list)  # visible and absent frames alike
    f: list[float] = field(default_factory=list)
    visible: list[bool] = field(default_factory=list)
    empty: list[bool] = field(default_factory=list)
    carried: list[bool] = field(default_factory=list)
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="sec_compact")
    parser.add_argument("--weights", help="other weights for the recipe")
    parser.add_argument("--short-side", type=int, help="other input size of the compact network")
    parser.add_argument("--prompts", default="mask")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="comma-separated sequences")
    parser.add_argument("--offline", action="store_true", help="track every sequence twice")
    parser.add_argument("--every", default="1", choices=["1", "auto"], help="frames tracked")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = find_recipe(options.recipe)
    if options.weights:
        recipe = replace(recipe, weights=options.weights)
    if options.short_side:
        recipe = replace(recipe, short_side=options.short_side)
    tracker = load_tracker(recipe)
    cuts_file = options.data / "clips.json"
    clips = json.loads(cuts_file.read_text()) if cuts_file.exists() else {}
    names = options.only.split(",") if options.only else sorted(sequences(options.data))
    figures: dict[str, dict[str, object]] = {}
    for kind in options.prompts.split(","):
        follow = follow_carried if options.every == "auto" else follow_online
        if options.offline:
            follow = follow_offline
        tallies = {name: track(tracker, options.data, name, kind, follow) for name in names}
        print(f"\n{recipe.name}{', offline' * options.offline}, prompt: {kind}")
        figures[kind] = report(tallies, clips)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def sequences(data: Path) -> list[str]:
    return [folder.name for folder in _root(data, "JPEGImages").iterdir() if folder.is_dir()]


def track(tracker: Tracker, data: Path, name: str, kind: str, follow: Follow) -> Tally:
    tally = Tally()
    truths = list(read_truth(data, name))
    source = open_video(_root(data, "JPEGImages") / name)
    began = time.perf_counter()
    masks = follow(tracker, source, prompt(truths[0], kind))
    for t, ((mask, carried), truth) in enumerate(zip(masks, truths, strict=True)):
        tally.seconds += time.perf_counter() - began
        tally.carried.append(carried)
        began = time.perf_counter()
        if t in (0, len(truths) - 1):
            continue
        tally.j.append(region_similarity(mask, truth))
        tally.f.append(boundary_accuracy(mask, truth))
        tally.visible.append(bool(truth.any()))
        tally.empty.append(not mask.any())
    return tally


def follow_online(
    tracker: Tracker, source: VideoSource, prompt: Prompt
) -> Iterator[tuple[Bitmap, bool]]:
    session, frames = tracker.session(), source.frames()
    yield session.prompt(next(frames), {WHO: prompt}).mask(WHO), False
    for result in session.track(frames):
        yield result.mask(WHO), False


def follow_carried(
    tracker: Tracker, source: VideoSource, prompt: Prompt
) -> Iterator[tuple[Bitmap, bool]]:
    """As `track` does with `--every auto`."""
    for result in tracker.session().track(source.frames(), {0: {WHO: prompt}}, every="auto"):
        yield result.mask(WHO), result.carried


def follow_offline(
    tracker: Tracker, source: VideoSource, prompt: Prompt
) -> Iterator[tuple[Bitmap, bool]]:
    for result in track_offline(source, {0: {WHO: prompt}}, tracker):
        yield result.mask(WHO), False


def prompt(truth: Bitmap, kind: str) -> Prompt:
    """The mask, its box, or one click at the object's innermost pixel."""
    if kind == "mask":
        return Mask(truth)
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    if kind == "box":
        return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    import cv2

    depth = cv2.distanceTransform(np.pad(truth.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return Points.on((float(x), float(y)))


def report(tallies: dict[str, Tally], clips: dict[str, dict[str, str]]) -> dict[str, object]:
    figures: dict[str, object] = {}
    for name, tally in tallies.items():
        j, f = np.mean(tally.j), np.mean(tally.f)
        figures[name] = {"J": j, "F": f, "carried": np.mean(tally.carried)}
        print(
            f"  {name:28s} J {100 * j:5.1f}  F {100 * f:5.1f}  "
            f"{len(tally.j) / max(tally.seconds, 1e-9):5.1f} frames/s  "
            f"{100 * np.mean(tally.carried):3.0f} % carried"
        )
    groups = {"all": list(tallies)}
    for name, clip in clips.items():
        if name in tallies:
            groups.setdefault(clip["split"], []).append(name)
    for group, names in groups.items():
        figures[f"mean {group}"] = summary([tallies[name] for name in names], group)
    return figures


def summary(tallies: Sequence[Tally], group: str) -> dict[str, float]:
    j = float(np.mean([np.mean(t.j) for t in tallies]))
    f = float(np.mean([np.mean(t.f) for t in tallies]))
    visible = np.concatenate([t.visible for t in tallies])
    empty = np.concatenate([t.empty for t in tallies])
    line = {"J": j, "F": f, "J&F": (j + f) / 2, "visible_empty": float(empty[visible].mean())}
    if not visible.all():
        line["absent_empty"] = float(empty[~visible].mean())
    frames, seconds = sum(len(t.j) + 1 for t in tallies), sum(t.seconds for t in tallies)
    line["frames_per_second"] = frames / seconds
    figures = "  ".join(f"{k} {v if k in RATES else 100 * v:.1f}" for k, v in line.items())
    print(f"mean {group}: {figures}")
    return line


def read_truth(data: Path, name: str) -> Iterator[Bitmap]:
    for path in sorted((_root(data, "Annotations") / name).glob("*.png")):
        yield np.asarray(Image.open(path)) > 0


def _root(data: Path, part: str) -> Path:
    nested = data / part / "480p"
    return nested if nested.is_dir() else data / part


if __name__ == "__main__":
    main()
