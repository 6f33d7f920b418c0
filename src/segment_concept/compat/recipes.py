"""Find the recipe for the name or path of weights in a SAM 2 script."""

from dataclasses import replace
from pathlib import Path

from segment_concept.checkpoints.edgetam.keys import is_edgetam
from segment_concept.checkpoints.files import open_weights
from segment_concept.checkpoints.sam2.keys import SEC_PREFIX
from segment_concept.checkpoints.sec.config import CONCEPT
from segment_concept.recipes import RECIPES, Recipe, find_recipe
from segment_concept.types import InputError

_OLDER = "facebook/sam2-hiera-"  # SAM 2 without .1: another network


def recipe_for(model_id: str | Path | Recipe) -> Recipe:
    """The recipe with this name or these weights; for a file, the recipe of its network with it.

    Raises:
        InputError: the weights of SAM 2 before 2.1.
        CheckpointError: there are no such weights.
    """
    if isinstance(model_id, Recipe):
        return model_id
    name = str(model_id)
    if name in RECIPES:
        return find_recipe(name)
    matching = [recipe for make in RECIPES.values() if (recipe := make()).weights == name]
    if matching:
        return matching[0]
    if name.startswith(_OLDER):
        raise InputError(
            f"{name} is SAM 2, whose network differs from SAM 2.1: use "
            f"{name.replace('sam2-', 'sam2.1-')}"
        )
    names = open_weights(name).shapes
    is_sec = any(n.startswith((SEC_PREFIX, CONCEPT)) for n in names)
    family = "sec_4b" if is_sec else "edgetam" if is_edgetam(names) else "sam2_large"
    return replace(find_recipe(family), name=name, weights=name)
