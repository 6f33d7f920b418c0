"""Recipe -> tracker: the one place where weights are found and a device is chosen."""

import hashlib
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

import torch

from segment_concept.checkpoints.compact import load_compact
from segment_concept.checkpoints.files import find_files
from segment_concept.recipes import Recipe, find_recipe
from segment_concept.recipes.track import BUNDLED
from segment_concept.tracking.segmenter import Segmenter
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import InputError


def load(recipe: str | Recipe = "sec_compact", *, device: str = "auto") -> Tracker:
    """A tracker, ready to use.

    Args:
        recipe: a name from `segment-concept recipes`, or a recipe of your own.
        device: `auto` (a GPU where there is one), or what torch calls it: `cpu`, `cuda:1`, `mps`.

    Raises:
        InputError: there is no such recipe or device.
        CheckpointError: the weights are missing, damaged or another network's.
    """
    recipe = find_recipe(recipe) if isinstance(recipe, str) else recipe
    return Tracker(
        _segmenter(recipe, find_device(device)),
        policy=recipe.policy,
        trigger=recipe.trigger,
        keyframes=recipe.keyframes,
        exclusive=recipe.exclusive,
    )


def find_device(name: str = "auto") -> torch.device:
    """The torch device of that name; `auto` prefers CUDA, then Apple's GPU, then the CPU.

    Raises:
        InputError: torch does not know the name, or this machine has no such device.
    """
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"there is no device {name!r} here ({str(error).splitlines()[0]}): try --device cpu"
        ) from error
    return device


def weights_files(recipe: Recipe) -> tuple[Path, ...]:
    """The files that hold a recipe's weights, fetched from the hub if need be."""
    return (bundled_weights(),) if recipe.weights == BUNDLED else find_files(recipe.weights)


def bundled_weights() -> Path:
    """The compact model inside the package."""
    with as_file(files("segment_concept") / "assets/weights/sec-compact.safetensors") as path:
        return path


@lru_cache(maxsize=8)
def weights_hash(recipe: Recipe) -> str:
    """sha256, in hexadecimal, of the files of weights in their order."""
    digest = hashlib.sha256()
    for path in weights_files(recipe):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _segmenter(recipe: Recipe, device: torch.device) -> Segmenter:
    if recipe.network == "compact":
        return load_compact(weights_files(recipe)[0], short_side=recipe.short_side).to(device)
    from segment_concept.checkpoints.sam2 import load_sam2

    return load_sam2(recipe.weights, device=device)
