"""The recipes for machines without a GPU, side by side: frames per second of CPU time.

    python benchmarks/bench_small.py                      # minutes on a busy machine
    python benchmarks/bench_small.py --threads 2 --recipe edgetam --recipe sam2_tiny

One object, 854x480, memory full. EdgeTAM and SAM 2.1 have random weights of the published shapes
(time does not depend on what they are) and are loaded from a file by the usual loader; the bundled
model has its own. The picture is noise that moves by 2 pixels a frame, so that no trigger takes it
for a cut. Recipes take turns, and the best of their frames counts: other programs only add to it.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from random_weights import RandomWeights
from safetensors.torch import save_file

from segment_concept import Box, load
from segment_concept.models.edgetam.network import EdgeTamNetwork
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.models.sam2.sizes import SIZES
from segment_concept.recipes import find_recipe
from segment_concept.recipes.recipe import BUNDLED
from segment_concept.tracking.session import Session
from segment_concept.types import Frame

RECIPES = ("sec_compact", "edgetam", "sec_edgetam", "sam2_tiny")
VIDEO = (480, 854)  # height, width
SPEED = 2  # pixels per frame
FILLED = 20  # frames that are remembered before the first measured one; more than any recall reads
VISIBLE = 5.0  # presence logit
ONE = 1
HEAD = "mask_decoder.pred_obj_score_head.proj_out.bias"


def weights_of(name: str, folder: Path) -> str:
    """Random weights for a recipe as a file; the bundled ones if the recipe has these."""
    recipe = find_recipe(name)
    if recipe.weights == BUNDLED:
        return BUNDLED
    path = folder / f"{recipe.network}-{recipe.weights.rsplit('-', 1)[-1]}.safetensors"
    if not path.exists():
        with torch.device("meta"):
            network: Any = (
                EdgeTamNetwork()
                if recipe.network == "edgetam"
                else Sam2Network(SIZES[recipe.weights.partition("hiera-")[2]])
            )
        source = RandomWeights.of(network, torch.float32, "cpu")
        state = {key: source.read(key) for key in source.shapes}
        save_file({**state, HEAD: torch.full_like(state[HEAD], VISIBLE)}, path)
    return str(path)


def frame(index: int, picture: np.ndarray[Any, Any]) -> Frame:
    return Frame(index, np.roll(picture, SPEED * index, axis=1))


def started(name: str, weights: str, picture: np.ndarray[Any, Any]) -> Session:
    """A session whose memory is full: copies of what was remembered of one frame."""
    session: Any = load(name, weights=weights, device="cpu").session()
    session.prompt(frame(0, picture), {ONE: Box(300, 150, 500, 330)})
    session.step(frame(1, picture))
    (track,) = session.tracks[ONE]
    memory = track.bank.tracked[-1]
    sure = {"iou": 0.9, "presence": VISIBLE}
    tracked = tuple(replace(memory, frame_index=i, **sure) for i in range(1, FILLED + 1))
    session.tracks[ONE] = (replace(track, bank=replace(track.bank, tracked=tracked)),)
    session.previous = replace(session.previous, frame=frame(FILLED, picture))
    found: Session = session
    return found


def measure(names: Sequence[str], frames: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*VIDEO, 3), np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with TemporaryDirectory() as folder:
        sessions = {n: started(n, weights_of(n, Path(folder)), picture) for n in names}
        for index in range(FILLED + 1, FILLED + 1 + frames):
            for name, session in sessions.items():
                shown, began = frame(index, picture), time.process_time()
                session.step(shown)
                seconds[name].append(time.process_time() - began)
    print("CPU seconds per frame: best, median; frames per CPU second at best")
    for name, taken in seconds.items():
        best, usual = min(taken), float(np.median(taken))
        print(f"{name:14s} {best:7.3f} {usual:7.3f} {1 / best:7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", action="append", choices=RECIPES, help="default: all")
    parser.add_argument("--frames", type=int, default=4, help="measured frames of each")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    measure(options.recipe or RECIPES, options.frames)


if __name__ == "__main__":
    main()
