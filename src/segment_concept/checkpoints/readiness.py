"""Whether the weights of a recipe are on this machine, without loading or downloading anything."""

from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from segment_concept.checkpoints.files import INDEX, WHOLE
from segment_concept.checkpoints.hub import parse_hub_name
from segment_concept.checkpoints.load import bundled_weights
from segment_concept.checkpoints.propagation import NAMES, propagation_file
from segment_concept.recipes import RECIPES, Recipe
from segment_concept.recipes.recipe import BUNDLED
from segment_concept.types import CheckpointError


class Readiness(Enum):
    """What has to happen before a recipe can be used; the values are for people."""

    READY = "ready"
    DOWNLOAD = "downloaded when first used"
    FILE = "need --weights FILE"


def readiness(recipe: Recipe) -> Readiness:
    """Look for the weights of a recipe: in the package, on disk, in the hub's cache."""
    if recipe.weights == BUNDLED:
        return Readiness.READY if bundled_weights().is_file() else Readiness.FILE
    if recipe.network in NAMES:
        try:
            propagation_file(recipe.network, recipe.weights)
        except CheckpointError:
            return Readiness.FILE
        return Readiness.READY
    if Path(recipe.weights).expanduser().exists():
        return Readiness.READY
    named = parse_hub_name(recipe.weights)
    if named is None:
        return Readiness.FILE
    repository, file = named
    whole = (
        repository.split("/")[1].replace("-", "_").lower() + ".pt"
    )  # as the official repositories
    candidates = (file,) if file else (WHOLE, INDEX, whole)
    cached = any(isinstance(try_to_load_from_cache(repository, c), str) for c in candidates)
    return Readiness.READY if cached else Readiness.DOWNLOAD


def recipes_by_readiness() -> Mapping[Readiness, list[str]]:
    """Names of all recipes, by whether their weights are here."""
    found: dict[Readiness, list[str]] = {state: [] for state in Readiness}
    for name, make in RECIPES.items():
        found[readiness(make())].append(name)
    return found
